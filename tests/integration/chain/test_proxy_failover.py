"""The listener over two nodes while the first dies, freezes, falls behind and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import structlog

from actors.listener import ChainListener
from chain.decode import TOPICS, Decoder, RawLog
from chain.failover import Endpoint, FailoverRpc
from chain.source import ChainSource
from chain.stream import LiveStreams
from engine.messages import FeedPosition
from tests.support.rpc_proxy import RpcProxy
from tests.support.servers import Anvil
from tests.support.trading import Collector, Traders, deployed

BLOCK_S = 0.25
MakeAnvil = Callable[..., Anvil]


@dataclass
class World:
    traders: Traders
    first: RpcProxy
    second: RpcProxy
    rpc: FailoverRpc
    listener: ChainListener[RawLog]
    collector: Collector

    @property
    def tip(self) -> int:
        return self.collector.position.number

    async def run(self, blocks: int = 6, timeout_s: float = 15.0) -> float:
        """Trade until the collector has so many more blocks; seconds it took."""
        await self.traders.trade(2)
        goal, began = self.tip + blocks, time.monotonic()
        await until(lambda: self.tip >= goal, timeout_s)
        return time.monotonic() - began

    async def exact(self) -> None:
        """Nothing missed, nothing doubled, up to the collector's block."""
        await self.run(4)
        truth = [e for e in await self.traders.truth() if e.at.block_number <= self.tip]
        assert [e for e in self.collector.events if e.at.block_number <= self.tip] == truth
        numbers = [block.header.number for block in self.collector.blocks]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "Expected it to become true in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def world(anvil: Anvil, *, second_ws: bool = True) -> AsyncIterator[World]:
    chain, implementation = await deployed(anvil, block_time_s=BLOCK_S)
    traders = Traders(anvil, chain, implementation)
    async with (
        RpcProxy(anvil.rpc_url, shred_s=0.05) as first,
        RpcProxy(anvil.rpc_url, shred_s=0.05) as second,
    ):
        rpc = FailoverRpc(
            [
                Endpoint(first.rpc_url, first.ws_url),
                Endpoint(second.rpc_url, second.ws_url if second_ws else ""),
            ],
            timeout_s=0.5,
        )
        listener: ChainListener[RawLog] = ChainListener(
            chain=chain,
            source=ChainSource(rpc, chain),
            stream_factory=LiveStreams(lambda: rpc.ws_url, TOPICS, timeout_s=0.5),
            decoder=Decoder(chain),
            log=structlog.get_logger(),
            silence_s=1.0,
        )
        await traders.launch("alpha")
        await listener.start(FeedPosition(-1, bytes(32)))
        collector = Collector()
        listener.subscribe("recorder", collector, None)
        try:
            made = World(traders, first, second, rpc, listener, collector)
            await made.run()
            yield made
        finally:
            await listener.stop()
            await rpc.close()
            await traders.rpc.close()


@pytest.fixture(autouse=True)
def quick_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.failover.PREFER_EVERY_S", 1.0)


@pytest.mark.parametrize("second_ws", [True, False], ids=["socket", "polled"])
async def test_failover_first_killed_second_serves_and_first_comes_back(
    make_anvil: MakeAnvil, second_ws: bool
) -> None:
    async with world(make_anvil(block_time=BLOCK_S), second_ws=second_ws) as made:
        assert made.rpc.status()["active"] == 0
        await made.first.kill()
        took = await made.run()
        assert made.rpc.status()["active"] == 1
        print(f"\nsix blocks after the kill in {took:.2f} s")
        await made.first.revive()
        await until(lambda: made.rpc.status()["active"] == 0)
        await made.exact()
        assert made.listener.status()["halted"] is None


async def test_failover_first_frozen_second_serves(make_anvil: MakeAnvil) -> None:
    async with world(make_anvil(block_time=BLOCK_S)) as made:
        made.first.faults.frozen = made.first.faults.half_open = True
        took = await made.run()
        print(f"\nsix blocks after the freeze in {took:.2f} s")
        assert took < 6 and made.rpc.status()["active"] == 1
        made.first.faults.calm()
        await until(lambda: made.rpc.status()["active"] == 0)
        await made.exact()


async def test_failover_second_behind_the_finalised_block_is_refused(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=BLOCK_S, slots_in_an_epoch=1)
    async with world(anvil) as made:
        await until(lambda: made.rpc.status()["finalised"] > 5)
        made.second.faults.lag_blocks = 1_000
        await made.first.kill()
        # What was sealed before it is on its way to the collector, as history some moments late.
        await asyncio.sleep(0.5)
        before = made.tip
        await asyncio.sleep(2.5)
        status = made.rpc.status()
        assert made.tip == before and status["active"] == 0 and "is final" in status["reasons"][1]
        made.second.faults.calm()
        await made.run()
        assert made.rpc.status()["active"] == 1
        await made.exact()


async def test_failover_first_fallen_behind_is_left(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=BLOCK_S, slots_in_an_epoch=1)
    async with world(anvil) as made:
        await until(lambda: made.rpc.status()["finalised"] > 5)
        made.first.faults.lag_blocks = 1_000
        made.first.cut()
        await made.run()
        assert made.rpc.status()["active"] == 1
        made.first.faults.calm()
        await until(lambda: made.rpc.status()["active"] == 0)
        await made.exact()


async def test_lying_node_under_trade_loses_and_doubles_nothing(make_anvil: MakeAnvil) -> None:
    async with world(make_anvil(block_time=BLOCK_S)) as made:
        faults = made.first.faults
        faults.drop, faults.repeat, faults.reorder, faults.delay_s = 0.3, 0.3, 0.5, 0.05
        for round_ in range(6):
            await made.traders.trade(5)
            await asyncio.sleep(BLOCK_S)
            if round_ % 2:
                made.first.cut()
        faults.calm()
        await made.exact()
        assert faults.counts["dropped"] and faults.counts["repeated"]
        assert made.listener.status()["halted"] is None
