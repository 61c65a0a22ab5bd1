"""Each sealed trade is said once on the topics of trades, whoever owns its bucket by then."""

import asyncio
from dataclasses import replace

import pytest

from actors import shard as module
from actors import trade_topics
from engine import said as engine_said
from engine.control import Directory, Feed, Halt, Prepare, Release, Take
from engine.errors import ConsistencyError, TransientError
from engine.messages import FeedBatch, Reorg
from tests.support import shard_world
from tests.support.said_world import (
    SOON_S,
    feed,
    of_open_blocks,
    owner,
    previewed,
    said,
    shown_and_taken_back,
    stand_still,
    trade,
    trades,
)
from tests.support.scenario import CHAIN_ID
from tests.support.shard_world import ALL, ETH, World, running
from tests.support.tasks import passed


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "HOLD_S_MAX", 0.01)
    monkeypatch.setattr(trade_topics, "AGAIN_S", 0.01)


async def test_planned_move_says_each_trade_once():
    world = World()
    async with owner(world) as first:
        second = world.shard("shard-1/1")
        async with running(second):
            await trade(world, 2)
            await second.handlers[Prepare](Prepare(ALL))
            await trade(world, 3)
            taken = await second.handlers[Take](Take(ALL))
            await trade(world)
            second.handlers[Directory](Directory(2, (), taken.owners))
            first.handlers[Release](Release(taken.owners))
            stand_still(world, "shard-0/1")
            await trade(world)
            await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1))
    assert sorted(said(world, "user")) == sorted(said(world))


async def test_what_an_owner_that_lags_did_not_say_its_successor_says(monkeypatch):
    world = World()
    async with owner(world):
        await trade(world, 2)
        second = world.shard("shard-1/1")
        async with running(second):
            await second.handlers[Prepare](Prepare(ALL))
            stand_still(world, "shard-0/1")
            await trade(world, 6)
            await second.handlers[Take](Take(ALL))
            await trade(world)
            await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1))
    assert sorted(said(world, "user")) == sorted(said(world))


async def test_what_happened_while_nobody_owned_a_bucket_is_said_by_whoever_takes_it():
    world = World()
    async with owner(world):
        await trade(world, 2)
        await passed(SOON_S)
    stand_still(world, "shard-0/1")
    await trade(world, 4)
    assert len(said(world)) == 4
    async with owner(world, "shard-1/1"):
        await trade(world)
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1))
    assert sorted(said(world, "user")) == sorted(said(world))


async def test_trades_of_a_while_without_redis_are_said_when_it_is_back_also_unknown_ones():
    world = World()
    async with owner(world):
        await trade(world)
        await passed(SOON_S)
        world.ticks.answers_lost = True
        await trade(world)
        await passed(SOON_S)
        world.ticks.answers_lost, world.ticks.down = False, True
        await trade(world, 3)
        await passed(SOON_S)
        assert len(said(world)) == 4
        world.ticks.down = False
        await passed(SOON_S)
        await trade(world)
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1))
    events = [event for event in world.log.events() if event.startswith("trades_")]
    assert events == ["trades_down", "trades_back"]
    assert world.ticks.gaps == 0


async def test_several_trades_of_one_bucket_in_one_block_are_all_said():
    world = World()
    async with owner(world):
        for _ in range(3):
            await trade(world, tokens=[world.token] * 3)
        await passed(SOON_S)
        stand_still(world, "shard-0/1")
        await trade(world, 2, tokens=[world.token] * 3)
    async with owner(world, "shard-1/1"):
        await trade(world, tokens=[world.token] * 2)
        await passed(SOON_S)
    assert said(world) == trades(world, after=1)


async def test_room_that_is_missing_costs_no_trade(monkeypatch):
    monkeypatch.setattr(trade_topics, "MAILBOX_MAX", 1)
    world = World()
    async with owner(world) as shard:
        group = shard._served[f"{shard._name}/1"].group
        for _ in range(3):
            for token in (world.token, world.other):
                world.scenario.buy(token, ETH // 50)
            block = world.seal()
            batch = FeedBatch(CHAIN_ID, group.position, (block,), block.header.number)
            shard.handlers[Feed](Feed(group.name, batch))  # nobody takes anything meanwhile
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1))


async def test_blocks_of_a_step_that_broke_off_are_said_and_their_topics_begin_anew():
    world = World()
    async with owner(world) as shard:
        (served,) = shard._served.values()
        await trade(world)
        await passed(SOON_S)
        stand_still(world, "shard-0/1")
        before = served.group.position
        await trade(world, 2)
        good, other = world.listener.blocks[-2:]
        torn = replace(other, header=replace(other.header, parent_hash=b"x" * 32))
        batch = FeedBatch(CHAIN_ID, before, (good, torn), other.header.number)
        with pytest.raises(ConsistencyError):
            shard.handlers[Feed](Feed(served.group.name, batch))
        world.listener.followers["shard-0/1", served.group.name] = served.group.position
        await trade(world)
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1)) and world.ticks.gaps == 0
    mine = [tick for tick in world.ticks.sent if tick.topic == f"token:0x{world.token.hex()}"]
    assert len({tick.generation for tick in mine}) == 2


async def reorg(world, shard, *, to):
    """Back to an earlier block; others follow it."""
    ancestor = next(b.header for b in world.listener.blocks if b.header.number == to)
    position = next(iter(shard._served.values())).group.position
    world.scenario = world.scenario.fork_at(ancestor, salt=f"other {to}")
    world.listener.blocks = [b for b in world.listener.blocks if b.header.number <= to]
    message = Reorg(CHAIN_ID, ancestor.number, ancestor.hash)
    for (consumer, group), _ in list(world.listener.followers.items()):
        batch = FeedBatch(CHAIN_ID, position, (message,), position.number)
        at = shard.handlers[Feed](Feed(group, batch))
        world.listener.followers[(consumer, group)] = at


async def test_reorg_takes_back_what_was_said_and_what_comes_instead_is_said():
    world = World()
    world.scenario.remember = True
    async with owner(world) as shard:
        await trade(world, 3)
        await passed(SOON_S)
        gone = trades(world, after=2)
        await reorg(world, shard, to=2)
        await trade(world, 3, tokens=[world.token])
        await passed(SOON_S)
    assert sorted(said(world, kind="retracted")) == sorted(gone) and len(gone) == 4
    left = said(world)
    for one in gone:
        left.remove(one)
    assert sorted(left) == sorted(trades(world, after=1))


async def test_bucket_without_a_trade_in_the_reorg_is_not_marked_by_a_block_that_is_gone():
    world = World()
    world.scenario.remember = True
    async with owner(world) as shard:
        await trade(world, 2, tokens=[world.other])
        await trade(world, tokens=[world.token])
        await passed(SOON_S)
        # The first marks the bucket of `token` with block 3, which the second one takes back.
        await reorg(world, shard, to=3)
        await reorg(world, shard, to=2)
        await trade(world, 2)
        await passed(3 * SOON_S)
    assert set(trades(world, after=1)) <= set(said(world)) and world.ticks.gaps == 0


async def test_block_that_came_and_went_in_one_batch_does_not_mark_its_bucket():
    world = World()
    world.scenario.remember = True
    async with owner(world) as shard:
        await trade(world)
        stand_still(world, "shard-0/1")
        (served,) = shard._served.values()
        before = served.group.position
        await trade(world)
        gone = world.listener.blocks.pop()
        back = Reorg(CHAIN_ID, before.number, before.hash)
        batch = FeedBatch(CHAIN_ID, before, (gone, back), gone.header.number)
        assert shard.handlers[Feed](Feed(served.group.name, batch)) == before
        world.scenario = world.scenario.fork_at(world.listener.blocks[-1].header, salt="other")
        world.listener.followers["shard-0/1", served.group.name] = before
        await trade(world)
        await passed(SOON_S)
    assert set(trades(world, after=1)) <= set(said(world)) and world.ticks.gaps == 0


async def test_reorg_above_the_mark_while_redis_is_away_says_only_what_stayed():
    world = World()
    world.scenario.remember = True
    async with owner(world) as shard:
        await trade(world)
        await passed(SOON_S)
        world.ticks.down = True
        await trade(world, 2)
        await passed(SOON_S)
        await reorg(world, shard, to=3)
        await trade(world, 2)
        world.ticks.down = False
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1)) and world.ticks.gaps == 0


async def test_what_waits_behind_a_call_that_failed_does_not_move_the_mark_over_it():
    world = World()
    async with owner(world):
        say, held = world.ticks.say_trades, asyncio.Event()

        async def fail(parcels):
            await held.wait()
            world.ticks.say_trades = say
            raise TransientError("store_unavailable", "down")

        world.ticks.say_trades = fail
        await trade(world)
        await asyncio.sleep(0.02)
        await trade(world, 2)
        held.set()
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1)) and world.ticks.gaps == 0


async def test_what_was_said_of_blocks_that_are_gone_by_now_is_a_gap():
    world = World()
    world.scenario.remember = True
    async with owner(world):
        await trade(world, 3)
        await passed(SOON_S)
    stand_still(world, "shard-0/1")
    ancestor = world.listener.blocks[1].header
    world.scenario = world.scenario.fork_at(ancestor, salt="other")
    world.listener.blocks = world.listener.blocks[:2]
    world.events.rows = [e for e in world.events.rows if e.at.block_number <= ancestor.number]
    world.events.blocks = [one for one in world.events.blocks if one.number <= ancestor.number]
    world.events.at, world.events.next = world.events.blocks[-1], None
    async with owner(world, "shard-1/1"):
        assert world.ticks.gaps == 0  # it is not there yet
        before = len(said(world))
        await trade(world, 3)
        await passed(SOON_S)
        assert world.ticks.gaps > 0
        await trade(world)
        await passed(SOON_S)
    assert said(world)[before:][-2:] == trades(world)[-2:]


async def test_bucket_that_was_quiet_for_long_is_taken_without_a_gap_and_one_that_was_not_with_one(
    monkeypatch,
):
    monkeypatch.setattr(engine_said, "SAID_BLOCKS", 3)
    monkeypatch.setattr(shard_world, "CHAIN", replace(shard_world.CHAIN, reorg_depth_max=16))
    world = World()
    async with owner(world):
        await trade(world, tokens=[world.token, world.other])
        await trade(world, 6, tokens=[world.token])
        await passed(SOON_S)
    async with owner(world, "shard-1/1"):
        await trade(world)
        await passed(SOON_S)
        assert sorted(said(world)) == sorted(trades(world, after=1)) and world.ticks.gaps == 0
    stand_still(world, "shard-0/1")
    stand_still(world, "shard-1/1")
    await trade(world, 6, tokens=[world.token])
    async with owner(world, "shard-2/1"):
        await trade(world)
        await passed(SOON_S)
    assert world.ticks.gaps == 1 and "trades_gap" in world.log.events()
    mine = [one for one in trades(world, after=1) if one not in said(world)]
    assert 3 <= len(mine) <= 6


async def test_planned_move_takes_back_what_was_preconfirmed_before_it():
    world = World()
    async with owner(world) as first:
        second = world.shard("shard-1/1")
        async with running(second):
            await second.handlers[Prepare](Prepare(ALL))
            message = previewed(world)
            await feed(world, "shard-0/1", message)
            await feed(world, "shard-1/1", message)
            taken = await second.handlers[Take](Take(ALL))
            world.seal()
            await world.listener.send()
            second.handlers[Directory](Directory(2, (), taken.owners))
            first.handlers[Release](Release(taken.owners))
            await passed(SOON_S)
    assert shown_and_taken_back(world, message) and world.ticks.gaps == 0


async def test_what_was_preconfirmed_before_redis_was_away_is_taken_back_when_it_is_there_again():
    world = World()
    async with owner(world):
        message = previewed(world)
        await feed(world, "shard-0/1", message)
        world.ticks.down = True
        world.seal()
        await world.listener.send()
        await passed(SOON_S)
        world.ticks.down = False
        await passed(SOON_S)
    assert shown_and_taken_back(world, message) and world.ticks.gaps == 0


async def test_what_an_owner_that_died_said_of_the_open_block_its_successor_takes_back_or_seals():
    world = World()
    async with owner(world):
        message = previewed(world)
        await feed(world, "shard-0/1", message)
    stand_still(world, "shard-0/1")
    async with owner(world, "shard-1/1"):
        # The block may still hold it: nothing is known before it is there.
        assert [name for name, _ in of_open_blocks(world)] == ["transaction"]
        world.seal()
        await world.listener.send()
        await passed(SOON_S)
        assert shown_and_taken_back(world, message)
        true = previewed(world)
        await feed(world, "shard-1/1", true)
    stand_still(world, "shard-1/1")
    async with owner(world, "shard-2/1"):
        await trade(world, tokens=[world.token])
        await passed(SOON_S)
    assert [name for name, _ in of_open_blocks(world)[2:]] == ["transaction"]
    assert said(world)[-1:] == trades(world)[-1:] and world.ticks.gaps == 0
    assert not any(world.ticks.open.values())


async def test_mark_of_a_block_that_was_taken_back_is_no_mark_of_ours_below_the_window_either():
    world = World()
    world.scenario.remember = True
    async with owner(world) as shard:
        world.seal()
        await trade(world, tokens=[world.token])
        await passed(SOON_S)
        assert said(world) == trades(world, after=1)
        world.ticks.down = True
        await reorg(world, shard, to=2)
        for _ in range(12):
            world.seal()
        await world.listener.send()
        await passed(SOON_S)
        world.ticks.down = False
        await passed(3 * SOON_S)
        assert world.ticks.gaps > 0
        await trade(world)
        await passed(3 * SOON_S)
    assert said(world)[-2:] == trades(world)[-2:]


async def test_quiet_buckets_of_a_long_time_are_taken_without_a_gap():
    world = World()
    async with owner(world):
        for _ in range(48):  # more than is remembered of trades
            world.seal()
            await world.listener.send()
            await passed(SOON_S / 8)
        await passed(SOON_S)
    async with owner(world, "shard-1/1"):
        await trade(world)
        await passed(SOON_S)
    assert said(world) == trades(world, after=1) and world.ticks.gaps == 0


async def test_halt_of_a_market_and_its_end_are_a_gap_of_its_bucket_also_where_redis_is_away():
    world = World()
    async with owner(world) as shard:
        await trade(world)
        await passed(SOON_S)
        world.ticks.down = True
        shard.handlers[Halt](Halt(world.token, "differs"))
        await passed(SOON_S)
        assert world.ticks.gaps == 0
        world.ticks.down = False
        await passed(SOON_S)
        assert world.ticks.gaps == 1
        world.ticks.halts[world.token] = "differs"
        await trade(world, 2)
        await passed(SOON_S)
        assert world.ticks.gaps == 1
    assert len(said(world)) == len(trades(world, after=1)) - 2
    stand_still(world, "shard-0/1")
    async with owner(world, "shard-1/1"):
        # Its trades of that time were never said, and the mark is above them.
        assert world.ticks.gaps == 2
        await trade(world)
        await passed(SOON_S)
    assert said(world)[-2:] == trades(world)[-2:] and world.ticks.gaps == 2
