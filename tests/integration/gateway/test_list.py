"""The topic `tokens`, and the status of a market, at the door; over real Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from actors.publishing import Publisher
from engine import text
from engine.messages import Refusal
from gateway import replies
from storage import ticks as ticks_store
from storage import valkey
from storage.ticks import Ticks
from tests.support.fakes import FakeSink
from tests.support.gateway import Door, open_door
from tests.support.scenario import Scenario
from tests.unit.engine.test_group import batch, group


class World:
    """A shard's publisher, Redis, and a door."""

    def __init__(self, door: Door, ticks: Ticks) -> None:
        self.door, self.ticks, self.scenario = door, ticks, Scenario(seed=9)
        self.group = group()
        self.publisher = Publisher(ticks, FakeSink(), lambda bucket, incarnation: None)
        for bucket, incarnation in self.group.incarnations.items():
            self.publisher.open(bucket, incarnation)
        self.pushed: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def connect(self) -> socketio.AsyncClient:
        client = socketio.AsyncClient(reconnection=False)
        for event in ("tokens", "status", "gap", "price", "transaction"):
            client.on(event, self._keep(event))
        await client.connect(self.door.url, transports=["websocket"])
        return client

    def _keep(self, event: str) -> Any:
        async def keep(message: Any) -> None:
            await self.pushed.put((event, message))

        return keep

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.pushed.get(), 5)

    def seal(self) -> None:
        block = self.scenario.seal()
        changes, _ = self.group.apply(batch(self.group.position, block))
        self.publisher.publish(self.group, changes)


@pytest.fixture
async def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(ticks_store, "LISTED_EVERY_MS", 200)
    redis = valkey.connect(redis_url)
    ticks = Ticks(redis, namespace=f"test:{secrets.token_hex(6)}")
    async with open_door(stores={"ticks": ticks}) as door:
        made = World(door, ticks)
        task = asyncio.create_task(made.publisher.run())
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert door.log.errors == []
    await redis.aclose()


async def test_list_is_the_newest_page_then_what_changed(world: World) -> None:
    client = await world.connect()
    data = (await client.call("subscribe", {"topic": "tokens"}, timeout=5))["data"]
    replies.SubscriptionData.model_validate(data)
    _, page = await world.door.get("/api/tokens")
    assert data["snapshot"]["items"] == page["data"]["items"] != []
    assert (data["seq"], data["generation"]) == (None, None)
    token = world.scenario.launch("tide")
    world.seal()
    event, first = await world.next()
    (row,) = first["data"]["items"]
    assert (event, first["topic"], first["seq"]) == ("tokens", "tokens", 1)
    assert row["tokenAddress"] == text.address(token)
    assert row["launch"]["symbol"] and row["phase"] == "curve" and row["eventCount"] == 1
    world.scenario.buy(token, 10**17)
    world.seal()
    _, second = await world.next()
    assert second["seq"] == 2 and second["generation"] == first["generation"]
    (row,) = second["data"]["items"]
    assert row["launch"] is None and row["eventCount"] == 2 and row["price"] != "0"
    asked = {"topic": "tokens", "since": 1, "generation": first["generation"]}
    data = (await client.call("subscribe", asked, timeout=5))["data"]
    assert [one["data"] for one in data["missed"]] == [second["data"]]
    await client.disconnect()


async def test_list_asks_for_a_new_page_when_a_market_has_a_new_owner(world: World) -> None:
    client = await world.connect()
    await client.call("subscribe", {"topic": "tokens"}, timeout=5)
    fanout = world.door.gateway._realtime.fanout
    fanout.owned([(1, 1)])
    fanout.owned([(1, 2)])
    event, message = await world.next()
    assert (event, message["topic"], message["seq"]) == ("gap", "tokens", None)
    await client.disconnect()


async def test_storm_of_subscribers_reads_the_page_few_times(world: World) -> None:
    asked, tokens = 0, world.door.reads.tokens

    async def slowly(**query: Any) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return await tokens(**query)

    world.door.reads.tokens = slowly
    clients = [await world.connect() for _ in range(20)]
    calls = [one.call("subscribe", {"topic": "tokens"}, timeout=5) for one in clients]
    answers = await asyncio.gather(*calls)
    assert all(answer["data"]["snapshot"]["items"] for answer in answers)
    assert asked <= 4
    await asyncio.gather(*(one.disconnect() for one in clients))


async def test_halt_is_pushed_to_the_tokens_subscribers(world: World) -> None:
    token = world.scenario.launch("tide")
    world.seal()
    world.door.markets.take(world.scenario)
    world.door.markets.markets[token] = world.group.timelines[token].tip
    client = await world.connect()
    topic = text.topic_of_token(token)
    assert (await client.call("subscribe", {"topic": topic}, timeout=5))["success"]
    await asyncio.sleep(0.1)
    while not world.pushed.empty():
        world.pushed.get_nowait()
    assert world.group.halt(token, "differs")
    world.publisher.publish(world.group, [world.group.change(token)])
    event, message = await world.next()
    assert (event, message["topic"]) == ("status", topic)
    assert message["data"]["status"] == "halted"
    assert message["data"]["code"] == "market_halted"
    assert isinstance(message["seq"], int)
    world.door.markets.refusal = Refusal("market_halted", "Expected a market that adds up")
    again = await client.call("subscribe", {"topic": topic}, timeout=5)
    assert again["error"]["code"] == "market_halted"
    await client.disconnect()
