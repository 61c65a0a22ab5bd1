"""The AsyncAPI document: whole, and true to what a running gateway says and pushes."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import jsonschema
import orjson
import pytest
import socketio

from actors.publishing import Publisher
from engine import text
from engine.messages import ChainEvent, Reorg, TokenCreated, Traded
from gateway import asyncapi, realtime, topics
from gateway.errors import STATUS
from gateway.pushes import SOCKETIO
from storage import ticks as ticks_store
from storage import valkey
from storage.ticks import Ticks
from tests.support.evm import ROOT
from tests.support.fakes import FakeSink
from tests.support.gateway import Door
from tests.support.lobby import lobby
from tests.support.scenario import CHAIN_ID, Scenario
from tests.unit.engine.test_group import batch, group
from tests.unit.engine.test_group_overlay import open_view

ETH = 10**18


def document() -> dict[str, Any]:
    """As it is served."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(asyncapi.document()))
    return read


def at_place(whole: Any, pointer: str) -> Any:
    found = whole
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [one for value in part.values() for one in references(value)]
    return [one for value in part for one in references(value)] if isinstance(part, list) else []


def problem(schema: dict[str, Any], message: Any) -> str | None:
    """Why a message is not of this schema of the document."""
    whole = {"components": document()["components"]} | schema
    found = next(jsonschema.Draft202012Validator(whole).iter_errors(message), None)
    return found.message if found else None


def test_document_is_whole_and_has_the_shape_of_asyncapi_3() -> None:
    whole = document()
    assert whole["asyncapi"] == "3.0.0" and whole["info"]["title"] and whole["info"]["version"]
    for reference in references(whole):
        assert at_place(whole, reference), reference
    for name, channel in whole["channels"].items():
        assert channel.keys() <= {"address", "summary", "servers", "messages", "parameters"}
        parameters = {} if channel["address"] is None else channel.get("parameters", {})
        assert all(f"{{{one}}}" in channel["address"] for one in parameters), name
    for name, operation in whole["operations"].items():
        assert operation["action"] in ("send", "receive"), name
        channel = at_place(whole, operation["channel"]["$ref"])
        for one in operation["messages"]:
            *place, message = one["$ref"].split("/")
            assert at_place(whole, "/".join(place[:-1])) is channel
            assert message in channel["messages"]
    for server in whole["servers"].values():
        assert {"host", "protocol"} <= server.keys()
    for schema in whole["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_document_has_every_call_topic_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = realtime.Realtime._calls(object.__new__(_Calls))
    assert {call.name for call in SOCKETIO.calls} == calls.keys()
    whole = document()
    addresses = {one["address"] for one in whole["channels"].values()} - {None}
    assert addresses == {"token:{address}", "user:{address}"} | topics.SHARED_TOPICS
    codes = whole["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"]
    assert set(codes) == STATUS.keys()
    assert all(f"`{code}`" in whole["info"]["description"] for code in codes)


class _Calls(realtime.Realtime):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_command_prints_the_document_without_any_server(flag: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from deploy.cli import main; main()", "asyncapi", *flag],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert orjson.loads(done.stdout) == document()


class World:
    """A shard's group and publisher on real Redis, and a client of a door that keeps all."""

    def __init__(self, door: Door, ticks: Ticks) -> None:
        self.door, self.ticks, self.scenario = door, ticks, Scenario(seed=4)
        self.group = group()
        self.publisher = Publisher(ticks, FakeSink(), lambda bucket, incarnation: None)
        for bucket, incarnation in self.group.incarnations.items():
            self.publisher.open(bucket, incarnation)
        self.publisher.resume(self.group)
        self.client = socketio.AsyncClient(reconnection=False)
        self.pushed: list[tuple[str, Any]] = []
        for event in {push.name for topic in SOCKETIO.topics for push in topic.pushes}:
            self.client.on(event, self._keep(event))
        self.answers: list[tuple[str, Any]] = []

    def _keep(self, event: str) -> Any:
        async def keep(message: Any) -> None:
            self.pushed.append((event, message))

        return keep

    async def call(self, name: str, **data: Any) -> Any:
        answer = await self.client.call(name, data, timeout=10)
        self.answers.append((name, answer))
        return answer

    def apply(self, message: Any) -> None:
        changes, _ = self.group.apply(batch(self.group.position, message))
        self.publisher.publish(self.group, changes)
        for token, line in self.group.timelines.items():
            if line.confirmed:
                self.door.markets.markets[token] = line.tip

    def mine(self, block: Any) -> Any:
        """As if the wallet that is logged in had done it all."""
        return replace(block, events=tuple(self._mine(event) for event in block.events))

    def _mine(self, event: ChainEvent) -> ChainEvent:
        me = bytes.fromhex(self.door.account.address[2:])
        if isinstance(event, TokenCreated):
            return replace(event, creator=me)
        return replace(event, trader=me) if isinstance(event, Traded) else event

    async def until(self, kinds: set[tuple[str, str]]) -> None:
        async with asyncio.timeout(10):
            while not kinds <= {(one["topic"].split(":")[0], event) for event, one in self.pushed}:
                await asyncio.sleep(0.02)


@pytest.fixture
async def world(
    redis_url: str, mongodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(ticks_store, "LISTED_EVERY_MS", 30)
    monkeypatch.setattr(realtime, "LOGINS_LOOKED_AT_S", 0.1)
    redis = valkey.connect(redis_url)
    ticks = Ticks(redis, namespace=f"test:{secrets.token_hex(6)}")
    async with lobby(mongodb_url, redis_url, more={"ticks": ticks}) as door:
        made = World(door, ticks)
        task = asyncio.create_task(made.publisher.run())
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await redis.aclose()


async def everything(world: World) -> None:
    """Make the gateway say each kind of message."""
    session = await world.door.session_of()
    await world.client.connect(world.door.url, transports=["websocket"])
    await world.call("authenticate", token="nonsense")
    await world.call("authenticate", token=session["token"])
    token = world.scenario.launch("tide")
    world.apply(world.mine(world.scenario.seal()))
    topic = text.topic_of_token(token)
    for one in (topic, "tokens", "trades", f"user:{world.door.account.address}", "nothing"):
        await world.call("subscribe", topic=one)
    trade = {"tokenAddress": text.address(token), "type": "buy", "amount": "0.1"}
    await world.call("quote", **trade)
    await world.call("quote", **(trade | {"amount": "-1"}))
    world.scenario.launch("crane")
    world.scenario.buy(token, ETH // 10)
    world.apply(world.mine(world.scenario.seal()))
    fork = world.scenario
    fork.buy(token, ETH // 10)
    world.apply(open_view(world.mine(fork.seal())))
    position = world.group.position
    world.apply(Reorg(CHAIN_ID, position.number, position.hash))
    await world.until({("token", "retracted"), ("trades", "retracted"), ("user", "user")})
    await world.call("subscribe", topic=topic, since=1, generation=world.pushed[0][1]["generation"])
    await world.call("subscribe", topic=topic, since=1, generation="another")


async def test_every_message_of_a_running_gateway_is_as_described(world: World) -> None:
    await everything(world)
    scenario = Scenario(seed=4, salt="end")
    target = scenario.launch("swan")
    scenario.buy(target, 10 * ETH)
    world.group, before = group(), world.group
    world.door.gateway._realtime.fanout.hear(b'{"epoch":"9"}')
    await world.call("unsubscribe", topic="trades")
    world.apply(scenario.seal())
    swan = text.topic_of_token(target)
    assert (await world.call("subscribe", topic=swan))["success"]
    later = before.timelines.keys()
    assert target not in later
    world.publisher.publish(world.group, [world.group.change(target)])
    second = scenario.launch("heron")
    world.apply(scenario.seal())
    assert (await world.call("subscribe", topic=text.topic_of_token(second)))["success"]
    scenario.buy(second, 10 * ETH)
    world.apply(scenario.seal())
    assert world.group.halt(target, "differs")
    world.publisher.publish(world.group, [world.group.change(target)])
    fanout = world.door.gateway._realtime.fanout
    fanout.owned([(bucket, 1) for bucket in range(1024)])
    fanout.owned([(bucket, 9) for bucket in range(1024)])
    await world.until({("token", "graduation"), ("token", "status"), ("token", "gap")})
    headers = {"Authorization": f"Bearer {(await world.door.session_of())['token']}"}
    await world.door.post("/api/auth/logout", {"everywhere": True}, headers=headers)
    described = {(topic.name, push.name) for topic in SOCKETIO.topics for push in topic.pushes}
    await world.until(described)
    async with asyncio.timeout(10):
        while not any(one["data"].get("event") == "signed_out" for _, one in world.pushed):
            await asyncio.sleep(0.02)
    wrong = check(world.pushed, world.answers)
    assert wrong == []
    rows = [row for event, one in world.pushed if event == "tokens" for row in one["data"]["items"]]
    assert {row["unavailable"] for row in rows} == {None, "market_halted"}
    assert any(row["launch"] for row in rows)
    kinds = {one["data"].get("event") for event, one in world.pushed if event == "user"}
    assert kinds == {"transaction", "retracted", "signed_out"}
    # The check can fail: each message with a field more is refused.
    spoilt = [(event, one | {"data": one["data"] | {"more": 1}}) for event, one in world.pushed]
    assert len(check(spoilt, [])) == len(spoilt)
    await world.client.disconnect()


def check(pushed: list[tuple[str, Any]], answers: list[tuple[str, Any]]) -> list[str]:
    """What is not as the document says."""
    whole, wrong = document(), []
    for event, one in pushed:
        channel = whole["channels"][one["topic"].split(":")[0]]
        found = [at_place(whole, message["$ref"]) for message in channel["messages"].values()]
        schemas = [message["payload"] for message in found if message["name"] == event]
        faults = [problem(schema, one) for schema in schemas]
        if None not in faults:
            wrong.append(f"{event}: {faults} {one}")
    for name, answer in answers:
        message = f"{name}Reply" if answer["success"] else "failure"
        fault = problem(whole["components"]["messages"][message]["payload"], answer)
        if fault:
            wrong.append(f"{name}: {fault} {answer}")
    return wrong


async def test_document_is_served(world: World) -> None:
    assert await world.door.get("/asyncapi.json") == (200, document())
