"""A transfer as the doors show it: what may be asked for, how far it is, how long it may take.

Pure. Amounts are wei, times unix seconds of the chains.
"""

import re
from dataclasses import dataclass

from engine.bridge.requests import COMPLETED, ENDED, Key, Step
from engine.errors import CallerError, TransientError
from engine.text import address, units

BPS = 10_000
RELAY_S = 3
"""From a final deposit to the mined release, where nothing is in the way (measured: under 3)."""

UNKNOWN_S = 60
"""Said of a chain whose final block was never seen."""


_FIT = re.compile(r"[\w ,.]{0,120}|[0-9]+ of [0-9]+ signatures: [\w ]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a vault says now. `left` may still leave within its window, `pool` is what it has,
    `minimum` the least that it takes."""

    chain_id: int
    vault: bytes
    paused: bool
    limit: int
    left: int
    pool: int
    fee_bps: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What a deposit of this amount would give. `queued`: the target's window is too full for it
    now, so it would wait."""

    fee: int
    receives: int
    queued: bool


def least_of(configured: int, *ends: Terms) -> int:
    """What is moved at least, either way: our own least, or a vault's where that is more."""
    return max(configured, *(end.minimum for end in ends))


def offer(amount: int, recipient: bytes, *, source: Terms, target: Terms, least: int) -> Offer:
    """In the order of the checks; `least` is what we want at least ourselves. Raises
    TransientError("bridge_paused"); CallerError: invalid_address, below_minimum, above_limit,
    not_enough_liquidity.
    """
    for end in (source, target):
        if end.paused:
            raise TransientError("bridge_paused", f"Expected an open vault on {end.chain_id}")
    if recipient in (bytes(20), source.vault, target.vault):
        text = f"targetAddress: Expected a wallet, was {address(recipient)}"
        raise CallerError("invalid_address", text)
    least = least_of(least, source, target)
    if amount < least:
        text = f"amount: Expected at least {units(least)} ETH, was {units(amount)}"
        raise CallerError("below_minimum", text, {"minimum": units(least)})
    limit = min(source.limit, target.limit)
    if amount > limit:
        text = f"amount: Expected at most {units(limit)} ETH, was {units(amount)}"
        raise CallerError("above_limit", text, {"limit": units(limit)})
    if amount > target.pool:
        text = f"amount: Expected at most {units(target.pool)} ETH at the target"
        raise CallerError("not_enough_liquidity", text, {"available": units(target.pool)})
    fee = amount * source.fee_bps // BPS
    return Offer(fee, amount - fee, amount > target.left)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a chain is followed: its newest block, and what is final of it."""

    number: int
    time: int
    final_number: int
    final_time: int

    @property
    def lag_s(self) -> int:
        """How long a block takes to be final, by the newest one that is."""
        return UNKNOWN_S if self.final_number < 0 else max(self.time - self.final_time, 0)


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block of a chain that is followed."""

    tx_hash: bytes
    block_number: int
    block_time: int
    confirmations: int
    final: bool


@dataclass(frozen=True, slots=True)
class StepTaken:
    """`at` is the time of our own clock."""

    status: str
    step: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A request with all that is recorded of it; `message` None without a deposit. `steps` in the
    order they were taken."""

    key: Key
    target_chain: int
    message: bytes | None
    requested: bool
    user: bytes
    recipient: bytes
    amount: int
    fee: int | None
    deadline: int | None
    status: str
    step: str
    reason: str
    attempts: int
    created: float
    updated: float
    ended: float | None
    deposit: Mined | None = None
    payment: Mined | None = None
    refund: Mined | None = None
    steps: tuple[StepTaken, ...] = ()

    @property
    def source_chain(self) -> int:
        """Where it comes from."""
        return self.key[0]


def told(reason: str) -> str | None:
    """A reason as strangers may read it, None for none: of an error that may name hosts only its
    code is left.
    """
    if _FIT.fullmatch(reason):
        return reason or None
    return reason.partition(":")[0][:40]


def mined(tx_hash: bytes, number: int, time: int, *, at: Cursor | None) -> Mined:
    """By where its chain is followed to."""
    if at is None:
        return Mined(tx_hash, number, time, 0, final=False)
    return Mined(tx_hash, number, time, max(at.number - number + 1, 0), number <= at.final_number)


def seconds_left(transfer: Transfer, source: Cursor | None, target: Cursor | None) -> int | None:
    """Until it is completed, if nothing is in the way; None: nobody can tell, or it has ended.

    Nothing is promised of one that was not deposited, is queued, or goes back.
    """
    if transfer.status in ENDED or transfer.step in _NOBODY_KNOWS or source is None:
        return 0 if transfer.status == COMPLETED else None
    arrival_s = RELAY_S + (target.lag_s if target is not None else UNKNOWN_S)
    if transfer.payment is not None and target is not None:
        arrival_s = target.lag_s - (target.time - transfer.payment.block_time)
    elif transfer.deposit is not None and not transfer.deposit.final:
        arrival_s += max(source.lag_s - (source.time - transfer.deposit.block_time), 0)
    elif transfer.deposit is None:
        arrival_s += source.lag_s
    return max(arrival_s, 1)


_NOBODY_KNOWS = frozenset(
    {Step.QUEUED, Step.CANCELLING, Step.REFUNDING, Step.REFUNDED, Step.EXPIRED, Step.CONTRADICTION}
)
