"""The listener's consumers: each fed at its own position, whatever the others do."""

import asyncio

import pytest

from actors import feed
from engine.buckets import bucket_of
from engine.messages import (
    FeedBatch,
    FeedPosition,
    Reorg,
    Transferred,
)
from tests.support.listener_world import (
    Follower,
    World,
    until,
)


async def test_slow_and_dead_consumers_do_not_hold_up_others(world: World) -> None:
    slow, dead, quick = Follower(), Follower(), Follower()
    slow.gate.clear()
    dead.failures = 8
    for name, follower in (("slow", slow), ("dead", dead), ("quick", quick)):
        world.listener.subscribe(name, follower, None)
    await world.start()
    for _ in range(20):
        world.seal()
        await until(lambda: quick.position == world.tip)
    assert not slow.blocks
    slow.gate.set()
    await until(lambda: slow.position == dead.position == world.tip)
    assert slow.events == dead.events == world.events


async def test_consumer_gone_is_forgotten_and_may_come_back(world: World) -> None:
    follower = Follower()
    follower.failures = 1_000_000
    world.listener.subscribe("shard", follower, None)
    await world.start(blocks=1)
    await until(lambda: world.listener.status()["consumers"]["shard"]["failing"])
    world.now += feed.FORGET_AFTER_S + 1
    await until(lambda: "shard" not in world.listener.status()["consumers"])
    follower.failures = 0
    world.listener.subscribe("shard", follower, None)
    await until(lambda: follower.position == world.tip)


async def test_consumer_that_does_not_answer_is_only_asked_until_it_does(world: World) -> None:
    # What is sent to a process that stands still is held for it: a batch each time would pile up.
    sent: list[FeedBatch] = []
    follower = Follower()

    async def note(batch: FeedBatch) -> FeedPosition:
        sent.append(batch)
        return await follower(batch)

    world.listener.subscribe("shard", note, None)
    await world.start(blocks=2)
    await until(lambda: follower.position == world.tip)
    follower.failures = 4
    sent.clear()
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert [len(batch.messages) > 0 for batch in sent[:6]] == [True, *[False] * 4, True]
    assert follower.numbers == [1, 2, 3]


async def test_consumer_that_strays_again_and_again_is_not_fed_without_a_pause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BACKOFF_S_MIN", 0.05)
    # It says it went back to the ancestor, and then that it stands where it was.
    follower, sent = Follower(), 0
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=3)
    await until(lambda: follower.position == world.tip)
    stuck = FeedPosition(2, b"\x07" * 32)
    header = world.chain.blocks[1].header
    trail = (FeedPosition(header.number, header.hash),)

    async def astray(batch: FeedBatch) -> FeedPosition:
        nonlocal sent
        sent += 1
        (message,) = batch.messages[:1] or (None,)
        if isinstance(message, Reorg):
            return FeedPosition(message.ancestor_number, message.ancestor_hash)
        return stuck

    world.listener.subscribe("astray", astray, None, position=stuck, trail=trail)
    await asyncio.sleep(0.5)
    assert 4 < sent < 60


async def test_consumer_elsewhere_is_served_from_where_it_says(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=6)
    await until(lambda: follower.position == world.tip)
    header = world.chain.blocks[3].header
    follower.position = FeedPosition(3, header.hash)
    follower.blocks.clear()
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == [4, 5, 6, 7]


async def test_subscribe_again_goes_on_and_a_lost_send_is_sent_anew(world: World) -> None:
    first, second = Follower(), Follower()
    world.listener.subscribe("shard", first, None)
    await world.start(blocks=2)
    await until(lambda: first.position == world.tip)
    first.gate.clear()
    world.seal()
    await asyncio.sleep(0.02)
    world.now += feed.LOST_AFTER_S + 1
    second.position = first.position
    world.listener.subscribe("shard", second, None, position=first.position)
    await until(lambda: second.position == world.tip)
    assert second.numbers == [3]


async def test_unsubscribe_sends_nothing_more(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("shard", follower, None)
    await world.start(blocks=2)
    await until(lambda: follower.position == world.tip)
    world.listener.unsubscribe("shard")
    world.seal()
    await asyncio.sleep(0.05)
    assert follower.numbers == [1, 2] and not world.listener.status()["consumers"]


async def test_buckets_filter_market_events_only_of_these(world: World) -> None:
    other = world.scenario.launch("two")
    world.scenario.buy(other, 10**15)
    mine = Follower()
    world.listener.subscribe("shard", mine, frozenset({bucket_of(other)}))
    await world.start(blocks=2)
    await until(lambda: mine.position == world.tip)
    assert bucket_of(other) != bucket_of(world.token)
    expected = [
        e
        for e in world.events
        if not isinstance(e, Transferred) and getattr(e, "token", 0) == other
    ]
    assert mine.numbers == [1, 2] and mine.events == expected and len(expected) == 2


async def test_finalised_follows_what_the_consumer_has(world: World) -> None:
    follower = Follower()
    world.chain.final = 2
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=5)
    await until(lambda: follower.finalised == 2)
    world.chain.final = 4
    world.seal()
    await until(lambda: follower.finalised == 4)


async def test_history_below_the_window_leaves_empty_blocks_out() -> None:
    world = World(depth=4)
    follower, shard = Follower(), Follower()
    for number in range(1, 41):
        world.seal(trades=1 if number % 10 == 5 else 0, push="none")
    world.listener.subscribe("recorder", follower, None)
    world.listener.subscribe("shard", shard, frozenset({bucket_of(world.token)}))
    await world.start()
    await until(lambda: follower.position == shard.position == world.tip)
    # 1: the launch. 36: the window's base, as a marker.
    assert follower.numbers == [1, 5, 15, 25, 35, 36, 37, 38, 39, 40]
    assert follower.events == world.events
    assert world.listener.status()["base"] == 36
    assert [e.token for e in shard.events] == [world.token] * 5  # type: ignore[union-attr]
    await world.listener.stop()


async def test_history_from_an_old_position_checks_its_hash() -> None:
    world = World(depth=4)
    for _ in range(30):
        world.seal(push="none")
    good = Follower(FeedPosition(10, world.chain.blocks[10].header.hash))
    bad = Follower(FeedPosition(10, b"\x01" * 32))
    world.listener.subscribe("good", good, None, position=good.position)
    world.listener.subscribe("bad", bad, None, position=bad.position)
    await world.start()
    await until(lambda: good.position == world.tip)
    await until(lambda: world.listener.status()["consumers"]["bad"]["halted"] is not None)
    assert good.numbers == list(range(11, 31)) and not bad.blocks
    await world.listener.stop()


async def test_lost_log_between_history_and_window_halts_the_consumer() -> None:
    world = World(depth=4)
    for _ in range(30):
        world.seal(push="none")
    numbered = [e for e in world.chain.blocks[26].events if not isinstance(e, Transferred)]
    world.chain.lost.add((26, numbered[0].at.log_index))
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    await until(lambda: world.listener.status()["consumers"]["recorder"]["halted"] is not None)
    assert "lost_log" in world.listener.status()["consumers"]["recorder"]["halted"]
    await world.listener.stop()


async def test_unknown_position_halts_that_consumer_only(world: World) -> None:
    foreign, ahead = Follower(FeedPosition(3, b"\x09" * 32)), Follower()
    ahead.position = FeedPosition(50, b"\x09" * 32)
    fine = Follower()
    for name, follower in (("foreign", foreign), ("ahead", ahead), ("fine", fine)):
        world.listener.subscribe(name, follower, None)
    await world.start(blocks=5)
    await until(lambda: fine.position == world.tip)

    def halted(name: str) -> bool:
        return world.listener.status()["consumers"][name]["halted"] is not None

    await until(lambda: halted("foreign"))
    assert not halted("ahead")
    world.now += 1
    await until(lambda: halted("ahead"))
    assert not halted("fine") and not foreign.blocks and not ahead.blocks
    world.listener.subscribe("foreign", foreign, None, position=foreign.position)
    assert halted("foreign")


async def test_old_tip_is_no_beat_for_a_new_shard(world: World) -> None:
    await world.start(blocks=3)
    world.now += 10
    shard, recorder = Follower(), Follower()
    world.listener.subscribe("shard", shard, frozenset({1}))
    world.listener.subscribe("recorder", recorder, None)
    await until(lambda: recorder.position == world.tip)
    await asyncio.sleep(0.1)
    assert not shard.blocks
    world.seal()
    await until(lambda: shard.position == world.tip)


async def test_run_ends_when_stopped_and_raises_what_broke(world: World) -> None:
    await world.start(blocks=1)
    running = asyncio.create_task(world.listener.run())
    world.chain.push("head", {})  # a bug: the fake has no such frame
    with pytest.raises(BaseExceptionGroup):
        await running
    other = World()
    await other.start(blocks=1)
    running = asyncio.create_task(other.listener.run())
    await asyncio.sleep(0)
    await other.listener.stop()
    await running
