"""What a market costs: 10,000 of them, of both families, each launched and traded, in one shard.

Measured in processes of their own, which run this file: as the growth of the resident set, and
of 4,000 by tracemalloc, under which everything takes three times as long. Measured twice in each:
after the last trade, when the newest markets have two values inside the window of unfinalised
blocks, and when the window has passed. Everything that a market leaves in the process counts,
caches too; all creators differ, traders come back.
"""

import asyncio
import gc
import itertools
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.shard import TokenShard
from engine.control import Directory, Feed, Follow, Instance, StatusWanted, Take
from engine.limits import BUCKETS
from engine.messages import Block, FeedBatch, FeedPosition, TokenCreated
from engine.settings import ActorSettings, ChainSettings, Deployment
from tests.support import fake_roles
from tests.support.scenario import (
    CHAIN_ID,
    CONSTANT_PRODUCT,
    LAUNCHPAD,
    LINEAR,
    Scenario,
    address_of,
)

ROOT = Path(__file__).parents[3]
MARKETS = {"rss": 10_000, "tracemalloc": 4_000}
A_BLOCK = 100
TRADERS = 500
WINDOW_BLOCKS = 64
BYTES_MAX = 2_048
IN_WINDOW_MAX = {"rss": BYTES_MAX, "tracemalloc": 2_304}
"""Of 10,000 markets a third has two values, of 4,000 four of five have."""

TICKS_A_MARKET = 4  # a launch and a trade, and a price after each
CHAIN = ChainSettings(
    chain_id=CHAIN_ID,
    rpc_url="",
    ws_url="",
    genesis_hash=bytes(32),
    launchpads=(Deployment(address=LAUNCHPAD, lens=LAUNCHPAD, first_block=1, version=1),),
    weth=bytes(20),
    factory=bytes(20),
    router=bytes(20),
    reorg_depth_max=WINDOW_BLOCKS,
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["tracemalloc", "rss"])
def test_market_of_thousands_in_a_shard_takes_less_than_two_kilobytes(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.actors.test_memory", way],
        cwd=ROOT,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    print(f"\n{MARKETS[way]} markets, bytes each by {way}: {found}")
    assert found["markets"] == MARKETS[way]
    assert found["halted"] == 0
    assert 0 < found["settled"] < BYTES_MAX
    assert 0 < found["in_window"] < IN_WINDOW_MAX[way]


class Feeder:
    """A listener of one consumer: `send` hands it a block."""

    def __init__(self, calls: fake_roles.Calls, first: Block) -> None:
        self._calls = calls
        self._first: Block | None = first
        self._consumer, self._group = "", ""
        self._position = FeedPosition(-1, bytes(32))
        self.handlers = {Follow: self._follow}

    async def _follow(self, follow: Follow) -> None:
        self._consumer, self._group, self._position = (
            follow.consumer,
            follow.group,
            follow.position,
        )
        first, self._first = self._first, None
        if first is not None:
            await self.send(first)

    async def send(self, block: Block) -> None:
        batch = FeedBatch(CHAIN_ID, self._position, (block,), block.header.number)
        self._position = await self._calls.ask(
            self._consumer, Feed(self._group, batch), timeout_s=1
        )
        assert self._position.number == block.header.number


class World:
    """One shard that owns every bucket, and a launchpad that feeds it."""

    def __init__(self) -> None:
        self.scenario = Scenario()
        self.trades = 0
        self.calls = fake_roles.Calls()
        self.feeder = Feeder(self.calls, self.scenario.seal())
        owners, self.ticks = fake_roles.Buckets(), fake_roles.Ticks()
        self.shard = TokenShard(
            name="shard-0/1",
            chain=CHAIN,
            settings=ActorSettings(snapshot_every_blocks=1_000_000),
            buckets=owners,
            snapshots=fake_roles.Snapshots(owners),
            events=fake_roles.Events(),
            ticks=self.ticks,
            states=fake_roles.States(),
            calls=self.calls,
            log=fake_roles.Log(),
        )
        self.calls.roles |= {"listener/1": self.feeder, "shard-0/1": self.shard}
        instances = (Instance("listener", "listener", "listener/1"),)
        self.shard.handlers[Directory](Directory(1, instances, ()))

    async def seal(self) -> None:
        block = self.scenario.seal(received_ns=1)
        events = tuple(
            replace(e, creator=address_of(f"creator {e.token.hex()}"))
            if isinstance(e, TokenCreated)
            else e
            for e in block.events
        )
        await self.feeder.send(replace(block, events=events))

    async def launch_and_trade(self, names: Iterable[int]) -> None:
        families = itertools.cycle((CONSTANT_PRODUCT, LINEAR))
        tokens = [
            self.scenario.launch(f"token {name}", numbers)
            for name, numbers in zip(names, families, strict=False)
        ]
        await self.seal()
        for number, token in enumerate(tokens):
            self.scenario.buy(token, 10**15 + number, f"trader {(self.trades + number) % TRADERS}")
        await self.seal()
        self.trades += len(tokens)
        self.scenario.tokens.clear()

    async def published(self, markets: int) -> dict[str, Any]:
        """The shard's status once all is published. What the fakes have kept is forgotten."""
        for _ in range(1_000):
            status: dict[str, Any] = self.shard.handlers[StatusWanted](StatusWanted())
            if status["ticks"] >= TICKS_A_MARKET * markets:
                # What is still to be said is not the markets'.
                await self.shard._publisher.flush()
                for kept in (
                    self.ticks.sent,
                    self.ticks.counted,
                    self.ticks.listed,
                    self.calls.asked,
                ):
                    kept.clear()
                return status
            await asyncio.sleep(0.01)
        raise AssertionError(status)


def held(way: str) -> int:
    gc.collect()
    if way == "rss":
        return int(psutil.Process().memory_info().rss)
    return tracemalloc.get_traced_memory()[0]


async def measure(way: str) -> dict[str, int]:
    """Bytes a market, over a process that has some markets already."""
    world, count = World(), MARKETS[way]
    upkeep = asyncio.create_task(world.shard.run())
    await world.shard.handlers[Take](Take(frozenset(range(BUCKETS))))
    if way == "tracemalloc":
        tracemalloc.start()
    warm = TRADERS
    for start in range(-warm, 0, A_BLOCK):
        await world.launch_and_trade(range(start, start + A_BLOCK))
    await world.published(warm)
    before = held(way)
    for start in range(0, count, A_BLOCK):
        await world.launch_and_trade(range(start, start + A_BLOCK))
        await world.published(warm + start + A_BLOCK)
    in_window = held(way)
    for _ in range(WINDOW_BLOCKS + 1):
        await world.seal()
    settled = held(way)
    status = await world.published(warm + count)
    upkeep.cancel()
    return {
        "markets": status["markets"] - warm,
        "halted": status["halted_markets"],
        "in_window": (in_window - before) // count,
        "settled": (settled - before) // count,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
