"""The client against a running door: quotes, events, and connections that are cut."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from engine.messages import Tick
from gateway import client_topic
from gateway.client import Quote, QuoteOf, StreamClient, StreamClosed, StreamError, StreamTimeout
from storage import valkey
from storage.ticks import Ticks
from tests.support.stream_door import StreamDoor, open_stream_door
from tests.support.tcp_proxy import TcpProxy

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def door() -> AsyncIterator[StreamDoor]:
    async with open_stream_door() as opened:
        yield opened
        assert opened.log.errors == []


@asynccontextmanager
async def through_proxy(door: StreamDoor) -> AsyncIterator[tuple[TcpProxy, StreamClient]]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy(door.gateway.port))
        client = StreamClient(f"ws://127.0.0.1:{proxy.port}/v1")
        yield proxy, await stack.enter_async_context(client)


async def test_quote_is_typed_and_refusals_are_errors(door: StreamDoor) -> None:
    async with StreamClient(door.url) as client:
        quote = await client.quote(QuoteOf(door.token, "buy", 10**15))
        assert (quote.amount_in_wei, quote.side, quote.phase) == (10**15, "buy", "curve")
        assert 0 < quote.bound_wei < quote.amount_out_wei
        with pytest.raises(StreamError) as caught:
            await client.quote(QuoteOf("0x" + "12" * 20, "buy", 1))
        assert caught.value.code == "token_not_found"
        assert 0 < await client.ping() < 5


async def test_many_quotes_come_in_order_with_their_errors(door: StreamDoor) -> None:
    async with StreamClient(door.url) as client:
        wanted = [QuoteOf(door.token, "buy", 10**15 + n) for n in range(600)]
        wanted[7] = QuoteOf(door.token, "buy", 0)
        found = await client.quotes(wanted)
        assert isinstance(found[7], StreamError) and found[7].code == "invalid_amount"
        amounts = [one.amount_in_wei for one in found if isinstance(one, Quote)]
        assert amounts == [10**15 + n for n in range(600) if n != 7]


async def test_request_over_a_cut_connection_is_asked_again(door: StreamDoor) -> None:
    async with through_proxy(door) as (proxy, client):
        await client.ping()
        door.markets.delay_s = 0.1
        asked = asyncio.create_task(client.quote(QuoteOf(door.token, "buy", 10**15)))
        await asyncio.sleep(0.05)
        proxy.cut()
        assert (await asked).amount_in_wei == 10**15
        assert client.connects == 2


async def test_request_to_nobody_ends_in_time(door: StreamDoor) -> None:
    async with TcpProxy(door.gateway.port) as proxy:
        proxy.dead = True
        async with StreamClient(f"ws://127.0.0.1:{proxy.port}/v1") as client:
            with pytest.raises(StreamTimeout):
                await client.quote(QuoteOf(door.token, "buy", 1), timeout_s=0.2)
            proxy.dead = False
            assert (await client.quote(QuoteOf(door.token, "buy", 10**15))).amount_out_wei > 0


async def test_client_that_is_refused_does_not_try_again(door: StreamDoor) -> None:
    async with StreamClient(door.url, token="bad") as client:
        with pytest.raises(StreamError) as caught:
            await client.ping()
        assert caught.value.code == "unauthorized"
    async with StreamClient(door.url.replace("/v1", "/v9")) as client:
        with pytest.raises(StreamClosed):
            await client.ping()
    with pytest.raises(StreamClosed):
        await client.ping()


async def test_reader_that_does_not_read_catches_up(
    door: StreamDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_topic, "WAITING_MAX", 5)
    async with StreamClient(door.url) as client:
        events = await client.subscribe("trades")
        for seq in range(1, 51):
            message = {"topic": "trades", "seq": seq, "bucket": -1, "data": {"n": seq}}
            door.ticks.publish(**message, event="transaction")
        await client.ping()
        found = [(await asyncio.wait_for(anext(events), 5)).seq for _ in range(10)]
        assert found[0] is None and found[1:] == list(range(1, 10))


class Published:
    """Ticks of a token in a real Valkey, published while the test likes."""

    def __init__(self, ticks: Ticks, topic: str) -> None:
        self._ticks, self._topic = ticks, topic
        self.seq = 0
        self.generation = "1:g"

    async def __call__(self, count: int) -> None:
        for _ in range(count):
            self.seq += 1
            event = "price" if self.seq % 3 else "transaction"
            tick = Tick(self._topic, event, self.seq, self.generation, {"n": self.seq})
            assert await self._ticks.publish(1, 1, [tick])


async def test_every_event_arrives_once_over_cut_connections(redis_url: str) -> None:
    redis = valkey.connect(redis_url)
    ticks = Ticks(redis, namespace=f"test:{secrets.token_hex(6)}")
    async with open_stream_door(stores={"ticks": ticks}) as door:
        await _follow(door, Published(ticks, door.topic))
    await redis.aclose()


async def _follow(door: StreamDoor, publish: Published) -> None:
    async with through_proxy(door) as (proxy, client):
        await publish(3)
        events = await client.subscribe(door.topic)
        first = await asyncio.wait_for(anext(events), 5)
        # What the door has not heard yet comes after it.
        assert (first.event, first.gap) == ("snapshot", False) and first.seq in range(4)
        seen: list[int | None] = []
        for turn in range(6):
            await publish(20)
            if turn % 2:
                proxy.cut()
            await publish(20)
            while publish.seq not in seen:
                event = await asyncio.wait_for(anext(events), 10)
                assert event.event in ("price", "transaction")
                seen.append(event.seq)
        assert seen == list(range(first.seq + 1, publish.seq + 1))
        assert client.connects == 4
        # What nobody keeps any more: the topic as it stands, and the reader is told.
        publish.generation, publish.seq = "2:h", 0
        await publish(2)
        event = await asyncio.wait_for(anext(events), 10)
        assert (event.event, event.gap, event.generation) == ("snapshot", True, "2:h")


async def test_example_bot_quotes_and_prints(door: StreamDoor) -> None:
    bot = await asyncio.create_subprocess_exec(
        sys.executable,
        "examples/bot.py",
        door.token,
        "--url",
        door.url,
        "--quotes",
        "2",
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert bot.stdout is not None
    lines = [(await asyncio.wait_for(bot.stdout.readline(), 30)).decode() for _ in range(2)]
    assert lines[0].startswith("snapshot") and "buy 0.01 ETH" in lines[1]
    door.ticks.publish(topic=door.topic, seq=1, data={"price": "0.000001"})
    rest = (await asyncio.wait_for(bot.stdout.read(), 30)).decode()
    assert rest.startswith("price #1: 0.000001 ETH a token")
    assert await bot.wait() == 0
