"""Real servers for tests: each starts once a session, at its first use.

Databases are fresh for every test. `anvil` is one automining chain for the whole session;
`make_anvil` gives a test chains of its own (a start takes a tenth of a second).
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pymongo
import pytest
import redis

from deploy import datadir
from deploy.embedded import Embedded, rpc

RISE = 11155931
MNEMONIC = "test test test test test test test test test test test junk"


@dataclass(frozen=True, slots=True)
class Anvil:
    """A local chain. `keys()` are private keys of its funded accounts (10,000 ETH each)."""

    rpc_url: str
    ws_url: str
    chain_id: int
    pid: int

    def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call, blocking."""
        return rpc(self.rpc_url, method, *params)

    @staticmethod
    @cache
    def keys(count: int = 10) -> tuple[bytes, ...]:
        """The first `count` (at most 10) private keys."""
        from eth_account import Account

        Account.enable_unaudited_hdwallet_features()
        paths = [f"m/44'/60'/0'/0/{index}" for index in range(count)]
        return tuple(
            bytes(Account.from_mnemonic(MNEMONIC, account_path=path).key) for path in paths
        )


@pytest.fixture(scope="session")
def servers() -> Iterator[Embedded]:
    """The session's servers; what is asked of it is started by the fixtures below."""
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        yield embedded


@pytest.fixture(scope="session")
def postgres_server_url(servers: Embedded) -> str:
    """The session's Postgres; use `postgres_url` for a database of the test's own."""
    return servers.start_postgres()


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """An empty database, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    _in_thread(execute(postgres_server_url, f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(postgres_server_url)._replace(path=f"/{name}"))
    _in_thread(execute(postgres_server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def mongodb_server_url(servers: Embedded) -> str:
    """The session's MongoDB; use `mongodb_url` for a database of the test's own."""
    return servers.start_mongod()


@pytest.fixture
def mongodb_url(mongodb_server_url: str) -> Iterator[str]:
    """A URL that names an empty database (`client.get_default_database()`), dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    yield urlunsplit(urlsplit(mongodb_server_url)._replace(path=f"/{name}"))
    with pymongo.MongoClient[dict[str, Any]](mongodb_server_url, timeoutMS=10_000) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def redis_server_url(servers: Embedded) -> str:
    """The session's Valkey; use `redis_url`, which is empty at the start of each test."""
    return servers.start_valkey()


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server_url, socket_timeout=10) as client:
        client.flushall()
    return redis_server_url


@pytest.fixture(scope="session")
def anvil(servers: Embedded) -> Anvil:
    """The session's chain: mines at once, shared by all tests, keeps nothing."""
    rpc_url, ws_url = servers.start_anvil(RISE, block_time=None, keep_state=False)
    return Anvil(rpc_url, ws_url, RISE, servers.pid(f"anvil-{RISE}"))


@pytest.fixture
def make_anvil() -> Iterator[Callable[..., Anvil]]:
    """`make_anvil(chain_id, block_time=…, …)`: chains of the test's own, stopped afterwards."""
    started: list[Embedded] = []

    def make(chain_id: int = RISE, **options: Any) -> Anvil:
        embedded = Embedded(root / str(len(started)), durable=False)
        started.append(embedded)
        rpc_url, ws_url = embedded.start_anvil(chain_id, **{"keep_state": False} | options)
        return Anvil(rpc_url, ws_url, chain_id, embedded.pid(f"anvil-{chain_id}"))

    with datadir.temporary() as root:
        yield make
        for embedded in started:
            embedded.stop()


async def execute(url: str, statement: str) -> None:
    """One statement, or several, on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _in_thread(work: Coroutine[Any, Any, None]) -> None:
    # The test's own event loop may be set on this thread already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result(timeout=60)
