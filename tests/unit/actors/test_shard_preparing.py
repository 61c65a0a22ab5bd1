"""Buckets that another shard serves: prepared, then taken by one UPDATE; told once doors know."""

import asyncio

import pytest

from actors import shard as module
from engine.buckets import bucket_of
from engine.control import (
    Directory,
    EntriesWanted,
    Prepare,
    Release,
    StatesAt,
    StatusWanted,
    Take,
    Unfollow,
)
from engine.errors import TransientError
from engine.limits import BUCKETS, REPLICA_BEAT_S
from engine.messages import (
    BucketOwner,
    QuoteReply,
)
from engine.states import Beat, BucketStates
from tests.support.shard_world import ALL, ETH, World, running, told


async def test_prepared_buckets_are_taken_by_one_update_and_served_by_the_first_until_then():
    world = World()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    await first.handlers[Take](Take(ALL))
    for _ in range(12):
        world.seal(trades=3)
    await world.listener.send()
    assert (await second.handlers[Prepare](Prepare(ALL))).buckets == ALL
    assert isinstance(world.ask(first), QuoteReply)
    assert world.ask(second).code == "shard_unavailable"
    assert second.owners == () and second.handlers[StatesAt](StatesAt(13)).states == ()
    assert {row.owner for row in world.owners.rows.values()} == {"shard-0/1"}
    world.seal(trades=4)
    await world.listener.send()
    read = world.events.read
    taken = await second.handlers[Take](Take(ALL))
    assert world.events.read == read and len(taken.owners) == BUCKETS
    newer, older = world.ask(second), world.ask(first)
    assert newer.as_of.block_number == older.as_of.block_number == 14
    assert newer.amount_out == older.amount_out
    assert (newer.as_of.version[0], older.as_of.version[0]) == (2, 1)


async def test_part_of_what_was_prepared_is_taken_and_nothing_else_is_kept():
    world = World()
    shard = world.shard()
    await shard.handlers[Prepare](Prepare(ALL))
    mine = bucket_of(world.token)
    await shard.handlers[Take](Take(frozenset({mine})))
    world.seal(trades=8)
    await world.listener.send()
    assert dict(shard.owners) == {mine: 1}
    assert {state[0] for state in shard.handlers[StatesAt](StatesAt(2)).states} == {world.token}


async def test_what_the_owner_before_may_not_have_told_is_told_with_the_new_incarnation(
    monkeypatch,
):
    monkeypatch.setattr(module, "HOLD_S_MAX", 0.01)
    world = World()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    await first.handlers[Take](Take(ALL))
    async with running(second):
        await second.handlers[Prepare](Prepare(ALL))
        # The first one stands still from here on.
        world.listener.followers = {
            at: position
            for at, position in world.listener.followers.items()
            if at[0] != "shard-0/1"
        }
        for _ in range(4):
            world.scenario.buy(world.token, ETH // 50)
            world.seal()
            await world.listener.send()
        await asyncio.sleep(0.05)
        assert world.ticks.sent == [] and world.ticks.listed == []
        await second.handlers[Take](Take(ALL))
        await asyncio.sleep(0.05)
    mine = [tick for tick in world.ticks.sent if tick.topic == f"token:0x{world.token.hex()}"]
    blocks = [tick.data["asOf"]["blockNumber"] for tick in mine if tick.event == "price"]
    assert blocks == [4, 5]
    assert {tick.data["asOf"]["version"][0] for tick in mine} == {2}
    assert [tick.seq for tick in mine] == [1, 2, 3, 4]


async def test_prepare_without_a_head_fails_and_is_not_read_again_when_repeated(monkeypatch):
    monkeypatch.setattr(module, "PREPARE_WAIT_S", 0.05)
    world = World()
    shard = world.shard()
    del world.calls.roles["listener/1"]
    with pytest.raises(TransientError, match="stale_chain"):
        await shard.handlers[Prepare](Prepare(ALL))
    read = world.events.read
    world.calls.roles["listener/1"] = world.listener
    async with running(shard):
        shard._listener_changed.set()
        assert await shard.handlers[Prepare](Prepare(ALL))
    assert world.events.read == read and shard.owners == ()


async def test_prepared_in_vain_is_given_up_and_the_listener_told_so():
    world = World()
    shard = world.shard()
    await shard.handlers[Prepare](Prepare(ALL))
    ((_, group),) = world.listener.followers
    async with running(shard):
        world.clock.now += module.PREPARED_S_MAX + 1
        shard._listener_changed.set()
        await asyncio.sleep(0.05)
    assert unfollowed(world) == [("shard-0/1", group)]
    assert shard.handlers[StatusWanted](StatusWanted())["buckets_prepared"] == 0


async def test_group_that_lost_all_its_buckets_is_fed_no_more():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    ((_, group),) = world.listener.followers
    async with running(shard):
        shard.handlers[Release](Release(tuple(BucketOwner(b, "other", 2) for b in ALL)))
        await asyncio.sleep(0.05)
    assert unfollowed(world) == [("shard-0/1", group)]


def unfollowed(world):
    return [(m.consumer, m.group) for _, m in world.calls.asked if isinstance(m, Unfollow)]


async def test_owner_before_is_not_fenced_until_the_doors_know_of_the_new_one(monkeypatch):
    monkeypatch.setattr(module, "HOLD_S_MAX", 3_600.0)
    world = World()
    for _ in range(3):
        world.seal()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    await first.handlers[Take](Take(ALL))
    async with running(first), running(second):
        await second.handlers[Prepare](Prepare(ALL))
        taken = await second.handlers[Take](Take(ALL))
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        await asyncio.sleep(0.05)
        assert told(world, world.token) == ["price", "transaction"]
        assert isinstance(world.ask(first), QuoteReply)
        # Told by the supervisor, who told the doors before.
        second.handlers[Directory](Directory(2, (), taken.owners))
        await asyncio.sleep(0.05)
    assert told(world, world.token) == ["price", "transaction"] * 2
    assert {incarnation for incarnation in world.ticks.fence.values()} == {2}


async def test_replicas_hear_of_the_new_owner_once_doors_know_it_and_see_what_they_missed(
    monkeypatch,
):
    monkeypatch.setattr(module, "HOLD_S_MAX", 3_600.0)
    world = World()
    world.seal()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    await first.handlers[Take](Take(ALL))
    async with running(second):
        await second.handlers[Prepare](Prepare(ALL))
        taken = await second.handlers[Take](Take(ALL))
        (entry,) = second.handlers[EntriesWanted](EntriesWanted((world.token,))).entries
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        await asyncio.sleep(3 * REPLICA_BEAT_S)
        assert world.states.sent == []
        second.handlers[Directory](Directory(2, (), taken.owners))
        await asyncio.sleep(3 * REPLICA_BEAT_S)
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        await asyncio.sleep(3 * REPLICA_BEAT_S)
    beats = [one for one in world.states.sent if isinstance(one, Beat)]
    ((mark,),) = [standing.marks for standing in beats[0].standings]
    assert entry.incarnation == mark.incarnation == 2 and mark.seq > entry.seq
    states = [one for one in world.states.sent if isinstance(one, BucketStates)]
    assert [one.seq for one in states] == [mark.seq + 1]


async def test_new_owner_speaks_after_a_while_though_nobody_told_it(monkeypatch):
    monkeypatch.setattr(module, "HOLD_S_MAX", 0.02)
    world = World()
    for _ in range(3):
        world.seal()
    shard = world.shard()
    async with running(shard):
        await shard.handlers[Prepare](Prepare(ALL))
        await shard.handlers[Take](Take(ALL))
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        await asyncio.sleep(0.1)
    assert told(world, world.token) == ["price", "transaction"]
