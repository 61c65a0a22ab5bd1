"""Whose turn it is: a large payment is made in the end, whatever small ones come, and none of
those is held for long.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bridge import line
from engine.bridge.line import (
    DEADLINE_NEAR_S,
    HELD_S,
    HOUR_S,
    NOT_FOR_ROOM,
    TURN_S,
    Eldest,
    keeps_room,
    must_wait,
    refusal,
)
from engine.bridge.requests import Facts, Key, Seen
from tests.support.transfers import MESSAGE, RISE, SEPOLIA

BEGUN = 9_999 * TURN_S
ONE, OTHER = (SEPOLIA, 1, b"\x01" * 32), (SEPOLIA, 1, b"\x02" * 32)
SEEN = Seen(5, b"\1" * 32, True)
FRESH = Facts(message=MESSAGE, deposit=SEEN, target_time=MESSAGE.deadline - DEADLINE_NEAR_S)


def eldest(since: int, now: int) -> Eldest:
    return Eldest(RISE, ONE, 7, since, now)


@pytest.mark.parametrize(
    ("since", "now", "kept"),
    [
        (BEGUN - 1, BEGUN, True),
        (BEGUN - 1, BEGUN + HELD_S - 1, True),
        (BEGUN - 1, BEGUN + HELD_S, False),
        (BEGUN - 1, BEGUN + TURN_S - 1, False),
        (BEGUN - 1, BEGUN + TURN_S, True),
        (BEGUN, BEGUN, False),
        (BEGUN, BEGUN + HELD_S - 1, False),
    ],
)
def test_room_is_kept_early_in_a_turn_for_who_waited_before_it(
    since: int, now: int, kept: bool
) -> None:
    assert keeps_room(eldest(since, now)) is kept
    assert must_wait(OTHER, FRESH, eldest(since, now)) is kept
    assert not must_wait(ONE, FRESH, eldest(since, now))
    assert not must_wait(OTHER, FRESH, None)


def test_being_held_ends_no_transfer_that_has_a_deadline() -> None:
    late = replace(FRESH, target_time=FRESH.target_time + 1)
    held_for = eldest(BEGUN - 1, BEGUN)
    assert must_wait(OTHER, FRESH, held_for) and not must_wait(OTHER, late, held_for)
    # What is queued or goes back has none.
    assert must_wait(OTHER, replace(late, queued=SEEN), held_for)
    assert must_wait(OTHER, replace(late, cancelled=SEEN), held_for)


def test_refusal_is_the_vaults_own_in_its_order() -> None:
    assert refusal(7, left=7, limit=7, pool=7) == ""
    assert refusal(8, left=7, limit=8, pool=8) == "WindowFull"
    assert refusal(8, left=7, limit=8, pool=7) == "NotEnoughLiquidity"
    assert refusal(8, left=7, limit=7, pool=7) == "AboveLimit"
    assert {refusal(8, left=7, limit=limit, pool=7) for limit in (7, 8)} == set(NOT_FOR_ROOM)


# ------------------------------------------------------------------- over many days

LIMIT = 1_000
TICK_S = HOUR_S
"""A look at everything; what is sent is mined by the next one."""

TTL_S = 48 * HOUR_S
"""As the deployer has it."""


@dataclass(eq=False)
class Payment:
    key: Key
    amount: int
    deposited: int
    queued: int | None = None
    paid: int | None = None
    held_since: int | None = None

    @property
    def deadline(self) -> int:
        return self.deposited + TTL_S

    @property
    def place(self) -> tuple[int, Key]:
        """In the line; of one block the ids decide."""
        assert self.queued is not None
        return self.queued, self.key


@dataclass
class Bridge:
    """A vault's window, and a relayer that alone sends to it, as the rule says."""

    now: int
    spent: deque[tuple[int, int]] = field(default_factory=deque)
    payments: list[Payment] = field(default_factory=list)
    waiting: list[Payment] = field(default_factory=list)
    sent: list[Payment] = field(default_factory=list)
    longest_held: int = 0

    @property
    def left(self) -> int:
        while self.spent and self.spent[0][0] <= self.now // HOUR_S - 25:
            self.spent.popleft()
        return LIMIT - sum(amount for _, amount in self.spent)

    @property
    def line(self) -> list[Payment]:
        queued = [one for one in self.waiting if one.queued is not None]
        return sorted(queued, key=lambda one: one.place)

    @classmethod
    def full(cls, now: int) -> "Bridge":
        """All that may leave has left."""
        return cls(now, deque([(now // HOUR_S, LIMIT)]))

    def arrive(self, amount: int) -> None:
        key = (SEPOLIA, 1, len(self.payments).to_bytes(32, "big"))
        self.payments.append(Payment(key, amount, self.now))
        self.waiting.append(self.payments[-1])

    def tick(self) -> None:
        """What was sent is mined, in its order; then everything is looked at, small ones first."""
        self.now += TICK_S
        for one in self.sent:
            self._mined(one)
        self.sent = []
        self.waiting = [one for one in self.waiting if one.paid is None]
        kept, left = None, self.left
        for first in self.line[:1]:
            kept = Eldest(RISE, first.key, first.amount, first.queued or 0, self.now)
        # The order in which they are looked at is the worst for what is large.
        for one in sorted(self.waiting, key=lambda one: one.amount):
            if one.queued is None or one.amount <= left:
                self._look(one, kept)
            else:
                one.held_since = None

    def _look(self, one: Payment, kept: Eldest | None) -> None:
        message = replace(MESSAGE, deadline=one.deadline)
        facts = Facts(
            message=message,
            deposit=SEEN,
            queued=SEEN if one.queued is not None else None,
            target_time=self.now,
        )
        if must_wait(one.key, facts, kept):
            one.held_since = one.held_since or self.now
            self.longest_held = max(self.longest_held, self.now - one.held_since)
            return
        one.held_since = None
        assert self.now <= one.deadline or one.queued is not None, "held beyond its deadline"
        self.sent.append(one)

    def _mined(self, one: Payment) -> None:
        if one.amount <= self.left:
            self.spent.append((self.now // HOUR_S, one.amount))
            one.paid = self.now
        elif one.queued is None:
            one.queued = self.now


def waits_of(bridge: Bridge) -> Iterator[tuple[Payment, int, int]]:
    """(payment, how long it waited in the queue, how long at most)."""
    for one in bridge.payments:
        if one.queued is not None:
            until = bridge.now if one.paid is None else one.paid
            yield one, until - one.queued, at_most(bridge, one)


def at_most(bridge: Bridge, one: Payment) -> int:
    """The turns of those before it in the line, its own, and what is left of one when it came."""
    assert one.queued is not None
    others = [other for other in bridge.payments if other.queued is not None]
    elders = [
        other
        for other in others
        if other.place < one.place and (other.paid is None or other.paid > one.queued)
    ]
    return TURN_S * (len(elders) + 1) + HELD_S + 2 * TICK_S


@settings(max_examples=40, deadline=None)
@given(
    begins=st.integers(0, TURN_S // TICK_S),
    large=st.lists(
        st.tuples(st.integers(0, 100), st.integers(LIMIT // 2, LIMIT)), min_size=1, max_size=3
    ),
    small=st.lists(st.integers(1, LIMIT // 10), min_size=1, max_size=8),
    pauses=st.lists(st.booleans(), min_size=1, max_size=8),
)
def test_every_queued_payment_is_made_within_its_turns_whatever_small_ones_come(
    begins: int, large: list[tuple[int, int]], small: list[int], pauses: list[bool]
) -> None:
    bridge = Bridge.full(BEGUN + begins * TICK_S)
    for tick in range(100 + 5 * TURN_S // TICK_S):
        for at, amount in large:
            if at == tick:
                bridge.arrive(amount)
        # Ever more of them, each of which would fit where a little room comes.
        if pauses[tick % len(pauses)] and len(bridge.waiting) < 30:
            bridge.arrive(small[tick % len(small)])
        bridge.tick()
    for one, waited, longest in waits_of(bridge):
        assert waited <= longest, one
    assert bridge.longest_held <= HELD_S


def test_what_is_under_way_as_a_turn_begins_costs_nobody_the_turn() -> None:
    bridge = Bridge(BEGUN - 5 * HOUR_S, deque([((BEGUN - 5 * HOUR_S) // HOUR_S, LIMIT - 10)]))
    bridge.arrive(LIMIT)
    for _ in range(3):
        bridge.tick()
    bridge.arrive(10)
    (large, under_way) = bridge.payments
    while bridge.now < BEGUN + TURN_S:
        bridge.tick()
        bridge.arrive(LIMIT // 20)
    # It left in the turn's first hour, and so is in the window for 25 more.
    assert large.queued is not None and under_way.paid == BEGUN
    assert large.paid is not None and large.paid <= BEGUN + HELD_S


def flooded(large: int) -> tuple[Bridge, Payment]:
    """A queued payment, while more small ones come than the window lets out, for six turns."""
    bridge = Bridge.full(BEGUN + TURN_S - 4 * TICK_S)
    for tick in range(6 * TURN_S // TICK_S):
        if len(bridge.waiting) < 40:
            bridge.arrive(LIMIT // 20)
        if tick == 2:
            bridge.arrive(large)
        bridge.tick()
    return bridge, next(one for one in bridge.payments if one.amount == large)


@pytest.mark.parametrize("large", [LIMIT // 2, LIMIT])
def test_large_payment_starves_without_turns_and_is_made_with_them(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, made = flooded(large)
    assert made.queued is not None and made.paid is not None
    assert made.paid - made.queued <= at_most(bridge, made)
    monkeypatch.setattr(line, "HELD_S", 0)
    assert flooded(large)[1].paid is None
