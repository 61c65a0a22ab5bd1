"""What is said of trades where calls come late, room is missing, or a market is halted."""

from dataclasses import replace

import pytest

from actors import shard as module
from actors import trade_topics
from engine.errors import TransientError
from engine.messages import Tick, Traded
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
from tests.support.shard_world import World
from tests.support.tasks import passed


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "HOLD_S_MAX", 0.01)
    monkeypatch.setattr(trade_topics, "AGAIN_S", 0.01)


async def test_call_that_was_given_up_and_comes_late_says_nothing():
    world = World()
    async with owner(world):
        say, late = world.ticks.say_trades, []

        async def lose(parcels):
            late.extend(parcels)
            raise TransientError("store_unavailable", "no answer in time")

        world.ticks.say_trades = lose
        await feed(world, "shard-0/1", previewed(world))
        world.ticks.say_trades = say
        await trade(world, tokens=[world.token])
        await passed(SOON_S)
        assert said(world) == trades(world, after=1) and late
        # It is sealed by now: nobody would take this back, or say it again.
        await say(late)
        await passed(SOON_S)
        assert of_open_blocks(world) == [] and not any(world.ticks.open.values())


async def test_claim_that_redis_forgot_is_made_again():
    world = World()
    async with owner(world):
        world.ticks.claims.clear()
        await trade(world, 2)
        await passed(SOON_S)
    assert sorted(said(world)) == sorted(trades(world, after=1)) and world.ticks.gaps == 0


async def test_what_did_not_come_true_is_taken_back_once_also_where_there_is_no_room(monkeypatch):
    monkeypatch.setattr(trade_topics, "MAILBOX_MAX", 1)
    world = World()
    async with owner(world):
        message = previewed(world)
        await feed(world, "shard-0/1", message)
        world.ticks.down = True
        world.seal()
        await trade(world, 3, tokens=[world.token])
        await passed(SOON_S)
        say = world.ticks.say_trades

        async def slow(parcels):
            await passed(0.1)
            return await say(parcels)

        world.ticks.say_trades = slow
        world.ticks.down = False
        await passed(6 * SOON_S)
    assert shown_and_taken_back(world, message) and world.ticks.gaps == 0
    assert said(world) == trades(world, after=1)


async def test_second_halt_is_owed_a_gap_of_its_own_when_the_first_ones_is_said():
    world = World()
    async with owner(world) as shard:
        (served,) = shard._served.values()
        topics, group = shard._publisher._trades, served.group
        await trade(world)
        await passed(SOON_S)
        say = world.ticks.say_trades

        async def slow(parcels):
            answers = await say(parcels)
            group.halt(world.token, "two")
            halted = Tick("t", "status", 1, "g", {})
            world.ticks.say_trades, world.ticks.down = say, True
            topics.publish(group, [(group.change(world.token), [halted])])
            return answers

        world.ticks.say_trades = slow
        halted = Tick("t", "status", 1, "g", {})
        topics.publish(group, [(group.change(world.token), [halted])])
        await passed(SOON_S)
        assert world.ticks.gaps == 1
        world.ticks.down = False
        await passed(SOON_S)
    assert world.ticks.gaps == 2


def wrong(world, token):
    """The last block's trade of a market does not add up."""
    block = world.listener.blocks[-1]
    events = tuple(
        replace(one, tokens=one.tokens + 1)
        if isinstance(one, Traded) and one.token == token
        else one
        for one in block.events
    )
    world.listener.blocks[-1] = replace(block, events=events)
    world.events.next = world.listener.blocks[-1]


@pytest.mark.parametrize("recorded", [False, True])
async def test_market_that_halts_at_a_trade_that_nobody_said_is_a_gap(recorded):
    world = World()
    async with owner(world):
        await trade(world)
        await passed(SOON_S)
    stand_still(world, "shard-0/1")
    await trade(world, tokens=[world.token])
    wrong(world, world.token)
    if recorded:
        world.seal()
    async with owner(world, "shard-1/1"):
        await world.listener.send()
        await passed(SOON_S)
        assert world.ticks.gaps == 1
    stand_still(world, "shard-1/1")
    world.seal()
    async with owner(world, "shard-2/1"):
        await trade(world, tokens=[world.other])
        await passed(SOON_S)
    assert world.ticks.gaps == 1 and said(world)[-1:] == trades(world)[-1:]
