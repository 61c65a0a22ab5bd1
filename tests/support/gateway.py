"""A real gateway over fake ports on a loopback port, and a wallet that talks to it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from chain.signatures import verify_message
from engine.settings import GatewaySettings
from gateway.api import ApiGateway
from gateway.ports import Ports
from tests.support import chain_settings
from tests.support.fakes import (
    FakeDocuments,
    FakeMarketReads,
    FakeMarkets,
    FakeMedia,
    FakeNode,
    FakeNonces,
    FakePeople,
    FakeRates,
    FakeReads,
    FakeSessions,
    FakeSink,
    FakeTicks,
    token_record,
)
from tests.support.scenario import LINEAR, Scenario

PUBLIC_URL = "https://risecurve.example"
SECRET = "a test secret of more than thirty-two bytes"


def settings(**fields: Any) -> GatewaySettings:
    """Loopback, any port, limits that tests do not meet by accident."""
    values: dict[str, Any] = {
        "api_port": 0,
        "public_url": PUBLIC_URL,
        "cors_origins": ("https://app.example",),
        "jwt_secret": SECRET,
        "writes_per_window": 100_000,
        "reads_per_minute": 100_000,
        "user_writes_per_window": 100_000,
        "user_reads_per_minute": 100_000,
        "connects_per_s": 10_000,
        "connects_per_s_all": 10_000,
    }
    return GatewaySettings(**(values | fields))


@dataclass
class Door:
    """The gateway, its ports, and a session to it."""

    gateway: ApiGateway
    session: aiohttp.ClientSession
    markets: FakeMarkets
    scenario: Scenario
    tokens: list[bytes]
    reads: Any
    market_reads: Any
    documents: FakeDocuments
    media: Any
    people: Any
    sessions: Any
    audit: Any
    referrals: Any
    api_keys: Any
    replays: Any
    points: Any
    point_days: Any
    uncounted: Any
    nonces: Any
    rates: Any
    ticks: Any
    node: FakeNode
    log: FakeSink
    bridge: Any = None
    replicas: Any = None
    clock: Callable[[], float] = time.time
    account: LocalAccount = field(default_factory=Account.create)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, **options) as response:
            return response.status, await response.json()

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, json={} if body is None else body, **options)

    async def login(self, account: LocalAccount | None = None) -> dict[str, str]:
        """Headers of a logged-in wallet."""
        return headers_of(await self.session_of(account))

    async def session_of(self, account: LocalAccount | None = None) -> dict[str, Any]:
        """`data` of a login."""
        account = account or self.account
        _, body = await self.post("/api/auth/nonce")
        now = datetime.fromtimestamp(self.clock(), UTC)
        message = siwe_message(account, body["data"]["nonce"], now)
        status, body = await self.connect(account, message)
        assert status == 200, body
        return dict(body["data"])

    async def connect(
        self, account: LocalAccount, message: str, signature: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        signed = account.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
        return await self.post(
            "/api/auth/connect",
            {
                "walletAddress": account.address,
                "message": message,
                "signature": signature or signed,
                **more,
            },
        )


def headers_of(session: dict[str, Any]) -> dict[str, str]:
    """What a client with this session sends."""
    return {"Authorization": f"Bearer {session['token']}"}


def siwe_message(
    account: LocalAccount, nonce: str, now: datetime | None = None, **fields: Any
) -> str:
    """A good EIP-4361 message; each field can be replaced, None leaves its line out."""
    now = now or datetime.now(UTC)
    values: dict[str, Any] = {
        "domain": "risecurve.example",
        "address": account.address,
        "statement": "Trade on risecurve.",
        "URI": PUBLIC_URL,
        "Version": "1",
        "Chain ID": 11155931,
        "Nonce": nonce,
        "Issued At": stamp(now),
        "Expiration Time": stamp(now + timedelta(minutes=5)),
        "Not Before": None,
    }
    values |= {name.replace("_", " "): value for name, value in fields.items()}
    head = f"{values.pop('domain')} wants you to sign in with your Ethereum account:"
    address, statement = values.pop("address"), values.pop("statement")
    words = [] if statement is None else [statement]
    lines = [f"{name}: {value}" for name, value in values.items() if value is not None]
    return "\n".join([head, address, "", *words, "", *lines])


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@asynccontextmanager
async def open_door(
    *,
    stores: dict[str, Any] | None = None,
    clock: Callable[[], float] = time.time,
    **fields: Any,
) -> AsyncIterator[Door]:
    """A gateway with two markets, each with a trade in it. `stores` replace fakes."""
    scenario, markets, reads, node = Scenario(), FakeMarkets(), FakeReads(), FakeNode()
    tokens = [scenario.launch("tide"), scenario.launch("crane", LINEAR)]
    markets.take(scenario)
    for token in tokens:
        scenario.buy(token, 10**17)
    markets.take(scenario)
    reads.records = {
        token: token_record(token, name, updated_at=int(time.time()))
        for token, name in zip(tokens, ("Tide", "Crane"), strict=True)
    }
    ports = {
        "reads": reads,
        "market_reads": FakeMarketReads(),
        "documents": FakeDocuments(),
        "media": FakeMedia(),
        "people": FakePeople(),
        "sessions": FakeSessions(),
        **dict.fromkeys(("audit", "referrals", "api_keys", "points", "point_days", "replays")),
        "uncounted": None,
        "nonces": FakeNonces(),
        "rates": FakeRates(),
        "ticks": FakeTicks(),
        "bridge": None,
        "replicas": None,
        "log": FakeSink(),
    } | (stores or {})
    log = ports["log"]
    handed = {name: port for name, port in ports.items() if name != "log"}
    gateway = ApiGateway(
        settings=settings(**fields),
        chain=chain_settings.settings(),
        sepolia=None,
        ports=Ports(
            markets=markets,
            node=node,
            verify_message=partial(verify_message, accounts=None),
            **handed,  # type: ignore[arg-type]
        ),
        log=log,  # type: ignore[arg-type]
        clock=clock,
    )
    await gateway.start()
    await gateway.ready()
    try:
        async with aiohttp.ClientSession() as session:
            yield Door(
                gateway=gateway,
                session=session,
                markets=markets,
                scenario=scenario,
                tokens=tokens,
                node=node,
                clock=clock,
                **ports,  # type: ignore[arg-type]
            )
    finally:
        await gateway.stop()


def signed_transaction(account: LocalAccount, **fields: Any) -> str:
    """A raw type-2 transaction of our chain to our launchpad."""
    values: dict[str, Any] = {
        "to": "0x" + chain_settings.LAUNCHPAD.hex(),
        "data": "0x",
        "value": 0,
        "chainId": 11155931,
        "gas": 300_000,
        "maxFeePerGas": 2_000_000_000,
        "maxPriorityFeePerGas": 1_000_000,
        "nonce": 0,
        "type": 2,
    }
    signed = account.sign_transaction(values | fields)
    return str(signed.raw_transaction.to_0x_hex())
