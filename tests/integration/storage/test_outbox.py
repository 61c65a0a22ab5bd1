"""The outbox is swept of what everybody has done, and nobody misses anything."""

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from actors.sweeper import Sweeper
from engine import limits
from storage import compare, outbox, postgres, queries
from storage.events import EventStore
from storage.outbox import POINTS, Due, Outbox
from tests.support.fakes import FakeSink
from tests.support.history import Historian, Saga, position_of
from tests.support.scenario import CHAIN_ID


class World:
    """Recorded and final blocks; `all` is what a consumer that begins at zero reads."""

    def __init__(self, pool: asyncpg.Pool, events: EventStore) -> None:
        self.pool, self.events = pool, events
        self.outbox = Outbox(pool, CHAIN_ID)
        self.saga, self.historian = Saga(seed=11), Historian()

    async def play(self, blocks: int, *, final: int) -> None:
        incarnation = await self.events.claim()
        for _ in range(blocks):
            block = self.saga.play()
            rows = [self.historian.rows(block)]
            at = position_of(block)
            assert await self.events.write(rows, incarnation=incarnation, position=at)
        await self.events.finalise(self.saga.number - blocks + final, incarnation)

    async def all(self, *, limit: int = 1_000_000) -> list[tuple[int, bytes, int]]:
        found, after = [], -1
        while True:
            due = await self.outbox.due(after, limit)
            found += [keyed(event) for event, _ in due.events]
            if due.time is None:
                return found
            assert due.block > after and due.time > 0
            after = due.block

    async def left(self) -> list[int]:
        rows = await self.pool.fetch("SELECT block_number FROM outbox ORDER BY 1")
        return [row[0] for row in rows]


def keyed(event) -> tuple[int, bytes, int]:
    return event.at.block_number, event.at.tx_hash, event.at.position


@pytest.fixture
async def world(pool: asyncpg.Pool, events: EventStore) -> AsyncIterator[World]:
    made = World(pool, events)
    await made.play(80, final=70)
    yield made


async def test_way_to_an_event_is_its_key_also_when_it_was_planned_on_an_empty_table(
    pool: asyncpg.Pool,
) -> None:
    # A plan stands until the table is analysed: by another index each row of the outbox walks
    # over all events meanwhile.
    sql = queries.load("outbox")["due"]
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {sql}", CHAIN_ID, -1, 10, 5))
    assert "Index Scan using events_pkey on events" in plan, plan
    assert 'Index Cond: (ROW(chain_id, (tx_hash)::bytea, "position") >=' in plan, plan


async def test_sweep_before_every_consumer_has_told_takes_nothing(world: World) -> None:
    await world.outbox.told("another", 60)
    assert await world.outbox.sweep(kept_s=0) == 0
    await world.outbox.told(POINTS, 40)
    assert await world.outbox.sweep(kept_s=0) > 0
    assert min(await world.left()) > 40 - 5


async def test_sweep_takes_whole_blocks_up_to_the_slowest_and_no_young_ones(world: World) -> None:
    before = await world.left()
    await world.outbox.told(POINTS, 50)
    await world.outbox.told("another", 30)
    assert await world.outbox.sweep(kept_s=3_600) == 0, "young"
    swept = 0
    while taken := await world.outbox.sweep(kept_s=0, rows_max=7):
        swept += taken
        left = await world.left()
        assert left == [block for block in before if block >= left[0]], "in order, none cut"
    assert await world.left() == [block for block in before if block > 30]
    assert swept == len(before) - len(await world.left())
    await world.outbox.told("another", 10**9)  # past all that is final: points is the slowest
    await world.outbox.sweep(kept_s=0)
    assert await world.left() == [block for block in before if block > 50]


async def test_consumer_at_any_place_reads_the_same_before_and_after_a_sweep(world: World) -> None:
    places = [-1, 0, 7, 29, 30, 31, 49, 69]
    before = {place: [await world.outbox.due(place, n) for n in (1, 9, 10**6)] for place in places}
    whole = await world.all()
    await world.outbox.told(POINTS, 49)
    while await world.outbox.sweep(kept_s=0, rows_max=11):
        assert await world.all(limit=5) == whole
    assert await world.left() and (await world.left())[0] > 49
    for place in places:
        for due, number in zip(before[place], (1, 9, 10**6), strict=True):
            found, read = place, []
            while found < due.block:
                part = await world.outbox.due(found, number)
                read += part.events
                found = part.block
            assert (tuple(read), found) == (due.events, due.block)
    assert isinstance(before[0][0], Due)


async def test_consumers_that_read_while_it_is_swept_miss_nothing(world: World) -> None:
    whole, dice = await world.all(), random.Random(2)
    await world.outbox.told(POINTS, 69)

    async def sweep() -> None:
        while await world.outbox.sweep(kept_s=0, rows_max=3):
            await asyncio.sleep(dice.random() * 0.01)

    async def read() -> list[tuple[int, bytes, int]]:
        return await world.all(limit=4)

    *found, _, _ = await asyncio.gather(*(read() for _ in range(4)), sweep(), sweep())
    assert all(one == whole for one in found)
    assert all(block > 69 for block in await world.left())


async def kept(world: World) -> compare.Kept:
    async with postgres.session(world.pool) as connection:
        return await compare.kept(connection, CHAIN_ID)


async def test_sweep_that_dies_leaves_rows_and_floor_as_they_were(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole = await world.left(), await world.all()
    await world.outbox.told(POINTS, 50)
    monkeypatch.setitem(outbox._SQL, "raise_floor", "SELECT 1/0, $1::bigint, $2::text, $3::bigint")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await world.outbox.sweep(kept_s=0)
    assert await world.left() == before and await world.all() == whole
    assert (await kept(world)).floor == -1


async def test_sweeper_tells_what_each_store_says_and_takes_a_long_past_in_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def counted() -> int:
        return 65

    monkeypatch.setattr("actors.sweeper.BATCHES_A_TURN", 3)
    monkeypatch.setattr(Outbox.sweep, "__kwdefaults__", {"rows_max": 10})
    rows = len([block for block in await world.left() if block <= 65])
    sweeper = Sweeper(outbox=world.outbox, consumers={POINTS: counted}, log=FakeSink(), kept_s=0)
    assert 10 < await sweeper.turn() < rows
    while await sweeper.turn():
        continue
    assert sweeper.swept == rows and (await world.left())[0] > 65
    assert limits.OUTBOX_KEPT_S > 86_400


async def test_histories_are_compared_above_what_was_swept(world: World) -> None:
    async def digest(floor: int) -> compare.Digest:
        found = await compare.digests(
            world.pool, CHAIN_ID, schema="public", kept=compare.Kept(floor, {})
        )
        return found["outbox"]

    whole, above = await digest(-1), await digest(49)
    assert whole.rows > above.rows > 0
    await world.outbox.told(POINTS, 49)
    await world.outbox.sweep(kept_s=0)
    floor = (await kept(world)).floor
    assert 40 < floor <= 49
    assert await digest(floor) == await digest(-1) == above
