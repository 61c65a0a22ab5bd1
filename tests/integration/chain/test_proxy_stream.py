"""Live subscriptions against a node that speaks shreds, or does not, or strangely."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from chain.decode import TOPICS
from chain.rpc import JsonRpc
from chain.source import ChainSource
from chain.stream import Frame, LiveStreams
from engine.errors import TransientError
from tests.support import shredding
from tests.support.rpc_faults import Places
from tests.support.rpc_proxy import RpcProxy
from tests.support.servers import Anvil
from tests.support.trading import Traders, deployed

BLOCK_S = 0.5
MakeAnvil = Callable[..., Anvil]


class Watch:
    """Frames of one stream until it ends."""

    def __init__(self, streams: LiveStreams) -> None:
        self._stream = streams()
        self.frames: list[Frame] = []
        self.error: TransientError | None = None
        self._task: asyncio.Task[None] | None = None

    def of(self, kind: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == kind]

    async def _run(self, frames: Any) -> None:
        try:
            async for frame in frames:
                self.frames.append(frame)
        except TransientError as error:
            self.error = error

    async def __aenter__(self) -> "Watch":
        self._task = asyncio.create_task(self._run(await self._stream.frames()))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.close()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "Expected it to become true in time"
        await asyncio.sleep(0.01)


async def traded(anvil: Anvil, proxy: RpcProxy, count: int) -> tuple[Traders, int]:
    """Launch and trade; all of it sealed at the proxy."""
    chain, implementation = await deployed(anvil, block_time_s=BLOCK_S)
    traders = Traders(anvil, chain, implementation)
    await traders.launch("alpha")
    await traders.trade(count)
    last = max(receipt.block_number for receipt in await traders.settled())
    await until(lambda: proxy.tip >= last)
    await asyncio.sleep(0.05)
    await traders.rpc.close()
    return traders, last


async def test_stream_shreds_arrive_before_the_seal_and_equal_the_sealed_logs(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with RpcProxy(anvil.rpc_url, shred_s=0.3, txs_per_shred=3) as proxy:
        streams = LiveStreams(lambda: proxy.ws_url, TOPICS)
        async with Watch(streams) as watch:
            traders, last = await traded(anvil, proxy, 12)
        rpc = JsonRpc(proxy.rpc_url)
        source = ChainSource(rpc, traders.chain)
        order = source.shred_order()
        sealed_ns = {int(f.payload["number"], 16): f.received_ns for f in watch.of("head")}
        early: dict[int, list[Any]] = {}
        leads: list[float] = []
        for frame in watch.of("shred"):
            shred = source.shred_of(frame.payload)
            assert order.place(shred.block_number, shred.index) in ("new_block", "next")
            early.setdefault(shred.block_number, []).extend(shred.logs)
            if shred.block_number in sealed_ns:
                leads.append((sealed_ns[shred.block_number] - frame.received_ns) / 1e6)
        headers = await source.headers(min(sealed_ns), last)
        count = 0
        for header in headers:
            sealed = await source.block_logs(header)
            assert early[header.number] == [hashless(log) for log in sealed]
            count += len(sealed)
        await rpc.close()
        assert count >= 24 and min(leads) > 0
        assert not any(f.payload["blockHash"] is None for f in watch.of("log"))
        print(f"\n{len(leads)} shreds, ms ahead of the seal: {min(leads):.0f} to {max(leads):.0f}")


def hashless(log: Any) -> Any:
    from dataclasses import replace

    return replace(log, block_hash=None)


async def test_stream_without_shreds_passes_hashless_logs_and_asks_once(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with RpcProxy(anvil.rpc_url, shreds=False, shred_s=0.1) as proxy:
        streams = LiveStreams(lambda: proxy.ws_url, TOPICS)
        assert streams.shreds_refused is None
        async with Watch(streams) as watch:
            assert "unknown variant" in (streams.shreds_refused or "")
            await traded(anvil, proxy, 3)
        hashes = [frame.payload["blockHash"] for frame in watch.of("log")]
        assert None in hashes and any(hashes) and not watch.of("shred")


async def test_stream_lost_shred_shows_as_a_gap(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with RpcProxy(anvil.rpc_url, shred_s=0.1) as proxy:
        proxy.faults.places, proxy.faults.drop = Places.SHREDS, 0.3
        async with Watch(LiveStreams(lambda: proxy.ws_url, TOPICS)) as watch:
            traders, _ = await traded(anvil, proxy, 12)
        order = ChainSource(traders.rpc, traders.chain).shred_order()
        payloads = [frame.payload for frame in watch.of("shred")]
        places = [order.place(one["blockNumber"], one["shredIdx"]) for one in payloads]
        assert proxy.faults.counts["dropped"] > 0 and "gap" in places


async def test_stream_strange_shreds_end_it_and_the_next_does_without(
    make_anvil: MakeAnvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = shredding.OpenBlock.shreds

    def strange(self: Any, txs_per_shred: int) -> list[Any]:
        return [one | {"shredIdx": "first"} for one in plain(self, txs_per_shred)]

    anvil = make_anvil(block_time=BLOCK_S)
    async with RpcProxy(anvil.rpc_url, shred_s=0.1) as proxy:
        streams = LiveStreams(lambda: proxy.ws_url, TOPICS)
        monkeypatch.setattr(shredding.OpenBlock, "shreds", strange)
        async with Watch(streams) as watch:
            await until(lambda: watch.error is not None)
            assert "shred as we know it" in str(watch.error)
        async with Watch(streams) as watch:
            await until(lambda: len(watch.of("head")) > 1)
            assert watch.error is None and not watch.of("shred")


async def test_stream_half_open_node_is_noticed_by_pings(
    make_anvil: MakeAnvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.stream.PING_S", 0.3)
    anvil = make_anvil(block_time=BLOCK_S)
    async with (
        RpcProxy(anvil.rpc_url, shred_s=0.0) as proxy,
        Watch(LiveStreams(lambda: proxy.ws_url, TOPICS)) as watch,
    ):
        await asyncio.sleep(0.8)
        assert watch.error is None and watch.frames
        proxy.faults.half_open = True
        await until(lambda: watch.error is not None, 3.0)
        proxy.faults.half_open = False
