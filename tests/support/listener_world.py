"""A listener on a chain without a node, and consumers that keep every rule."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from actors import feed
from actors.listener import ChainListener
from engine.messages import (
    Block,
    ChainEvent,
    FeedBatch,
    FeedPosition,
    Finalised,
    Preconfirmed,
    Reorg,
)
from tests.support.chain_settings import settings
from tests.support.fake_chain import FakeChain, FakeDecoder, FakeLog
from tests.support.scenario import Scenario

NOWHERE = FeedPosition(-1, bytes(32))


class Follower:
    """A consumer that keeps every rule: applies only at its position, answers with it."""

    def __init__(self, position: FeedPosition = NOWHERE) -> None:
        self.position = position
        self.blocks: list[Block] = []
        self.batches: list[FeedBatch] = []
        self.finalised = -1
        self.reorgs: list[int] = []
        self.previews: list[Preconfirmed] = []
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
                elif isinstance(message, Reorg):
                    self.reorgs.append(message.ancestor_number)
                    self.position = FeedPosition(message.ancestor_number, message.ancestor_hash)
                    number = message.ancestor_number
                    self.blocks = [b for b in self.blocks if b.header.number <= number]
                else:
                    self.previews.append(message)
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
        self.scenario = Scenario(remember=True)
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
