"""The listener on a real node and the real launchpad: live, cut, frozen, late."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
import structlog

from actors.listener import ChainListener
from chain.decode import TOPICS, Decoder, RawLog
from chain.rpc import JsonRpc
from chain.source import ChainSource
from chain.stream import LiveStream
from engine.messages import FeedPosition, TokenCreated, Traded
from engine.settings import ChainSettings
from tests.support.servers import Anvil
from tests.support.tcp_proxy import TcpProxy
from tests.support.trading import Collector, Traders, deployed

NOWHERE = FeedPosition(-1, bytes(32))
BLOCK_S = 0.25
MakeAnvil = Callable[..., Anvil]


@asynccontextmanager
async def following(
    chain: ChainSettings, silence_s: float | None = None
) -> AsyncIterator[ChainListener[RawLog]]:
    rpc = JsonRpc(chain.rpc_url, timeout_s=chain.rpc_timeout_s)
    listener: ChainListener[RawLog] = ChainListener(
        chain=chain,
        source=ChainSource(rpc, chain),
        stream_factory=lambda: LiveStream(chain.ws_url, TOPICS, timeout_s=chain.rpc_timeout_s),
        decoder=Decoder(chain),
        log=structlog.get_logger(),
        silence_s=silence_s,
    )
    await listener.start(NOWHERE)
    try:
        yield listener
    finally:
        await listener.stop()
        await rpc.close()


@asynccontextmanager
async def trading(anvil: Anvil, **fields: object) -> AsyncIterator[Traders]:
    chain, implementation = await deployed(anvil, block_time_s=BLOCK_S, **fields)
    traders = Traders(anvil, chain, implementation)
    try:
        yield traders
    finally:
        await traders.rpc.close()


async def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "Expected it to become true in time"
        await asyncio.sleep(0.01)


async def caught_up(traders: Traders, collector: Collector) -> None:
    receipts = await traders.settled()
    last = max(receipt.block_number for receipt in receipts)
    await until(lambda: collector.position.number >= last)


async def assert_exact(traders: Traders, collector: Collector) -> None:
    """Every event once, in order, with the identity that receipts give it."""
    known = [e for e in await traders.truth() if e.at.block_number <= collector.position.number]
    assert collector.events == known
    identities = [event.at.identity for event in known]
    assert len(set(identities)) == len(identities)
    assert all(a.at.order < b.at.order for a, b in pairwise(known))
    bought = sum(isinstance(event, Traded) for event in known)
    receipts = await traders.settled()
    assert bought == sum(receipt.status for receipt in receipts)
    numbers = [block.header.number for block in collector.blocks]
    assert numbers == list(range(traders.chain.first_block, numbers[-1] + 1))


async def test_follow_launches_and_trades_arrive_once_in_order_at_once(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with trading(anvil) as traders, following(traders.chain) as listener:
        early, late = Collector(), Collector()
        listener.subscribe("recorder", early, None)
        await listener.ready()
        for name, curve in (("alpha", 0), ("beta", 1)):
            await traders.launch(name, curve)
        for _ in range(20):
            await traders.trade(4)
            await asyncio.sleep(0.1)
        listener.subscribe("late", late, None)
        await caught_up(traders, early)
        await caught_up(traders, late)
        await assert_exact(traders, early)
        await assert_exact(traders, late)
        created = [event.token for event in early.events if isinstance(event, TokenCreated)]
        assert created == traders.tokens
        status = listener.status()
        assert status["reread"] == status["false_pushes"] == 0 and status["connections"] == 1
        times = early.latencies_ms()
        print(f"\nsocket to consumer, ms: p50 {times[len(times) // 2]:.2f} max {times[-1]:.2f}")


def _connected(listener: ChainListener[RawLog], times: int) -> bool:
    # That it is connected alone may be of before the last cut.
    status = listener.status()
    return bool(status["connected"]) and int(status["connections"]) >= times


async def test_follow_twenty_cuts_miss_and_double_nothing(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with TcpProxy(urlsplit(anvil.ws_url).port or 0) as proxy:
        ws_url = f"ws://127.0.0.1:{proxy.port}"
        async with (
            trading(anvil, ws_url=ws_url) as traders,
            following(traders.chain) as listener,
        ):
            collector = Collector()
            listener.subscribe("recorder", collector, None)
            await traders.launch("alpha")
            for number in range(20):
                await traders.trade(3)
                await until(partial(_connected, listener, number + 1))
                await asyncio.sleep(traders.random.random() * BLOCK_S)
                proxy.cut()
            await traders.trade(3)
            await caught_up(traders, collector)
            await assert_exact(traders, collector)
            assert listener.status()["connections"] >= 20
            assert listener.status()["halted"] is None


async def test_follow_frozen_node_gives_no_beat_and_recovers(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with TcpProxy(urlsplit(anvil.rpc_url).port or 0) as proxy:
        urls = {
            "rpc_url": f"http://127.0.0.1:{proxy.port}",
            "ws_url": f"ws://127.0.0.1:{proxy.port}",
        }
        async with (
            trading(anvil, rpc_timeout_s=0.5, **urls) as traders,
            following(traders.chain, silence_s=1.0) as listener,
        ):
            collector = Collector()
            listener.subscribe("shard", collector, frozenset())
            recorder = Collector()
            listener.subscribe("recorder", recorder, None)
            await traders.launch("alpha")
            await until(lambda: len(collector.blocks) > 2)
            tasks = len(asyncio.all_tasks())
            proxy.freeze()
            await asyncio.sleep(0.1)
            beats = len(collector.blocks)
            await traders.trade(5)
            await asyncio.sleep(3)
            assert len(collector.blocks) == beats
            assert len(asyncio.all_tasks()) <= tasks + 30
            began = time.monotonic()
            proxy.thaw()
            await until(lambda: len(collector.blocks) > beats)
            print(f"\nrecovered in {time.monotonic() - began:.2f} s")
            await caught_up(traders, recorder)
            await assert_exact(traders, recorder)


async def test_follow_from_below_the_window_is_exact(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=None)
    async with trading(anvil, reorg_depth_max=16) as traders:
        await traders.launch("alpha")
        for round_ in range(3):
            await traders.trade(3)
            anvil.rpc("anvil_mine", hex(100 + round_))
        await traders.trade(2)
        async with following(traders.chain) as listener:
            collector = Collector()
            listener.subscribe("recorder", collector, None)
            await caught_up(traders, collector)
            assert collector.events == await traders.truth()
            assert len(collector.blocks) < 50 and listener.status()["base"] > 250


async def test_follow_start_learns_tokens_made_between_storage_and_window(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=None)
    async with trading(anvil, reorg_depth_max=8) as traders:
        await traders.launch("alpha")
        anvil.rpc("anvil_mine", "0x20")
        async with following(traders.chain) as listener:
            await listener.ready()
            base = FeedPosition(listener.status()["base"], bytes(32))
            header = await ChainSource(traders.rpc, traders.chain).header(base.number)
            assert header is not None
            collector = Collector()
            collector.position = FeedPosition(header.number, header.hash)
            listener.subscribe("recorder", collector, None, position=collector.position)
            await traders.trade(2)
            await caught_up(traders, collector)
            expected = [e for e in await traders.truth() if e.at.block_number > header.number]
            assert collector.events == expected and len(expected) >= 4


@pytest.mark.parametrize("depth", [1, 4])
async def test_follow_reorganised_chain_ends_on_the_new_one(
    make_anvil: MakeAnvil, depth: int
) -> None:
    anvil = make_anvil(block_time=None, slots_in_an_epoch=32)
    async with trading(anvil) as traders, following(traders.chain) as listener:
        collector = Collector()
        listener.subscribe("recorder", collector, None)
        await traders.launch("alpha")
        for _ in range(4):
            await traders.trade(3)
        await caught_up(traders, collector)
        gone = {event.at.identity for event in collector.events}
        head = int(anvil.rpc("eth_blockNumber"), 16)
        anvil.rpc("anvil_reorg", depth, [])
        anvil.rpc("anvil_mine", "0x1")
        await until(lambda: collector.position.number > head or listener.status()["halted"])
        assert listener.status()["halted"] is None, listener.status()
        truth = await traders.truth()
        assert collector.events == truth
        assert collector.reorgs == [head - depth]
        assert gone - {event.at.identity for event in truth}


async def test_follow_burst_in_one_block_is_exact(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=2.0)
    async with trading(anvil) as traders, following(traders.chain) as listener:
        collector = Collector()
        listener.subscribe("recorder", collector, None)
        await traders.launch("alpha")
        await until(lambda: bool(listener.status()["connected"]))
        await traders.trade(200)
        await caught_up(traders, collector)
        await assert_exact(traders, collector)
        biggest = max(len(block.events) for block in collector.blocks)
        print(f"\n{biggest} events in one block, ms: {collector.latencies_ms()[-1]:.1f}")


@pytest.mark.parametrize("port", ["closed", "frozen"])
async def test_stream_no_server_is_transient_within_its_timeout(
    port: str, make_anvil: MakeAnvil
) -> None:
    from engine.errors import TransientError

    async with TcpProxy(1) as proxy:
        if port == "frozen":
            proxy.freeze()
        stream = LiveStream(f"ws://127.0.0.1:{proxy.port}", TOPICS, timeout_s=0.5)
        began = time.monotonic()
        with pytest.raises(TransientError):
            await stream.frames()
        await stream.close()
        assert time.monotonic() - began < 1.5
