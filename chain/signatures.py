"""Who signed a message: EIP-191 by a key, or ERC-1271 by a smart account.

In this order (wrapped forms, ERC-6492 and ERC-8010, come before all of it in a later part):
  1. code `0xef0100…` (EIP-7702): ERC-1271, then the key, for the account still has one;
  2. other code: ERC-1271 only;
  3. no code: the key.
"""

from typing import Protocol

from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain.transactions import HALF_N, recover
from engine.errors import CallerError, TransientError

NODE_TIMEOUT_S = 2.0
SIGNATURE_BYTES_MAX = 8 * 1024
"""A passkey account's signature is about 1 KB."""

_MAGIC = bytes.fromhex("1626ba7e")
_DELEGATED = bytes.fromhex("ef0100")


class AccountReader(Protocol):
    """Of `chain.sender.Node`, what is needed here."""

    async def code(self, address: bytes, *, timeout_s: float | None = None) -> bytes: ...

    async def call(self, *, to: bytes, data: bytes, timeout_s: float | None = None) -> bytes: ...


def message_digest(message: str) -> bytes:
    """EIP-191, version "E": what wallets sign for a text."""
    body = message.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(body)).encode() + body)


async def verify_message(
    *, address: bytes, message: str, signature: bytes, node: AccountReader | None
) -> bool:
    """Whether `address` signed `message`. Without a node only keys can be checked.

    Raises TransientError when the answer needs the node and the node is away: an account
    with a key that matches does not need it, since no contract has a known key.
    """
    if len(signature) > SIGNATURE_BYTES_MAX:
        return False
    digest = message_digest(message)
    if node is None:
        return _signed_by_key(address, digest, signature)
    try:
        code = await node.code(address, timeout_s=NODE_TIMEOUT_S)
        if not code:
            return _signed_by_key(address, digest, signature)
        if await _accepted_by_contract(node, account=address, digest=digest, signature=signature):
            return True
        return code.startswith(_DELEGATED) and _signed_by_key(address, digest, signature)
    except TransientError:
        if _signed_by_key(address, digest, signature):
            return True
        raise


def _signed_by_key(address: bytes, digest: bytes, signature: bytes) -> bool:
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if s > HALF_N:
        return False
    try:
        return recover(digest, r=r, s=s, parity=signature[64] - 27) == address
    except ValueError:
        return False


async def _accepted_by_contract(
    node: AccountReader, *, account: bytes, digest: bytes, signature: bytes
) -> bool:
    data = _MAGIC + encode(["bytes32", "bytes"], [digest, signature])
    try:
        answer = await node.call(to=account, data=data, timeout_s=NODE_TIMEOUT_S)
    except CallerError:
        return False
    # bytes4 in a word: the rest must be zero, else it is some other function's answer.
    return answer == _MAGIC.ljust(32, b"\0")
