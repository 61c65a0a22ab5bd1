"""A real stream door over fake ports on a loopback port, and stock clients that talk to it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from engine.settings import GatewaySettings
from gateway.stream import StreamGateway
from gateway.stream_parts import stream_parts
from tests.support import chain_settings
from tests.support.fakes import (
    FakeMarkets,
    FakeNonces,
    FakePeople,
    FakeRates,
    FakeSessions,
    FakeSink,
    FakeTicks,
)
from tests.support.gateway import PUBLIC_URL, SECRET
from tests.support.scenario import LINEAR, Scenario

WAIT_S = 5.0


@dataclass
class StreamDoor:
    """The door, its ports, and its clients."""

    gateway: StreamGateway
    markets: FakeMarkets
    scenario: Scenario
    tokens: list[bytes]
    ticks: Any
    log: FakeSink
    sessions: Any
    rates: Any
    account: LocalAccount = field(default_factory=Account.create)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.gateway.port}/v1"

    @property
    def token(self) -> str:
        return "0x" + self.tokens[0].hex()

    @property
    def topic(self) -> str:
        return f"token:{self.token}"

    @asynccontextmanager
    async def client(self, path: str = "", **options: Any) -> AsyncIterator["StreamClient"]:
        async with connect(self.url + path, compression=None, **options) as socket:
            yield StreamClient(socket)

    def access_token(self, **fields: Any) -> str:
        values = {"address": bytes.fromhex(self.account.address[2:]), "chain_id": 11155931}
        values |= {"role": "user", "sid": "ab" * 16}
        return self.gateway.parts.tokens.issue(**(values | fields))


@dataclass
class StreamClient:
    """The stock client, with JSON."""

    socket: ClientConnection

    async def send(self, *objects: Any) -> None:
        for one in objects:
            await self.socket.send(one if isinstance(one, str | bytes) else json.dumps(one))

    async def receive(self) -> Any:
        async with asyncio.timeout(WAIT_S):
            return json.loads(await self.socket.recv())

    async def ask(self, op: str, **fields: Any) -> Any:
        """The answer; what is pushed before it is an error here."""
        await self.send({"v": 1, "op": op, "id": 1} | fields)
        return await self.receive()

    async def closed(self) -> tuple[int, str]:
        """(code, reason) once it is; what comes before is read and dropped."""
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""


def settings(**fields: Any) -> GatewaySettings:
    values: dict[str, Any] = {
        "stream_port": 0,
        "public_url": PUBLIC_URL,
        "cors_origins": ("https://app.example",),
        "jwt_secret": SECRET,
        "reads_per_minute": 100_000,
        "stream_ops_per_s": 100_000,
        "stream_bytes_per_s": 100_000_000,
    }
    return GatewaySettings(**(values | fields))


@asynccontextmanager
async def open_stream_door(
    *,
    stores: dict[str, Any] | None = None,
    wall: Callable[[], float] = time.time,
    **fields: Any,
) -> AsyncIterator[StreamDoor]:
    """Two markets, each with a trade in it. `stores` replace fakes."""
    scenario, markets = Scenario(), FakeMarkets()
    tokens = [scenario.launch("tide"), scenario.launch("crane", LINEAR)]
    markets.take(scenario)
    for token in tokens:
        scenario.buy(token, 10**17)
    markets.take(scenario)
    ports = {
        "ticks": FakeTicks(),
        "rates": FakeRates(),
        "nonces": FakeNonces(),
        "people": FakePeople(),
        "sessions": FakeSessions(),
        "api_keys": None,
        "log": FakeSink(),
        "markets": markets,
    } | (stores or {})
    chosen = settings(**fields)
    parts = stream_parts(chosen, chain_settings.settings(), **ports, clock=wall)
    gateway = StreamGateway(settings=chosen, parts=parts, wall=wall)
    await gateway.start()
    try:
        yield StreamDoor(
            gateway=gateway,
            markets=ports["markets"],
            scenario=scenario,
            tokens=tokens,
            ticks=ports["ticks"],
            log=ports["log"],
            sessions=ports["sessions"],
            rates=ports["rates"],
        )
    finally:
        await gateway.stop()
