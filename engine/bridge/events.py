"""What a vault says about transfers, past tense. `event_seq` counts the vault's events from 1
without a gap; `id` is the message's. What it says about its own settings is an
`engine.messages.Administered`.
"""

from dataclasses import dataclass

from engine.bridge.messages import Message
from engine.headers import EventHeader


@dataclass(frozen=True, slots=True)
class Deposited:
    """ETH was locked at the source. `ref` is the number the API gave out, or zero."""

    at: EventHeader
    event_seq: int
    id: bytes
    ref: bytes
    depositor: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Released:
    """Paid out at the target; with `paid` false it waits for the recipient's claim. Wei."""

    at: EventHeader
    event_seq: int
    id: bytes
    recipient: bytes
    amount: int
    fee: int
    paid: bool


@dataclass(frozen=True, slots=True)
class Queued:
    """Signed, but over the target's window: to be released later, without a deadline. Wei."""

    at: EventHeader
    event_seq: int
    id: bytes
    recipient: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended at the target: it can only be refunded any more."""

    at: EventHeader
    event_seq: int
    id: bytes
    by: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Refunded:
    """Given back at the source; with `paid` false it waits for the depositor's claim. Wei."""

    at: EventHeader
    event_seq: int
    id: bytes
    depositor: bytes
    amount: int
    paid: bool


TransferEvent = Deposited | Released | Queued | Cancelled | Refunded
