"""Two gateways on two ports behind a sticky proxy, one Valkey: everybody sees the same topics."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio

from engine import text
from engine.messages import ListedRow, Tick
from storage import ticks as ticks_store
from storage import valkey
from storage.ticks import Ticks
from tests.support.gateway import Door, open_door
from tests.support.sticky_proxy import StickyProxy

TRANSPORTS: list[list[str] | None] = [["polling"], ["websocket"], None, ["polling"]]
ROUNDS = 5


class World:
    def __init__(self, doors: list[Door], ticks: Ticks, proxy: StickyProxy) -> None:
        self.doors, self.ticks, self.proxy = doors, ticks, proxy
        self.topic = text.topic_of_token(doors[0].tokens[0])

    async def publish(self, seq: int) -> None:
        """One message on each topic."""
        tick = Tick(self.topic, "price", seq, "1:g", {"n": seq})
        assert await self.ticks.publish(1, 1, [tick])
        await self.ticks.publish_counted("trades", "transaction", {"n": seq})
        row = ListedRow(self.doors[0].tokens[0], 1, 1, {"n": seq})
        await self.ticks.sample([row])
        await asyncio.sleep(0.06)


class Watcher:
    """A client that keeps what it is pushed, by topic."""

    def __init__(self) -> None:
        self.socket = socketio.AsyncClient(reconnection=False)
        self.heard: dict[str, list[Any]] = {}
        for event in ("price", "transaction", "tokens"):
            self.socket.on(event, self._keep)

    async def _keep(self, message: Any) -> None:
        self.heard.setdefault(message["topic"], []).append(
            (message["seq"], message["generation"], message["data"])
        )

    async def subscribe(self, topic: str) -> Any:
        answer = await self.socket.call("subscribe", {"topic": topic}, timeout=10)
        assert answer["success"], answer
        return answer["data"]

    async def wait_for(self, topics: list[str], count: int) -> dict[str, list[Any]]:
        async with asyncio.timeout(10):
            while any(len(self.heard.get(topic, [])) < count for topic in topics):
                await asyncio.sleep(0.02)
        return self.heard


@asynccontextmanager
async def world_of(redis_url: str, *, is_sticky: bool = True) -> AsyncIterator[World]:
    namespace = f"test:{secrets.token_hex(6)}"
    async with AsyncExitStack() as stack:
        clients = [valkey.connect(redis_url) for _ in range(3)]
        stores = [Ticks(client, namespace=namespace) for client in clients]
        doors = [
            await stack.enter_async_context(open_door(stores={"ticks": one})) for one in stores[:2]
        ]
        ports = [door.gateway.port for door in doors]
        proxy = await stack.enter_async_context(StickyProxy(ports, is_sticky=is_sticky))
        origins = frozenset({proxy.url})
        for door in doors:
            door.gateway._realtime._origins |= origins
        yield World(doors, stores[2], proxy)
        for client in clients:
            await client.aclose()


async def test_clients_of_both_gateways_see_the_same_messages(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks_store, "LISTED_EVERY_MS", 30)
    async with world_of(redis_url) as world:
        topics = [world.topic, "trades", "tokens"]
        watchers = []
        for transports in TRANSPORTS:
            watcher = Watcher()
            await watcher.socket.connect(world.proxy.url, transports=transports)
            for topic in topics:
                await watcher.subscribe(topic)
            watchers.append(watcher)
        sockets = [len(door.gateway._realtime._clients) for door in world.doors]
        assert sockets == [2, 2], "both gateways have clients"
        for seq in range(1, ROUNDS + 1):
            await world.publish(seq)
        heard = [await one.wait_for(topics, ROUNDS) for one in watchers]
        assert all(one == heard[0] for one in heard)
        for topic in topics:
            assert [seq for seq, _, _ in heard[0][topic]] == list(range(1, ROUNDS + 1))
            assert len({generation for _, generation, _ in heard[0][topic]}) == 1
        # A late comer learns the same place from either.
        places = set()
        for _ in range(2):
            late = Watcher()
            await late.socket.connect(world.proxy.url, transports=["polling"])
            places.add((await late.subscribe("tokens"))["seq"])
            await late.socket.disconnect()
        assert places == {ROUNDS}
        await asyncio.gather(*(one.socket.disconnect() for one in watchers))


async def test_without_stickiness_polling_finds_no_session(redis_url: str) -> None:
    # What the cookie is for: the proxy of this test could tell. By hand, a request a connection:
    # a client that loses its session waits for long in places of its own.
    path = "/socket.io/?EIO=4&transport=polling"
    answers = {}
    for is_sticky in (True, False):
        async with (
            world_of(redis_url, is_sticky=is_sticky) as world,
            aiohttp.ClientSession(
                world.proxy.url,
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=10),
            ) as http,
        ):
            async with http.get(path) as opened:
                session = json.loads((await opened.text())[1:])["sid"]
            async with http.post(f"{path}&sid={session}", data="40") as answer:
                answers[is_sticky] = answer.status
    assert answers == {True: 200, False: 400}
