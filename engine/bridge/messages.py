"""A transfer as both vaults spell it, and what may become of it.

A message's id is the hash of all its fields, so two transfers never share one and no field
can be changed without another id.
"""

from dataclasses import astuple, dataclass
from enum import IntEnum

from eth_hash.auto import keccak

TTL_S_MIN = 86_400
"""The source vault gives a message at least so long to be released."""

CANCEL_AFTER_S = 3_600
"""Anybody may cancel a message so long after its deadline; both vaults say the same."""


class Fate(IntEnum):
    """What the target vault knows of a message; see `IBridgeVault`."""

    NONE = 0
    QUEUED = 1
    RELEASED = 2
    CANCELLED = 3


@dataclass(frozen=True, slots=True)
class Message:
    """One transfer. `amount` was deposited, in wei; the recipient gets it less `fee`. `deadline`
    is unix seconds of the target."""

    source_chain: int
    target_chain: int
    source_vault: bytes
    target_vault: bytes
    nonce: int
    depositor: bytes
    recipient: bytes
    amount: int
    fee: int
    deadline: int

    @property
    def words(self) -> bytes:
        """`abi.encode(message)`: ten words of 32 bytes."""
        return b"".join(
            value.rjust(32, b"\0") if isinstance(value, bytes) else value.to_bytes(32, "big")
            for value in astuple(self)
        )

    @property
    def id(self) -> bytes:
        """32 bytes, as `messageId` of the vault."""
        return keccak(self.words)
