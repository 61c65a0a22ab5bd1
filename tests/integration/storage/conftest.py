"""Stores on the session's real servers. One migrated database, emptied before each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import asyncpg
import pytest

from storage import documents, postgres, valkey
from storage.analytics import Analytics
from storage.buckets import BucketStore
from storage.documents import Documents
from storage.events import EventStore
from storage.market_reads import MarketReads
from storage.people import People
from storage.reads import Reads
from storage.sessions import Sessions
from storage.snapshots import SnapshotStore
from tests.support.scenario import CHAIN_ID
from tests.support.servers import execute

DATABASE = "storage"


@pytest.fixture(scope="session")
def database_url(postgres_server_url: str) -> str:
    """The migrated database."""
    url = urlsplit(postgres_server_url)._replace(path=f"/{DATABASE}").geturl()

    async def make() -> None:
        await execute(postgres_server_url, f"CREATE DATABASE {DATABASE}")
        pool = await postgres.connect(url)
        await postgres.migrate(pool)
        await pool.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result(timeout=60)
    return url


@pytest.fixture
async def bare_pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a fresh database without our schema."""
    pool = await postgres.connect(postgres_url)
    yield pool
    pool.terminate()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await postgres.connect(database_url)
    async with postgres.session(pool) as connection:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
        )
        await connection.execute(f"TRUNCATE {', '.join(row[0] for row in tables)}")
    yield pool
    pool.terminate()


@pytest.fixture
def events(pool: asyncpg.Pool) -> EventStore:
    return EventStore(pool, CHAIN_ID)


@pytest.fixture
def reads(pool: asyncpg.Pool) -> Reads:
    return Reads(pool, CHAIN_ID)


@pytest.fixture
def analytics(pool: asyncpg.Pool) -> Analytics:
    return Analytics(pool, CHAIN_ID)


@pytest.fixture
def market_reads(pool: asyncpg.Pool) -> MarketReads:
    return MarketReads(pool, CHAIN_ID)


@pytest.fixture
def buckets(pool: asyncpg.Pool) -> BucketStore:
    return BucketStore(pool, CHAIN_ID)


@pytest.fixture
def snapshots(pool: asyncpg.Pool) -> SnapshotStore:
    return SnapshotStore(pool, CHAIN_ID)


@pytest.fixture
async def people(mongodb_url: str) -> AsyncIterator[People]:
    client = documents.connect(mongodb_url)
    store = People(documents.database(client))
    await store.prepare()
    yield store
    await client.close()


@pytest.fixture
async def token_documents(mongodb_url: str) -> AsyncIterator[Documents]:
    client = documents.connect(mongodb_url)
    store = Documents(documents.database(client))
    await store.prepare()
    yield store
    await client.close()


@pytest.fixture
async def sessions(
    mongodb_url: str, redis: valkey.Redis, namespace: str
) -> AsyncIterator[Sessions]:
    client = documents.connect(mongodb_url)
    store = Sessions(documents.database(client), redis, namespace=namespace)
    await store.prepare()
    yield store
    await client.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[valkey.Redis]:
    client = valkey.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def namespace() -> str:
    """Keys of this test only."""
    return f"test:{secrets.token_hex(6)}"
