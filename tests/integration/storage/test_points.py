"""The ledgers over real Postgres and MongoDB: counted once, whoever dies when."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from engine.points import merkle
from storage.points import code_of
from tests.support.history import position_of
from tests.support.points_world import NAMES, START, World, opened, settle
from tests.support.scenario import address_of


@pytest.fixture
async def world(pool: Any, mongodb_url: str) -> AsyncIterator[World]:
    async with opened(pool, mongodb_url) as made:
        yield made


async def everybody(world: World) -> None:
    for name in NAMES:
        await world.person(name, START - 10)


async def test_final_work_is_counted_and_unfinal_is_not(world: World) -> None:
    await everybody(world)
    actor = world.actor()
    await settle(actor)
    await world.play(60, hours=1)
    block = world.saga.play()
    await world.events.write(
        [world.historian.rows(block)], incarnation=world.incarnation, position=position_of(block)
    )
    assert block.events, "Expected something that is not final"
    await settle(actor)
    assert await world.compare() > 10


async def test_dead_at_any_of_three_hundred_points_nothing_is_lost_or_doubled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.points.BATCH", 6)
    await world.referred()
    died = await world.die_often(310, dice=random.Random(3))
    rows = await world.compare()
    assert rows > 300 and died["kills"] >= 310 and died["inside"] > 20
    roots = await world.days.roots("one", 100)
    days = [one["day"] for one in roots]
    assert days == list(range(days[0], days[-1] - 1, -1)) and len(days) > 3


async def test_killed_ten_times_nothing_is_lost_or_doubled(
    world: World, database_url: str, mongodb_url: str
) -> None:
    await world.referred()
    await world.play(400, hours=5)
    died = await world.die_for_real(10, (database_url, mongodb_url), dice=random.Random(5))
    assert await world.compare() > 100
    assert died["cut"] >= 5, "Expected most of them to die at work"


async def test_two_actors_at_once_count_once(world: World) -> None:
    await everybody(world)
    await world.play(60)
    await world.count_at_once(4)
    assert await world.compare() > 10


async def test_ledger_that_begins_anew_after_sweeps_has_the_same_rows(world: World) -> None:
    await world.referred()
    await world.play(150, hours=5)
    await settle(world.actor())
    before = [one async for one in world.database["points_ledger"].find().sort("_id", 1)]
    swept = 0
    while rows := await world.sweep():
        swept += rows
    assert swept > 100 and await world.compare() == len(before) + await owed(world)
    for name in await world.database.list_collection_names():
        if name != "users":
            await world.database[name].delete_many({})
    await world.ledger.prepare()
    await settle(world.actor())
    after = [one async for one in world.database["points_ledger"].find().sort("_id", 1)]
    assert after == before and len(before) > 50
    await world.compare()


async def owed(world: World) -> int:
    return int(await world.database["referral_ledger"].count_documents({}))


async def test_day_is_proved_by_its_root(world: World) -> None:
    await everybody(world)
    await world.play(120, hours=8)
    await settle(world.actor())
    (last, *_) = await world.days.roots("one", 1)
    proved = 0
    for name in NAMES:
        found = await world.days.prove("one", address_of(name))
        if found is None:
            continue
        leaf = merkle.leaf(found.who, found.micro, found.chain)
        assert found.root.hex() == last["root"][2:]
        assert merkle.holds(found.root, leaf, found.proof)
        assert not merkle.holds(
            found.root, merkle.leaf(found.who, found.micro + 1, found.chain), found.proof
        )
        proved += 1
    assert proved == last["wallets"] > 2
    assert await world.days.close("one", last["day"] + 1) is not None
    assert await world.days.prove("one", bytes(20)) is None


async def test_rows_of_windows_that_outlive_the_season_are_in_its_last_root(world: World) -> None:
    end = START + 86_400
    world.rules = replace(world.rules, seasons=(replace(world.rules.seasons[0], end=end),))
    await everybody(world)
    world.saga.time = end - 4_000
    while world.now < end - 60:
        await world.play(1)
    assert world.now < end
    world.saga.time = end + 2 * 86_400
    await world.play(2)
    await settle(world.actor())
    late = await world.database["points_ledger"].count_documents({"time": {"$gte": end}})
    total = await world.database["points_totals"].find_one({"_id": "one"})
    (last, before) = await world.days.roots("one", 10)
    assert late > 0 and last["micro"] == total["micro"] > before["micro"]
    assert last["day"] == end // 86_400
    proved = [await world.days.prove("one", address_of(name)) for name in NAMES]
    assert sum(one.micro for one in proved if one) == total["micro"]


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        (b"Moon1".ljust(32, b"\0"), "moon1"),
        (bytes(32), ""),
        (b"a\0b".ljust(32, b"\0"), ""),
        (b"\xc3\xa9".ljust(32, b"\0"), ""),
        (b"$where".ljust(32, b"\0"), ""),
    ],
)
def test_code_of_a_tag(tag: bytes, code: str) -> None:
    assert code_of(tag) == code
