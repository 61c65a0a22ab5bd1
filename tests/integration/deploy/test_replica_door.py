"""The stream door as the composition root builds it, with QUOTE_PATH=replica, without Ray."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from actors.host import Context
from deploy.adapters.redis import states_of
from deploy.doors import stream_gateway
from deploy.settings import compose, load_settings
from engine.control import Directory, Drain, Instance, StatusWanted, Take
from engine.limits import BUCKETS
from engine.messages import BucketOwner
from storage import valkey
from tests.support import chain_settings
from tests.support.shard_world import ALL, World, running

JWT_SECRET = "correct horse battery staple, at length"


def context(world: World, path: str, *, folder: Path, redis_url: str) -> Context:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"APP_ENV": "test", "QUOTE_PATH": path, "STREAM_PORT": str(port)}
    settings = compose(
        load_settings(environment | {"JWT_SECRET": JWT_SECRET}),
        data_dir=folder,
        database_url="postgresql://127.0.0.1:1/none",
        mongodb_url="mongodb://127.0.0.1:1",
        redis_url=redis_url,
        rise=replace(chain_settings.settings(), genesis_hash=time.time_ns().to_bytes(32, "little")),
        sepolia=None,
    )
    return Context(
        slot="stream-0",
        role="stream_gateway",
        name="stream-0/1",
        settings=settings,
        calls=world.calls,
        launcher=None,  # type: ignore[arg-type]
    )


@pytest.fixture
async def clients(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A role ends with its process; here what it connected to is closed."""
    made: list[Any] = []
    connect_to = valkey.connect

    def noted(*arguments: Any, **options: Any) -> Any:
        made.append(connect_to(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(valkey, "connect", noted)
    yield
    for client in made:
        await client.aclose()


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize(("path", "replicates"), [("replica", True), ("actor", False)])
async def test_quotes_come_from_where_the_setting_says(
    path: str, replicates: bool, tmp_path: Path, redis_url: str
) -> None:
    world = World(clock=time.monotonic)
    given = context(world, path, folder=tmp_path, redis_url=redis_url)
    world.states = states_of(given.settings)
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    role = await stream_gateway(given)
    owners = tuple(BucketOwner(bucket, "shard-0/1", 1) for bucket in range(BUCKETS))
    instances = (Instance("shard-0", "shard", "shard-0/1"),)
    await role.handlers[Directory](Directory(1, instances, owners))
    quote = {"op": "quote", "token": "0x" + world.token.hex(), "side": "buy", "amountWei": "10000"}
    url = f"ws://127.0.0.1:{given.settings.gateway.stream_port}/v1"
    answers = set()
    async with running(role), running(shard), connect(url) as client:
        for _ in range(50):
            await client.send(json.dumps(quote | {"id": 1}))
            answers.add(await client.recv())
            await asyncio.sleep(0.02)
        status = role.handlers[StatusWanted](StatusWanted())
        await role.handlers[Drain](Drain())
    assert len(answers) == 1 and json.loads(answers.pop())["ok"]
    assert status["quotes_ok"] == 50
    assert ("replica_served" in status) is replicates
    assert status.get("replica_served", 0) > (25 if replicates else -1)
