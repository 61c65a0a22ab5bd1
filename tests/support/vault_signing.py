"""What attestors sign, written from EIP-712 itself, and signatures that are right or wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import coincurve
from eth_hash.auto import keccak

from tests.model.vault import FIELDS, Message, Signature, words

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_RELEASE = keccak(
    b"Release(bytes32 id,uint256 sourceChain,uint256 targetChain,address sourceVault,"
    b"address targetVault,uint256 nonce,address depositor,address recipient,uint256 amount,"
    b"uint256 fee,uint256 deadline,bytes32 signerSet)"
)
_REFUND = keccak(
    b"Refund(bytes32 id,uint256 sourceChain,uint256 targetChain,address sourceVault,"
    b"address targetVault,address depositor,uint256 amount,bytes32 signerSet)"
)
_OF_REFUND = ("sourceChain", "targetChain", "sourceVault", "targetVault", "depositor", "amount")


@dataclass(frozen=True)
class Key:
    """An attestor's."""

    secret: coincurve.PrivateKey
    address: bytes

    def sign(self, digest: bytes) -> bytes:
        """65 bytes: r, s, v."""
        made = self.secret.sign_recoverable(digest, hasher=None)
        return made[:64] + bytes([27 + made[64]])


@cache
def attestors(count: int = 6) -> tuple[Key, ...]:
    """Keys made up by number, ascending by address."""
    secrets = [coincurve.PrivateKey(keccak(b"attestor %d" % i)) for i in range(count)]
    made = [Key(one, keccak(one.public_key.format(False)[1:])[12:]) for one in secrets]
    return tuple(sorted(made, key=lambda key: key.address))


@cache
def domain(chain: int, vault: bytes) -> bytes:
    """The separator of a vault on a chain."""
    name, version = keccak(b"RiseCurve Bridge"), keccak(b"1")
    return keccak(words(_DOMAIN, name, version, chain, vault))


def digest(over: tuple[Any, ...], message: Message) -> bytes:
    """Of what the model calls `over`: (kind, chain, vault, id, signer set)."""
    kind, chain, vault, id_, signer_set = over
    hash_, names = (_RELEASE, FIELDS) if kind == "release" else (_REFUND, _OF_REFUND)
    struct = words(hash_, id_, *(message[name] for name in names), signer_set)
    return keccak(b"\x19\x01" + domain(chain, vault) + keccak(struct))


def signed(keys: Sequence[Key], over: tuple[Any, ...], message: Message) -> "Signed":
    """By each of `keys`, in their order."""
    wanted = digest(over, message)
    return Signed(
        tuple(Signature(key.address, over) for key in keys),
        tuple(key.sign(wanted) for key in keys),
    )


@dataclass(frozen=True)
class Signed:
    """The same list twice: for the model, and as bytes."""

    model: tuple[Signature, ...]
    raw: tuple[bytes, ...]

    def spoilt(self, index: int, way: str) -> "Signed":
        """With one signature that no key can be recovered from."""
        model, raw = list(self.model), list(self.raw)
        model[index] = Signature(bytes(20), (), sound=False)
        raw[index] = SPOILED[way](raw[index])
        return Signed(tuple(model), tuple(raw))

    def picked(self, *indices: int) -> "Signed":
        """Those at `indices`, in that order."""
        model, raw = self.model, self.raw
        return Signed(tuple(model[i] for i in indices), tuple(raw[i] for i in indices))


def _high_s(raw: bytes) -> bytes:
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return raw[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - raw[64]])


SPOILED = {
    "high s": _high_s,
    "v 0 or 1": lambda raw: raw[:64] + bytes([raw[64] - 27]),
    "v 29": lambda raw: raw[:64] + b"\x1d",
    "zero": lambda raw: bytes(65),
    "zero r": lambda raw: bytes(32) + raw[32:],
    "zero s": lambda raw: raw[:32] + bytes(32) + raw[64:],
    "r above the order": lambda raw: ORDER.to_bytes(32, "big") + raw[32:],
    "truncated": lambda raw: raw[:64],
    "empty": lambda raw: b"",
    "a byte more": lambda raw: raw + b"\0",
    "short form": lambda raw: (
        raw[:32] + bytes([raw[32] | (0x80 if raw[64] == 28 else 0)]) + raw[33:64]
    ),
}
