"""Resuming topics and a wallet's own topic, over real Redis and real sessions."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from eth_account import Account

from engine import text
from engine.messages import Tick
from gateway import realtime, replies
from storage import valkey
from storage.ticks import Ticks
from tests.support.gateway import Door
from tests.support.lobby import Clock, lobby


class World:
    def __init__(self, door: Door, ticks: Ticks, clock: Clock) -> None:
        self.door, self.ticks, self.clock = door, ticks, clock
        self.topic = text.topic_of_token(door.tokens[0])
        self.pushed: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def connect(self, token: str | None = None) -> socketio.AsyncClient:
        one = socketio.AsyncClient(reconnection=False)
        for event in ("price", "transaction", "user"):
            one.on(event, self._keep(event))
        auth = None if token is None else {"token": token}
        await one.connect(self.door.url, transports=["websocket"], auth=auth)
        return one

    def _keep(self, event: str) -> Any:
        async def keep(message: Any) -> None:
            await self.pushed.put((event, message))

        return keep

    async def tick(self, seq: int, generation: str = "1:g", incarnation: int = 1) -> None:
        tick = Tick(self.topic, "price", seq, generation, {"n": seq})
        assert await self.ticks.publish(1, incarnation, [tick])


async def ask(client: socketio.AsyncClient, event: str, **data: Any) -> Any:
    return await client.call(event, data, timeout=5)


@pytest.fixture
async def world(mongodb_url: str, redis_url: str) -> AsyncIterator[World]:
    redis, clock = valkey.connect(redis_url), Clock()
    ticks = Ticks(redis, namespace=f"test:{secrets.token_hex(6)}")
    async with lobby(mongodb_url, redis_url, more={"ticks": ticks}, clock=clock) as door:
        yield World(door, ticks, clock)
    await redis.aclose()


async def test_subscription_knows_its_place_before_the_first_message(world: World) -> None:
    for seq in (1, 2, 3):
        await world.tick(seq)
    client = await world.connect()
    data = (await ask(client, "subscribe", topic=world.topic))["data"]
    replies.SubscriptionData.model_validate(data)
    assert (data["seq"], data["generation"]) == (3, "1:g") and "missed" not in data
    await client.disconnect()


async def test_since_gives_what_was_missed_then_goes_on(world: World) -> None:
    for seq in range(1, 8):
        await world.tick(seq)
    client = await world.connect()
    asked = {"topic": world.topic, "since": 4, "generation": "1:g"}
    data = (await ask(client, "subscribe", **asked))["data"]
    replies.SubscriptionData.model_validate(data)
    assert [(one["seq"], one["data"]["n"]) for one in data["missed"]] == [(5, 5), (6, 6), (7, 7)]
    await world.tick(8)
    event, message = await asyncio.wait_for(world.pushed.get(), 5)
    assert (event, message["seq"]) == ("price", 8)
    data = (await ask(client, "subscribe", **(asked | {"since": 8})))["data"]
    assert data["missed"] == [] and "gap" not in data
    await client.disconnect()


async def test_since_of_another_generation_or_too_old_is_a_gap(world: World) -> None:
    for seq in range(1, 4):
        await world.tick(seq)
    client = await world.connect()
    for since, generation in ((1, "0:x"), (9, "1:g"), (1, None)):
        asked = {"topic": world.topic, "since": since}
        if generation:
            asked["generation"] = generation
        data = (await ask(client, "subscribe", **asked))["data"]
        assert data["gap"] is True and data["snapshot"] and "missed" not in data
    await world.tick(1, "2:h", incarnation=2)
    asked = {"topic": world.topic, "since": 3, "generation": "1:g"}
    assert (await ask(client, "subscribe", **asked))["data"]["gap"] is True
    await client.disconnect()


async def test_wallets_topic_is_its_own_only(world: World) -> None:
    session = await world.door.session_of()
    own = f"user:{world.door.account.address}"
    client = await world.connect(session["token"])
    data = (await ask(client, "subscribe", topic=own))["data"]
    assert data["topic"] == own.lower()
    other = await ask(client, "subscribe", topic=f"user:{Account.create().address}")
    assert other["error"]["code"] == "forbidden"
    await world.ticks.publish_counted(own.lower(), "user", {"event": "transaction", "x": 1})
    event, message = await asyncio.wait_for(world.pushed.get(), 5)
    assert (event, message["seq"], message["data"]["x"]) == ("user", 1, 1)
    stranger = await world.connect()
    assert (await ask(stranger, "subscribe", topic=own))["error"]["code"] == "forbidden"
    assert (await ask(stranger, "authenticate", token="x"))["error"]["code"] == "unauthorized"
    answer = await ask(stranger, "authenticate", token=session["token"])
    assert answer["data"] == {"address": world.door.account.address, "role": "user"}
    assert (await ask(stranger, "subscribe", topic=own))["success"]
    await client.disconnect()
    await stranger.disconnect()


async def test_handshake_with_a_bad_token_is_refused(world: World) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        await world.connect("nonsense")


@pytest.mark.parametrize("how", ["logout", "expiry"])
async def test_wallets_topic_ends_with_its_login(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await world.door.session_of()
    own = f"user:{world.door.account.address.lower()}"
    client = await world.connect(session["token"])
    assert (await ask(client, "subscribe", topic=own))["success"]
    if how == "logout":
        headers = {"Authorization": f"Bearer {session['token']}"}
        await world.door.post("/api/auth/logout", headers=headers)
    else:
        world.clock.now += 10_000
    event, message = await asyncio.wait_for(world.pushed.get(), 5)
    assert (event, message["data"]) == ("user", {"event": "signed_out"})
    await world.ticks.publish_counted(own, "user", {"event": "transaction"})
    assert (await ask(client, "subscribe", topic=own))["error"]["code"] == "forbidden"
    assert world.pushed.empty()
    await client.disconnect()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "LOGINS_LOOKED_AT_S", 0.1)


async def test_two_gateways_see_the_same_topics(
    world: World, mongodb_url: str, redis_url: str
) -> None:
    async with lobby(mongodb_url, redis_url, more={"ticks": world.ticks}) as other:
        one = await world.connect()
        second = World(other, world.ticks, world.clock)
        two = await second.connect()
        answers = [
            (await ask(client, "subscribe", topic=topic))["data"]
            for topic in (world.topic, "trades")
            for client in (one, two)
        ]
        assert len(answers) == 4
        for seq in (1, 2):
            await world.tick(seq)
            await world.ticks.publish_counted("trades", "transaction", {"n": seq})
        got = []
        for queue in (world.pushed, second.pushed):
            got.append([await asyncio.wait_for(queue.get(), 5) for _ in range(4)])
        assert sorted(map(repr, got[0])) == sorted(map(repr, got[1]))
        await one.disconnect()
        await two.disconnect()


async def test_asking_too_often_what_was_missed_is_a_gap(mongodb_url: str, redis_url: str) -> None:
    redis, clock = valkey.connect(redis_url), Clock()
    ticks = Ticks(redis, namespace=f"test:{secrets.token_hex(6)}")
    more = {"ticks": ticks}
    async with lobby(mongodb_url, redis_url, more=more, clock=clock, reads_per_minute=20) as door:
        world = World(door, ticks, clock)
        for seq in (1, 2):
            await world.tick(seq)
        client, asked = await world.connect(), {"topic": world.topic, "since": 1}
        answers = [await ask(client, "subscribe", **asked, generation="1:g") for _ in range(21)]
        await client.disconnect()
        data = [one["data"] for one in answers]
        assert [len(one.get("missed", ())) for one in data] == [1] * 20 + [0]
        assert data[-1]["gap"] is True and data[-1]["snapshot"] and data[-1]["seq"] == 2
    await redis.aclose()
