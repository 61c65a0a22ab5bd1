"""What the bridge keeps is bounded, over a real Postgres, and nobody misses what was taken away."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from actors.sweeper import Sweeper
from engine.errors import ConsistencyError
from storage import bridge_outbox, postgres
from storage.bridge_outbox import POINTS
from tests.support import transfers as t
from tests.support.bridge_history import DAY_S, Bridge
from tests.support.fakes import FakeSink

VERSION = 13


@pytest.fixture
async def bridge(pool: Any) -> Bridge:
    return Bridge(pool)


# --------------------------------------------------------------------- outbox


async def test_outbox_of_a_long_history_is_bounded_and_its_numbers_go_on_without_a_gap(
    bridge: Bridge,
) -> None:
    most = 0
    for day in range(60):
        for number in range(3):
            await bridge.transfer(back=number == 2)
        await bridge.older(1)
        await bridge.outbox.told(POINTS, bridge.count)
        await bridge.outbox.sweep(kept_s=7 * DAY_S - 60)
        most = max(most, await bridge.rows("bridge_outbox"))
        if day == 30:
            # Nothing is left of it: who counts on from rows that are there begins at 1 again.
            await bridge.older(30)
            await bridge.outbox.sweep(kept_s=7 * DAY_S)
            assert await bridge.rows("bridge_outbox") == 0
    assert most <= 3 * 7
    assert [one.seq for one in await bridge.all()] == list(range(1, 181))


async def test_reader_anywhere_reads_the_same_before_and_after_a_sweep(bridge: Bridge) -> None:
    for number in range(30):
        await bridge.transfer(back=number % 4 == 0)
    places = [0, 1, 13, 19, 20, 21, 29, 30]
    before = {place: await bridge.all(place) for place in places}
    assert len(before[0]) == 30 and before[13][0].payload["paidAt"] > 1_000_000
    await bridge.outbox.told(POINTS, 20)
    while await bridge.outbox.sweep(kept_s=0, rows_max=3):
        assert {place: await bridge.all(place) for place in places} == before
    assert await bridge.rows("bridge_outbox") == 10
    for limit in (1, 6, 1_000):
        assert await bridge.all(limit=limit) == before[0]


async def test_sweep_takes_nothing_that_a_consumer_has_not_told_of_or_that_is_young(
    bridge: Bridge,
) -> None:
    for _ in range(9):
        await bridge.transfer()
    assert await bridge.outbox.sweep(kept_s=0) == 0, "nobody has told"
    await bridge.outbox.told("another", 9)
    assert await bridge.outbox.sweep(kept_s=0) == 0, "points has not told"
    await bridge.outbox.told(POINTS, 5)
    assert await bridge.outbox.sweep(kept_s=3_600) == 0, "young"
    assert await bridge.outbox.sweep(kept_s=0) == 5
    await bridge.outbox.told("another", 2)  # its own store was put back to an older day
    await bridge.outbox.told(POINTS, 9)
    assert await bridge.outbox.sweep(kept_s=0) == 0
    assert [one.seq for one in await bridge.all(2)] == [3, 4, 5, 6, 7, 8, 9]


async def test_readers_that_lag_while_it_is_swept_and_added_to_lose_nothing(
    bridge: Bridge,
) -> None:
    for _ in range(20):
        await bridge.transfer()
    dice = random.Random(5)
    done = asyncio.Event()

    async def add() -> None:
        for _ in range(20):
            await bridge.transfer()
        done.set()

    async def sweep() -> None:
        while not done.is_set():
            await bridge.outbox.told(POINTS, (await bridge.all())[-1].seq)
            await bridge.outbox.sweep(kept_s=0, rows_max=2)

    async def read() -> list[int]:
        found: list[int] = []
        while len(found) < 40:
            some = await bridge.outbox.ended_after(found[-1] if found else 0, 3)
            found += [one.seq for one in some]
            await asyncio.sleep(dice.random() * 0.02)
        return found

    *found, _, _ = await asyncio.gather(*(read() for _ in range(3)), add(), sweep())
    assert all(one == list(range(1, 41)) for one in found)
    assert await bridge.rows("bridge_outbox") < 40


async def test_sweep_that_dies_leaves_rows_and_floor_as_they_were(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await bridge.transfer()
    before = await bridge.all()
    await bridge.outbox.told(POINTS, 5)
    monkeypatch.setitem(bridge_outbox._SQL, "raise_floor", "SELECT 1/0, $1::bigint")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await bridge.outbox.sweep(kept_s=0)
    assert await bridge.rows("bridge_outbox") == 5 and await bridge.all() == before


async def test_sweeper_tells_what_the_ledger_says(bridge: Bridge) -> None:
    for _ in range(5):
        await bridge.transfer()

    async def bridged() -> int:
        return 3

    sweeper = Sweeper(outbox=bridge.outbox, consumers={POINTS: bridged}, log=FakeSink(), kept_s=0)
    assert await sweeper.turn() == 3 and await bridge.rows("bridge_outbox") == 2


# --------------------------------------------------------------------- events


async def test_events_of_a_long_history_are_bounded_and_the_vaults_numbers_go_on(
    bridge: Bridge,
) -> None:
    most = 0
    for _ in range(90):
        await bridge.transfer()
        await bridge.older(1)
        await bridge.forget()
        most = max(most, await bridge.rows("bridge_events"))
    assert most <= 2 * 31 + 2
    await bridge.older(60)
    await bridge.forget()
    # The newest of each vault stays, whose number the next one follows.
    assert await bridge.rows("bridge_events") == 2
    await bridge.transfer()


async def test_transfer_whose_events_are_gone_is_shown_as_it_was(bridge: Bridge) -> None:
    ended = [await bridge.transfer(back=back) for back in (False, True)]
    for _ in range(2):
        await bridge.transfer()  # the newest, which stay
    before = [await bridge.reads.one(one.id) for one in ended]
    assert all(one.deposit is not None for one, _ in before if one is not None)
    await bridge.older(31)
    assert await bridge.forget() > 0
    for one, (was, _) in zip(ended, before, strict=True):
        now, _ = await bridge.reads.one(one.id)
        assert now is not None and was is not None
        assert (now.deposit, now.payment, now.refund) == (was.deposit, was.payment, was.refund)
    (paid, _), (returned, _) = before
    assert paid is not None and paid.payment is not None and paid.refund is None
    assert returned is not None and returned.refund is not None and returned.payment is None


async def test_events_of_what_goes_on_or_ended_lately_or_is_not_final_stay(bridge: Bridge) -> None:
    under_way = replace(t.message(100), amount=t.ETHER)
    await bridge.source.say(t.deposited, under_way)
    await bridge.transfer()
    await bridge.older(29)
    await bridge.transfer()
    await bridge.source.say(t.deposited, t.message(101), final=False)
    count = await bridge.rows("bridge_events")
    assert await bridge.forget() == 0
    await bridge.older(2)
    assert await bridge.forget() == 2 and await bridge.rows("bridge_events") == count - 2
    await bridge.target.say(t.released, under_way)
    await bridge.end(under_way)


async def test_newest_event_that_is_taken_back_after_the_old_ones_went_loses_no_number(
    bridge: Bridge,
) -> None:
    for _ in range(3):
        await bridge.transfer()
    await bridge.source.say(t.deposited, t.message(50), final=False)
    await bridge.older(31)
    assert await bridge.forget() > 0
    await bridge.source.reorganise(1)
    await bridge.source.say(t.deposited, t.message(51))
    bridge.source.seq += 1  # one is missing
    with pytest.raises(ConsistencyError, match="lost_log"):
        await bridge.source.say(t.deposited, t.message(52))


# ------------------------------------------------------------------ migration

BEFORE = f"""
DROP TABLE bridge_outbox_marks, bridge_beats;
DROP INDEX bridge_requests_paid;
ALTER TABLE bridge_requests DROP COLUMN deposit_block, DROP COLUMN deposit_time,
    DROP COLUMN paid_block, DROP COLUMN paid_at, DROP COLUMN ended_seq, DROP COLUMN asked_key;
DELETE FROM schema_migrations WHERE version = {VERSION};
"""


async def test_transfers_of_an_older_version_are_read_and_swept_like_new_ones(
    bare_pool: Any,
) -> None:
    await postgres.migrate(bare_pool)
    bridge = Bridge(bare_pool)
    for number in range(6):
        await bridge.transfer(back=number % 2 == 1)
    whole, shown = (
        await bridge.all(),
        [await bridge.reads.one(e.key[2]) for e in await bridge.all()],
    )
    await bridge.execute(BEFORE)
    assert await postgres.migrate(bare_pool) == [f"00{VERSION}_bridge_bounds.sql"]
    await bridge.outbox.told(POINTS, 6)
    await bridge.older(40)
    assert await bridge.outbox.sweep(kept_s=0) == 6 and await bridge.forget() > 0
    assert await bridge.all() == whole
    for (was, _), one in zip(shown, whole, strict=True):
        now, _ = await bridge.reads.one(one.key[2])
        assert now is not None and was is not None
        assert (now.deposit, now.payment, now.refund) == (was.deposit, was.payment, was.refund)
    await bridge.transfer()
    assert [one.seq for one in await bridge.all(6)] == [7]
