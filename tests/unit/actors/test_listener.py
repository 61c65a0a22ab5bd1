"""The listener and its feed, on a chain without a node."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import structlog

from actors import feed
from actors.listener import ChainListener
from engine.buckets import bucket_of
from engine.chain_view import EventSeqs
from engine.messages import (
    Block,
    ChainEvent,
    FeedBatch,
    FeedPosition,
    Finalised,
    Transferred,
)
from tests.support.chain_settings import settings
from tests.support.fake_chain import FakeChain, FakeDecoder, FakeLog, logs_of
from tests.support.scenario import Scenario

NOWHERE = FeedPosition(-1, bytes(32))


class Follower:
    """A consumer that keeps every rule: applies only at its position, answers with it."""

    def __init__(self, position: FeedPosition = NOWHERE) -> None:
        self.position = position
        self.blocks: list[Block] = []
        self.batches: list[FeedBatch] = []
        self.finalised = -1
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, batch: FeedBatch) -> FeedPosition:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("dead")
        self.batches.append(batch)
        if batch.after == self.position:
            for message in batch.messages:
                if isinstance(message, Block):
                    self.blocks.append(message)
                    self.position = FeedPosition(message.header.number, message.header.hash)
                elif isinstance(message, Finalised):
                    self.finalised = message.number
        return self.position

    @property
    def numbers(self) -> list[int]:
        return [block.header.number for block in self.blocks]

    @property
    def events(self) -> list[ChainEvent]:
        return [event for block in self.blocks for event in block.events]


class World:
    def __init__(self, *, depth: int = 64) -> None:
        self.chain = FakeChain()
        self.scenario = Scenario()
        self.token = self.scenario.launch("one")
        self.now = 1_000.0
        self.decoder = FakeDecoder()
        self.listener: ChainListener[FakeLog] = ChainListener(
            chain=settings(block_time_s=0.05, reorg_depth_max=depth),
            source=self.chain,
            stream_factory=self.chain.stream,
            decoder=self.decoder,
            log=structlog.get_logger(),
            clock=lambda: self.now,
            silence_s=0.3,
        )

    def seal(self, *, trades: int = 1, push: str = "head", at_ns: int = 1) -> Block:
        for _ in range(trades):
            self.scenario.buy(self.token, 10**14)
        block = self.scenario.seal()
        self.chain.add(block, push=push, at_ns=at_ns)
        return block

    async def start(self, blocks: int = 0) -> None:
        for _ in range(blocks):
            self.seal(push="none")
        await self.listener.start(NOWHERE)
        await self.listener.ready()
        await until(lambda: self.listener.status()["connected"] or self.chain.sockets_refused)

    @property
    def events(self) -> list[ChainEvent]:
        return [event for block in self.chain.blocks for event in block.events]

    @property
    def tip(self) -> FeedPosition:
        header = self.chain.blocks[-1].header
        return FeedPosition(header.number, header.hash)


async def until(condition: Callable[[], bool], timeout_s: float = 3.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "Expected it to become true in time"
        await asyncio.sleep(0.002)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.listener.stop()


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.listener.BACKOFF_S_MIN", 0.001)
    monkeypatch.setattr("actors.listener.BACKOFF_S_MAX", 0.02)
    monkeypatch.setattr(feed, "BACKOFF_S_MIN", 0.001)


# ------------------------------------------------------------------ following


async def test_start_new_consumer_gets_every_block_once_in_order(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=5)
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == [1, 2, 3, 4, 5] and follower.events == world.events
    assert all(block.received_ns == 0 for block in follower.blocks)


async def test_head_frame_is_sealed_and_sent_with_the_time_it_came(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    block = world.seal(at_ns=77)
    await until(lambda: follower.position == world.tip)
    assert follower.blocks[-1] == replace(block, received_ns=78)


async def test_empty_blocks_are_sent_as_beats(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("shard", follower, frozenset())
    await world.start()
    world.seal()
    await until(lambda: follower.position == world.tip)
    empty = world.scenario.seal()
    world.chain.add(empty)
    await until(lambda: follower.position == world.tip)
    assert follower.batches[-1].messages[0] == replace(empty, received_ns=2)
    assert follower.batches[-1].head == empty.header.number


async def test_log_frame_before_its_head_seals_the_block_once(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    world.seal(trades=3, push="logs", at_ns=5)
    await until(lambda: follower.position == world.tip)
    assert follower.blocks[-1].received_ns == 5
    world.chain.push("head", {"header": world.chain.blocks[-1].header})
    world.seal(trades=2, push="all")
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == [1, 2] and follower.events == world.events


async def test_preconfirmed_log_frame_is_not_a_block(world: World) -> None:
    await world.start(blocks=1)
    world.chain.push("log", {"log": FakeLog(2, None, b"\x01", 0, None)}, 3)
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    world.seal(at_ns=9)
    await until(lambda: follower.position == world.tip)
    assert follower.blocks[-1].received_ns == 3 and world.listener.status()["halted"] is None


async def test_missing_heads_are_filled_in(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    for _ in range(7):
        world.seal(push="none")
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == list(range(1, 9)) and follower.events == world.events


async def test_block_not_readable_yet_is_tried_again(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    world.chain.not_yet[1] = 4
    world.seal(push="logs")
    await until(lambda: follower.position == world.tip)
    assert world.listener.status()["connections"] == 1


async def test_cut_streams_nothing_is_missed_or_doubled(world: World) -> None:
    follower, dice = Follower(), random.Random(7)
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    for _ in range(60):
        world.seal(trades=dice.randrange(3), push=dice.choice(["head", "logs", "all", "none"]))
        if dice.random() < 0.5:
            world.chain.cut()
        await asyncio.sleep(dice.random() * 0.01)
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == list(range(1, 62)) and follower.events == world.events
    assert EventSeqs().fault(follower.events) is None
    assert world.listener.status()["connections"] > 10


async def test_silence_reconnects_and_catches_up(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    world.seal(push="none")
    await until(lambda: follower.position == world.tip)
    assert world.listener.status()["connections"] >= 2


async def test_no_subscription_the_head_is_polled(world: World) -> None:
    follower = Follower()
    world.chain.sockets_refused = True
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=2)
    for _ in range(3):
        world.seal(push="none")
        await until(lambda: follower.position == world.tip)
    assert not world.listener.status()["connected"]


async def test_node_away_or_frozen_no_beat_no_pile_and_recovery(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    await until(lambda: follower.position == world.tip)
    for switch in ("away", "frozen"):
        beats = len(follower.batches)
        setattr(world.chain, switch, True)
        for _ in range(5):
            world.seal()
            world.chain.cut()
            await asyncio.sleep(0.05)
        assert len(follower.batches) == beats and world.chain.calls_most <= 3
        setattr(world.chain, switch, False)
        await until(lambda: follower.position == world.tip)
    assert follower.events == world.events


# ------------------------------------------------------------------ lies and halts


async def test_pushed_log_missing_in_logs_is_read_from_receipts(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    for event in range(3):
        world.chain.hidden.add((1, event * 2))
    world.seal(trades=2, push="logs")
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events and world.listener.status()["reread"] == 1


async def test_log_lost_at_the_end_of_a_block_halts_at_the_next(world: World) -> None:
    # Consumers have the block without it; sending it anew is a later part's.
    await world.start(blocks=1)
    world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    launchpad = next(e for e in sealed.events if not isinstance(e, Transferred))
    world.chain.hidden.add((2, launchpad.at.log_index))
    world.chain.add(sealed)
    world.seal()
    await until(lambda: world.listener.status()["halted"] is not None)
    assert "lost_log" in world.listener.status()["halted"]


async def test_gap_inside_a_block_is_healed_by_receipts(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    for _ in range(3):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    numbered = [e for e in sealed.events if not isinstance(e, Transferred)]
    world.chain.hidden.add((2, numbered[1].at.log_index))
    world.chain.add(sealed)
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events
    assert world.listener.status()["reread"] == 1


async def test_log_lost_everywhere_halts(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    await until(lambda: follower.position == world.tip)
    before = follower.position
    for _ in range(3):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    numbered = [e for e in sealed.events if not isinstance(e, Transferred)]
    world.chain.lost.add((2, numbered[1].at.log_index))
    world.chain.add(sealed)
    await until(lambda: world.listener.status()["halted"] is not None)
    assert "lost_log" in world.listener.status()["halted"]
    assert follower.position == before


async def test_pushed_log_missing_after_delivery_halts(world: World) -> None:
    await world.start(blocks=1)
    for _ in range(2):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    last = sealed.events[-1].at.log_index
    world.chain.hidden.add((2, last))
    world.chain.add(sealed)
    world.chain.push("log", {"log": logs_of(sealed)[-1]})
    await until(lambda: world.listener.status()["halted"] is not None)
    assert "lost_log" in world.listener.status()["halted"]


async def test_pushed_log_that_receipts_do_not_know_is_only_counted(world: World) -> None:
    await world.start(blocks=1)
    block = world.seal()
    log = replace(logs_of(block)[0], log_index=99)
    world.chain.push("log", {"log": log})
    await until(lambda: world.listener.status()["false_pushes"] == 1)
    assert world.listener.status()["halted"] is None


@pytest.mark.parametrize("depth", [1, 3])
async def test_reorg_halts_and_sends_nothing_more(world: World, depth: int) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=5)
    await until(lambda: follower.position == world.tip)
    del world.chain.blocks[-depth:]
    parent = world.chain.blocks[-1].header
    other = Scenario(salt="fork", number=parent.number)
    other._parent = parent.hash
    for _ in range(depth + 1):
        world.chain.add(other.seal())
    await until(lambda: world.listener.status()["halted"] is not None)
    assert "reorg" in world.listener.status()["halted"]
    batches = len(follower.batches)
    late = Follower()
    world.listener.subscribe("late", late, None)
    await asyncio.sleep(0.1)
    assert len(follower.batches) == batches and not late.batches


# ------------------------------------------------------------------ consumers


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
