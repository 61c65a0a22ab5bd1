"""Whose turn it is at a vault whose window is full, so that a large payment is made in the end.

The window gives room back hour by hour, and what is small always fits before what is large does.
So time is cut into turns of TURN_S, counted from 1970 for everybody alike. The cases:
  1. a payment has waited for room since before the turn began: in the turn's first HELD_S
     nothing else is sent that takes room there. What was under way is mined within an hour,
     25 hours later the window holds nothing of before, and the eldest fits. Then the next one;
  2. later in the turn, or where nobody waited before it: all go as they come;
  3. a message that is not queued yet goes near its deadline whatever the turn: being held must
     not end it.
So the n-th in line is paid in the n-th turn that begins after it was queued at the latest, as long
as nobody else takes room: the vault itself takes payments in any order, from anybody who has
signatures. Nothing is held for longer than HELD_S at a time. Times are unix seconds of chains.
"""

from dataclasses import dataclass

from engine.bridge.requests import Facts, Key

HOUR_S = 3_600
TURN_S = 48 * HOUR_S
HELD_S = 26 * HOUR_S
"""An hour for what is under way, and the 25 that a window has."""

DEADLINE_NEAR_S = HOUR_S
ABOVE_LIMIT, NO_LIQUIDITY = "AboveLimit", "NotEnoughLiquidity"
NOT_FOR_ROOM = (ABOVE_LIMIT, NO_LIQUIDITY)
"""Who waits for one of these is not waiting for room: nobody is held for it."""

FULL = "WindowFull"
HELD = "an older one waits for room"


@dataclass(frozen=True, slots=True)
class Eldest:
    """What has waited longest for room at the vault of `chain_id`: `amount` wei, since `since`;
    `now` is that chain's newest recorded block's."""

    chain_id: int
    key: Key
    amount: int
    since: int
    now: int


def keeps_room(eldest: Eldest) -> bool:
    """Whether others are held for it now."""
    begun = eldest.now - eldest.now % TURN_S
    return eldest.since < begun and eldest.now < begun + HELD_S


def must_wait(key: Key, facts: Facts, eldest: Eldest | None) -> bool:
    """Whether this payment is held for the eldest of its vault."""
    if eldest is None or key == eldest.key or not keeps_room(eldest):
        return False
    waits_for_ever = facts.queued is not None or facts.cancelled is not None
    return waits_for_ever or facts.target_time <= facts.deadline - DEADLINE_NEAR_S


def refusal(amount: int, *, left: int, limit: int, pool: int) -> str:
    """The vault's error, in the vault's order, for what is paid only where there is room; empty:
    it is paid.
    """
    if amount > limit:
        return ABOVE_LIMIT
    if amount > pool:
        return NO_LIQUIDITY
    return FULL if amount > left else ""
