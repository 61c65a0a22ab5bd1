"""What is said to a vault: calldata, and the digests that attestors sign. Pure codecs.

EIP-712, in the domain of the vault that pays: the target's for a release, the source's for a
refund. The two types differ, so that no signature of one is ever good for the other.
"""

import re
from collections.abc import Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain.transactions import recover
from engine.bridge.messages import Message
from engine.errors import CallerError

_MESSAGE = "(uint256,uint256,address,address,uint256,address,address,uint256,uint256,uint256)"
ACTIONS: dict[str, str] = {
    "deposit": "deposit(address,uint256,bytes32)",
    "release": f"release({_MESSAGE},bytes[])",
    "cancel": f"cancel({_MESSAGE})",
    "cancelQueued": f"cancelQueued({_MESSAGE})",
    "refund": "refund(bytes32,bytes[])",
    "pause": "pause()",
    "claim": "claim(address)",
}
VIEWS: dict[str, str] = {
    "fateOf": "fateOf(bytes32)",
    "depositOf": "depositOf(bytes32)",
    "signers": "signers()",
    "window": "window()",
    "totals": "totals()",
    "paused": "paused()",
    "peer": "peer()",
    "minimum": "minimum()",
    "feeBps": "feeBps()",
    "releaseDigest": f"releaseDigest({_MESSAGE})",
    "refundDigest": "refundDigest(bytes32)",
}
SELECTOR_OF = {name: keccak(text.encode())[:4] for name, text in (ACTIONS | VIEWS).items()}

_DOMAIN = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_NAME, _VERSION = keccak(b"RiseCurve Bridge"), keccak(b"1")
_RELEASE = keccak(
    b"Release(bytes32 id,uint256 sourceChain,uint256 targetChain,address sourceVault,"
    b"address targetVault,uint256 nonce,address depositor,address recipient,uint256 amount,"
    b"uint256 fee,uint256 deadline,bytes32 signerSet)"
)
_REFUND = keccak(
    b"Refund(bytes32 id,uint256 sourceChain,uint256 targetChain,address sourceVault,"
    b"address targetVault,address depositor,uint256 amount,bytes32 signerSet)"
)


def deposit(*, recipient: bytes, target_chain: int, ref: bytes = bytes(32)) -> bytes:
    """Calldata; the transaction's value is what is deposited."""
    return SELECTOR_OF["deposit"] + _words(recipient, target_chain, ref)


def release(message: Message, signatures: Sequence[bytes]) -> bytes:
    """Calldata; `signatures` sorted by signer, see `sorted_signatures`."""
    # The message is static and stands in the head; the list's offset follows it.
    offset = _words(len(message.words) + 32)
    tail = encode(["bytes[]"], [list(signatures)])[32:]
    return SELECTOR_OF["release"] + message.words + offset + tail


def refund(message_id: bytes, signatures: Sequence[bytes]) -> bytes:
    """Calldata; `signatures` as in `release`, over the other digest."""
    return SELECTOR_OF["refund"] + encode(["bytes32", "bytes[]"], [message_id, list(signatures)])


def cancel(message: Message) -> bytes:
    """Calldata."""
    return SELECTOR_OF["cancel"] + message.words


def cancel_queued(message: Message) -> bytes:
    """Calldata, a guardian's."""
    return SELECTOR_OF["cancelQueued"] + message.words


def pause() -> bytes:
    """Calldata; does nothing a second time."""
    return SELECTOR_OF["pause"]


def view(name: str, *arguments: int | bytes | Message) -> bytes:
    """Calldata of a view in VIEWS."""
    parts = [one.words if isinstance(one, Message) else _words(one) for one in arguments]
    return SELECTOR_OF[name] + b"".join(parts)


def signer_set(epoch: int, threshold: int, signers: Sequence[bytes]) -> bytes:
    """`keccak256(abi.encode(epoch, threshold, signers))`, as the vault has it."""
    head = _words(epoch, threshold, 3 * 32, len(signers))
    return keccak(head + b"".join(_words(one) for one in signers))


def release_digest(message: Message, signers: bytes) -> bytes:
    """What is signed for a release; `signers` is the target's signer set."""
    struct = keccak(_RELEASE + message.id + message.words + signers)
    return _typed(message.target_chain, message.target_vault, struct)


def refund_digest(message: Message, signers: bytes) -> bytes:
    """What is signed for a refund; `signers` is the source's signer set."""
    ends = _words(
        message.source_chain, message.target_chain, message.source_vault, message.target_vault
    )
    struct = keccak(
        _REFUND + message.id + ends + _words(message.depositor, message.amount) + signers
    )
    return _typed(message.source_chain, message.source_vault, struct)


def sorted_signatures(signatures: Sequence[tuple[bytes, bytes]], threshold: int) -> list[bytes]:
    """The first `threshold` of (signer, signature), in the order that the vault wants."""
    distinct = dict(signatures)
    return [distinct[signer] for signer in sorted(distinct)[:threshold]]


def signer_of(digest: bytes, signature: bytes) -> bytes | None:
    """Whose signature this is, as the vault would tell; None: nobody's."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        return None
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    try:
        return recover(digest, r=r, s=s, parity=signature[64] - 27)
    except ValueError:
        return None


def error_name(error: CallerError) -> str:
    """The Solidity error's name in what a node refused, empty if it is none of ours."""
    found = re.search(r"\((\w+)\)$", error.message)
    return found[1] if found else ""


def _typed(chain_id: int, vault: bytes, struct: bytes) -> bytes:
    domain = keccak(_DOMAIN + _NAME + _VERSION + _words(chain_id, vault))
    return keccak(b"\x19\x01" + domain + struct)


def _words(*values: int | bytes) -> bytes:
    return b"".join(
        one.rjust(32, b"\0") if isinstance(one, bytes) else one.to_bytes(32, "big")
        for one in values
    )
