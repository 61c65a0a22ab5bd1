"""The order of what a subscriber is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from actors import publishing as publishing_module
from actors.publishing import Publisher
from engine.buckets import bucket_of
from engine.errors import TransientError
from engine.group import Group
from engine.limits import MAILBOX_MAX, PARTS_AT_ONCE, TICKS_A_PART
from engine.messages import Reorg, Tick, Traded
from tests.support.scenario import CHAIN_ID
from tests.unit.engine.test_group import batch
from tests.unit.engine.test_group_overlay import ETH, _header, open_view, world

FIRST = PARTS_AT_ONCE * TICKS_A_PART


class Kept:
    """Ticks as they were published."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.sizes: list[int] = []
        self.fails = 0
        self.free = asyncio.Event()
        self.free.set()

    async def publish_all(self, parcels: Sequence[tuple[int, int, Sequence[Tick]]]) -> list[bool]:
        if self.fails:
            self.fails -= 1
            raise TransientError("store_unavailable", "Expected Redis, was none")
        self.ticks += [tick for _, _, ticks in parcels for tick in ticks]
        self.sizes.append(sum(len(ticks) for _, _, ticks in parcels))
        await self.free.wait()
        return [True for _ in parcels]

    async def sample(self, rows: object, *, left_out: int) -> None:
        raise TransientError("store_unavailable", "Expected tokens' topics only")

    async def say_trades(self, parcels: object) -> None:
        raise TransientError("store_unavailable", "Expected tokens' topics only")

    def of(self, token: bytes) -> list[Tick]:
        return [one for one in self.ticks if one.topic == f"token:0x{token.hex()}"]


def status_of(tick: Tick) -> str:
    as_of = tick.data["asOf"]
    assert isinstance(as_of, dict)
    return str(as_of["status"])


@asynccontextmanager
async def publishing(port: Kept, group: Group) -> AsyncIterator[Publisher]:
    publisher = Publisher(port, structlog.get_logger(), lambda bucket, incarnation: None)
    for bucket, incarnation in group.incarnations.items():
        publisher.open(bucket, incarnation)
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_trade_that_is_sealed_otherwise_is_retracted_before_it_is_told_again() -> None:
    scenario, token, target = world()
    other = scenario.fork_at(_header(target, scenario), salt="other")
    scenario.buy(token, ETH // 10)
    shown = open_view(scenario.seal())
    (event,) = [one for one in shown.events if isinstance(one, Traded)]
    target.apply(batch(target.position, shown))
    other.buy(token, ETH // 7)
    block = other.seal()
    sealed = tuple(
        replace(one, at=replace(one.at, tx_hash=event.at.tx_hash))
        if isinstance(one, Traded)
        else one
        for one in block.events
    )
    changes, _ = target.apply(batch(target.position, replace(block, events=sealed)))
    port = Kept()
    async with publishing(port, target) as publisher:
        publisher.publish(target, changes)
        await publisher.flush()
    assert [tick.event for tick in port.ticks] == ["price", "retracted", "transaction"]
    hashes = {str(tick.data["txHash"]) for tick in port.ticks[1:]}
    assert hashes == {"0x" + event.at.tx_hash.hex()}


async def test_what_is_preconfirmed_does_not_wait_for_the_trades_that_a_seal_tells_again() -> None:
    scenario, token, target = world()
    others = [scenario.launch(name) for name in ("b", "c", "d", "e")]
    target.apply(batch(target.position, scenario.seal()))
    for one in [token, *others] * 60:
        scenario.buy(one, ETH // 10_000)
    sealed = scenario.seal()
    scenario.buy(others[3], ETH // 10_000)
    opened = open_view(scenario.seal())
    port = Kept()
    async with publishing(port, target) as publisher:
        port.free.clear()
        changes, _ = target.apply(batch(target.position, sealed))
        publisher.publish(target, changes)
        while not port.sizes:  # until the first part is on its way
            await asyncio.sleep(0)
        changes, _ = target.apply(batch(target.position, opened))
        publisher.publish(target, changes)
        port.free.set()
        await publisher.flush()
    for one in (token, *others):
        mine = [tick.seq for tick in port.of(one)]
        assert mine == list(range(1, 1 + len(mine)))
    told = [(tick.event, status_of(tick)) for tick in port.ticks]
    at = told.index(("price", "preconfirmed"))
    assert at <= 5 + FIRST, "behind the first part, before the rest of its own topic"
    assert len(told) == 5 * 61 + 2
    assert [event for event, _ in told[:5]] == ["price"] * 5, "what is new goes first"
    assert port.sizes[0] <= 5 + FIRST


async def test_between_parts_of_what_was_told_before_only_news_go(monkeypatch) -> None:
    monkeypatch.setattr(publishing_module, "RETOLD_PAUSE_S", 2.0)
    scenario, token, target = world()
    for _ in range(100):
        scenario.buy(token, ETH // 10_000)
    block = scenario.seal()
    target.apply(batch(target.position, open_view(block)))
    changes, _ = target.apply(batch(target.position, block))
    scenario.buy(token, ETH // 10_000)
    opened = open_view(scenario.seal())
    port = Kept()
    async with publishing(port, target) as publisher:
        publisher.publish(target, changes)
        await asyncio.sleep(0.05)
        assert port.sizes == [1 + FIRST - TICKS_A_PART]
        changes, _ = target.apply(batch(target.position, opened))
        publisher.publish(target, changes)
        await asyncio.sleep(0.05)
        assert port.sizes[1:] == [2]
        async with asyncio.timeout(10.0):
            while len(port.ticks) < 101 + 2:
                await asyncio.sleep(0.05)
    assert [tick.seq for tick in port.ticks] == list(range(1, 1 + 101 + 2))


async def test_a_block_that_was_not_told_before_goes_without_a_pause(monkeypatch) -> None:
    monkeypatch.setattr(publishing_module, "RETOLD_PAUSE_S", 60.0)
    scenario, token, target = world()
    for _ in range(500):
        scenario.buy(token, ETH // 10_000)
    changes, _ = target.apply(batch(target.position, scenario.seal()))
    port = Kept()
    async with publishing(port, target) as publisher:
        publisher.publish(target, changes)
        await publisher.flush()
        assert len(port.ticks) == 501 and len(port.sizes) > 3


async def test_what_is_taken_back_comes_after_all_that_its_topic_had_to_say() -> None:
    scenario, token, target = world()
    other = scenario.launch("b")
    target.apply(batch(target.position, scenario.seal()))
    before = target.position
    for one in [token, other] * 300:
        scenario.buy(one, ETH // 10_000)
    port = Kept()
    async with publishing(port, target) as publisher:
        port.free.clear()
        changes, _ = target.apply(batch(target.position, scenario.seal()))
        publisher.publish(target, changes)
        while not port.sizes:  # until the first part is on its way
            await asyncio.sleep(0)
        reorg = Reorg(CHAIN_ID, before.number, before.hash)
        changes, _ = target.apply(batch(target.position, reorg))
        assert sum(len(change.retracted) for change in changes) == 600
        publisher.publish(target, changes)
        port.free.set()
        await publisher.flush()
    for one in (token, other):
        events = [tick.event for tick in port.of(one)]
        assert events.count("transaction") == events.count("retracted") == 300
        assert max(i for i, e in enumerate(events) if e == "transaction") < events.index(
            "retracted"
        ), "the last word on each is the true one"
        numbers = [tick.seq for tick in port.of(one)]
        assert numbers == list(range(1, 1 + len(numbers)))


async def test_what_waits_of_a_bucket_that_was_given_away_is_not_told() -> None:
    scenario, token, target = world()
    for _ in range(200):
        scenario.buy(token, ETH // 10_000)
    port = Kept()
    async with publishing(port, target) as publisher:
        port.free.clear()
        changes, _ = target.apply(batch(target.position, scenario.seal()))
        publisher.publish(target, changes)
        while not port.sizes:
            await asyncio.sleep(0)
        target.drop(frozenset({bucket_of(token)}))
        publisher.close(bucket_of(token))
        port.free.set()
        await publisher.flush()
    assert len(port.ticks) == port.sizes[0] < 201
    assert publisher.dropped == 201 - port.sizes[0]


async def test_the_slower_redis_is_the_more_goes_out_at_once() -> None:
    _, token, target = world()
    port = Kept()
    async with publishing(port, target) as publisher:
        for _ in range(1000):
            publisher.publish(target, [target.change(token)])
        await publisher.flush()
    assert port.sizes == [1000]
    scenario, token, target = world()
    for _ in range(8000):
        scenario.buy(token, ETH // 1_000_000)
    changes, _ = target.apply(batch(target.position, scenario.seal()))
    port = Kept()
    async with publishing(port, target) as publisher:
        publisher.publish(target, changes)
        await publisher.flush()
    assert len(port.sizes) < 30, "some 1,000 parts"
    assert [tick.seq for tick in port.ticks] == list(range(1, 8002))


async def test_ticks_that_find_no_room_are_a_new_generation() -> None:
    _, token, target = world()
    port = Kept()
    async with publishing(port, target) as publisher:
        publisher.publish(target, [target.change(token)])
        await publisher.flush()
        for _ in range(MAILBOX_MAX + 10):
            publisher.publish(target, [target.change(token)])
        assert publisher.dropped == 10
        await publisher.flush()
    first, *others = port.ticks
    assert len(others) == MAILBOX_MAX
    # A reader asks for a snapshot before it gets any of these: it has what was dropped.
    assert {tick.generation for tick in others} == {publisher.generation(bucket_of(token))}
    assert first.generation != others[0].generation
    assert [tick.seq for tick in port.ticks] == list(range(1, MAILBOX_MAX + 2))


async def test_what_is_told_again_never_takes_the_room_of_what_is_new() -> None:
    scenario, token, target = world()
    scenario.buy(token, ETH // 1_000)
    (change,), _ = target.apply(batch(target.position, scenario.seal()))
    port = Kept()
    async with publishing(port, target) as publisher:
        for _ in range(MAILBOX_MAX):
            publisher.publish(target, [change])
        assert publisher.dropped == 0
        await publisher.flush()
    assert len(port.ticks) == 2 * MAILBOX_MAX


async def test_what_waits_when_redis_goes_is_not_told_late_but_a_new_generation() -> None:
    scenario, token, target = world()
    for _ in range(600):
        scenario.buy(token, ETH // 10_000)
    changes, _ = target.apply(batch(target.position, scenario.seal()))
    port = Kept()
    port.fails = 2
    async with publishing(port, target) as publisher:
        before = publisher.generation(bucket_of(token))
        publisher.publish(target, changes)
        await publisher.flush()
        assert publisher.dropped == 601 and port.ticks == []
        publisher.publish(target, [target.change(token)])
        await publisher.flush()
        publisher.publish(target, [target.change(token)])
        await publisher.flush()
        (tick,) = port.ticks
        assert tick.generation == publisher.generation(bucket_of(token)) != before
    assert publisher.dropped == 602


async def test_what_is_dropped_of_an_earlier_ownership_names_no_new_generation() -> None:
    _, token, target = world()
    bucket = bucket_of(token)
    port = Kept()
    port.fails = 1
    async with publishing(port, target) as publisher:
        publisher.publish(target, [target.change(token)])
        publisher.open(bucket, 7)
        generation = publisher.generation(bucket)
        await publisher.flush()
        assert publisher.dropped == 1
        assert publisher.generation(bucket) == generation
