"""The listener, on a chain without a node: reorganisations and what is preconfirmed."""

import asyncio
import random
from dataclasses import replace

import pytest

from engine.messages import Block, FeedPosition, TokenCreated, Traded
from tests.support.listener_world import Follower, World, until
from tests.support.scenario import Scenario


def fork(world: World, depth: int, blocks: int, *, salt: str = "fork") -> list[Block]:
    """Other blocks in place of the newest `depth`."""
    scenario = world.scenario.fork_at(world.chain.blocks[-depth - 1].header, salt=salt)
    made = []
    for _ in range(blocks):
        scenario.trade_at_random(2)
        made.append(scenario.seal())
    world.scenario = scenario
    return made


@pytest.mark.parametrize("depth", [1, 3, 8])
async def test_reorg_every_consumer_ends_on_the_new_chain(world: World, depth: int) -> None:
    follower, shard = Follower(), Follower()
    world.listener.subscribe("recorder", follower, None)
    world.listener.subscribe("shard", shard, frozenset(range(1024)))
    await world.start(blocks=10)
    await until(lambda: follower.position == shard.position == world.tip)
    world.chain.replace(depth, fork(world, depth, depth + 1))
    await until(lambda: follower.position == shard.position == world.tip)
    assert follower.events == world.events
    assert follower.reorgs == shard.reorgs == [10 - depth]
    assert world.listener.status()["reorgs"] == 1


async def test_reorg_to_the_same_height_by_heads_only(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=6)
    await until(lambda: follower.position == world.tip)
    world.chain.replace(3, fork(world, 3, 3))
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events and follower.reorgs == [3]


async def test_reorg_while_the_socket_is_cut_is_found_by_the_back_fill(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=6)
    await until(lambda: follower.position == world.tip)
    world.chain.replace(4, fork(world, 4, 6), push=False)
    world.chain.cut()
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events and follower.reorgs == [2]


async def test_old_forks_head_pushed_again_changes_nothing(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=6)
    await until(lambda: follower.position == world.tip)
    orphan = world.chain.blocks[-1].header
    world.chain.replace(2, fork(world, 2, 4))
    await until(lambda: follower.position == world.tip)
    world.chain.push("head", {"header": orphan})
    await until(lambda: world.listener.status()["false_heads"] == 1)
    assert world.listener.status()["reorgs"] == 1
    assert follower.events == world.events and follower.reorgs == [4]


async def test_consumer_with_an_orphan_at_a_new_listener_goes_back_by_its_trail() -> None:
    world = World()
    for _ in range(6):
        world.seal(push="none")
    headers = [block.header for block in world.chain.blocks]
    world.chain.replace(3, fork(world, 3, 5), push=False)
    follower = Follower(FeedPosition(headers[6].number, headers[6].hash))
    trail = tuple(FeedPosition(h.number, h.hash) for h in reversed(headers[:6]))
    world.listener.subscribe("recorder", follower, None, position=follower.position, trail=trail)
    lost = Follower(FeedPosition(headers[6].number, headers[6].hash))
    world.listener.subscribe("lost", lost, None, position=lost.position)
    try:
        await world.start()
        await until(lambda: follower.position == world.tip)
        assert follower.reorgs == [3] and follower.numbers == [4, 5, 6, 7, 8]
        await until(lambda: world.listener.status()["consumers"]["lost"]["halted"] is not None)
        assert not lost.batches
    finally:
        await world.listener.stop()


async def test_consumer_ahead_of_a_shorter_chain_waits_then_goes_back(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=4)
    await until(lambda: follower.position == world.tip)
    world.chain.replace(3, fork(world, 3, 1))
    await until(lambda: world.listener.status()["tip"] == 2)
    await asyncio.sleep(0.1)
    assert follower.position.number == 4  # it may be a node that lags
    world.now += 60
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events


@pytest.mark.parametrize("below", ["base", "final"])
async def test_reorg_too_deep_halts_and_sends_nothing_more(below: str) -> None:
    world, follower = World(depth=4 if below == "base" else 64), Follower()
    world.listener.subscribe("recorder", follower, None)
    try:
        await world.start(blocks=10)
        await until(lambda: follower.position == world.tip)
        if below == "final":
            world.chain.final = 6
            world.seal()
            await until(lambda: follower.finalised == 6)
        batches = len(follower.batches)
        world.chain.replace(6, fork(world, 6, 7))
        await until(lambda: world.listener.status()["halted"] is not None)
        assert "reorg_too_deep" in world.listener.status()["halted"]
        assert len(follower.batches) == batches
    finally:
        await world.listener.stop()


async def test_random_forks_cuts_and_lies_end_on_the_chain(world: World) -> None:
    follower, dice, seen = Follower(), random.Random(3), 0

    def caught_up() -> bool:
        world.now += 1.0  # who stands above a shorter chain waits by this clock
        return follower.position == world.tip

    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=12)
    await until(caught_up)
    for round_ in range(40):
        # One that nobody has read yet is not a reorg: several forks at once are one, or none.
        stands = dice.random() < 0.5
        if stands:
            await until(caught_up, timeout_s=20.0)
        if dice.random() < 0.3:
            depth = dice.randrange(1, 8)
            made = fork(world, depth, depth + dice.randrange(3), salt=f"r{round_}")
            world.chain.replace(depth, made, push=dice.random() < 0.8)
            seen += stands
        else:
            world.seal(push=dice.choice(["head", "logs", "all", "none"]))
        if dice.random() < 0.2:
            world.chain.cut()
        for _ in range(dice.randrange(20)):
            await asyncio.sleep(0)
    world.seal()
    await until(caught_up, timeout_s=20.0)
    assert follower.events == world.events
    assert world.listener.status()["reorgs"] >= seen > 3


# -------------------------------------------------------------------- preconfirmed


@pytest.mark.parametrize("shreds", [True, False])
async def test_preconfirmed_events_reach_shards_before_the_seal(world: World, shreds: bool) -> None:
    shard, recorder = Follower(), Follower()
    world.listener.subscribe("shard", shard, frozenset(range(1024)))
    world.listener.subscribe("recorder", recorder, None)
    await world.start(blocks=1)
    await until(lambda: shard.position == world.tip)
    for _ in range(3):
        world.scenario.buy(world.token, 10**14)
    block = world.scenario.seal()
    world.chain.preview(block, shreds=shreds)
    await until(lambda: sum(len(one.events) for one in shard.previews) == 3)
    assert shard.position.number == 1
    shown = [event for one in shard.previews for event in one.events]
    assert all(one.at.block_hash is None for one in shown) and shard.previews[0].received_ns == 3
    traded = [event for event in block.events if isinstance(event, Traded)]
    assert [one.tokens for one in shown] == [one.tokens for one in traded]
    world.chain.add(block)
    await until(lambda: shard.position == recorder.position == world.tip)
    assert not recorder.previews


async def test_shred_that_cannot_be_read_is_refused_and_ends_the_connection(world: World) -> None:
    await world.start(blocks=1)
    world.chain.push("shred", {"shred": None})
    await until(lambda: world.listener.status()["connections"] == 2)
    (reason,) = world.chain.shreds_refused
    assert "as we know it" in reason


async def test_preconfirmed_events_do_not_wait_for_the_block_before_them(world: World) -> None:
    shard = Follower()
    world.listener.subscribe("shard", shard, frozenset(range(1024)))
    await world.start(blocks=1)
    await until(lambda: shard.position == world.tip)
    world.chain.frozen = True  # the node answers nothing while the next one is announced
    world.seal(trades=2, push="all")
    world.scenario.buy(world.token, 10**14)
    block = world.scenario.seal()
    world.chain.preview(block)
    await until(lambda: sum(len(one.events) for one in shard.previews) == 1)
    assert shard.position.number == 1 and world.listener.status()["connections"] == 1
    world.chain.frozen = False
    world.chain.add(block)
    await until(lambda: shard.position == world.tip)
    assert shard.numbers == [1, 2, 3]


async def test_missing_shred_leaves_the_rest_of_its_block_to_the_seal(world: World) -> None:
    shard = Follower()
    world.listener.subscribe("shard", shard, frozenset(range(1024)))
    await world.start(blocks=1)
    await until(lambda: shard.position == world.tip)
    for _ in range(3):
        world.scenario.buy(world.token, 10**14)
    block = world.scenario.seal()
    world.chain.preview(block, first=1)  # shred 0 never came
    await until(lambda: world.listener.status()["shred_gaps"] == 1)
    world.chain.add(block)
    await until(lambda: shard.position == world.tip)
    assert not shard.previews


async def test_new_consumer_gets_what_is_open_too(world: World) -> None:
    await world.start(blocks=1)
    world.scenario.launch("two")
    block = world.scenario.seal()
    world.chain.preview(block)
    await until(lambda: world.listener.status()["preconfirmed"] == 1)
    shard = Follower()
    world.listener.subscribe("shard", shard, frozenset(range(1024)))
    await until(lambda: bool(shard.previews))
    (event,) = shard.previews[0].events
    created = next(one for one in block.events if isinstance(one, TokenCreated))
    assert replace(event, at=created.at) == created


# ------------------------------------------------------------------ slow consumers


async def test_reorg_whose_ancestor_left_the_window_still_reaches_a_slow_consumer() -> None:
    world, follower = World(depth=8), Follower()
    world.listener.subscribe("recorder", follower, None)
    try:
        await world.start(blocks=14)
        await until(lambda: follower.position == world.tip)
        follower.gate.clear()
        world.chain.replace(7, fork(world, 7, 9))
        await until(lambda: world.listener.status()["tip"] == 16)
        for _ in range(3):
            world.seal()
        await until(lambda: world.listener.status()["base"] > 7)
        follower.gate.set()
        await until(lambda: follower.position == world.tip)
        assert follower.events == world.events
    finally:
        await world.listener.stop()


async def test_consumer_far_below_on_an_orphan_goes_back_by_its_trail() -> None:
    world = World(depth=4)
    for _ in range(8):
        world.seal(push="none")
    headers = [block.header for block in world.chain.blocks]
    world.chain.replace(3, fork(world, 3, 20), push=False)
    at = FeedPosition(headers[8].number, headers[8].hash)
    trail = tuple(FeedPosition(h.number, h.hash) for h in reversed(headers[2:8]))
    follower, lost = Follower(at), Follower(at)
    world.listener.subscribe("recorder", follower, None, position=at, trail=trail)
    world.listener.subscribe("lost", lost, None, position=at)
    try:
        await world.start()
        await until(lambda: follower.position == world.tip)
        assert follower.reorgs == [5]
        wanted = [event for event in world.events if event.at.block_number > 5]
        assert follower.events == wanted
        await until(lambda: world.listener.status()["consumers"]["lost"]["halted"] is not None)
        assert not lost.batches
    finally:
        await world.listener.stop()


async def test_reorg_of_all_that_was_recorded_leaves_nothing(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=3)
    await until(lambda: follower.position == world.tip)
    other = Scenario(salt="other")
    other.launch("another")
    world.chain.replace(3, [other.seal() for _ in range(5)])
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events and follower.reorgs == [-1]


async def test_reorg_forgets_what_was_open_on_the_chain_that_is_gone(world: World) -> None:
    shard = Follower()
    world.listener.subscribe("shard", shard, frozenset(range(1024)))
    await world.start(blocks=6)
    await until(lambda: shard.position == world.tip)
    world.scenario.buy(world.token, 10**14)
    world.chain.preview(world.scenario.seal())
    await until(lambda: len(shard.previews) > 0)
    before = len(shard.previews)
    world.chain.replace(3, fork(world, 3, 3))  # ends below what is open
    await until(lambda: shard.position == world.tip)
    await asyncio.sleep(0.1)
    assert len(shard.previews) == before
