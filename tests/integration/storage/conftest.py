"""A fresh database a test on the session's real servers."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.embedded import Embedded
from storage import documents, postgres, valkey
from storage.buckets import BucketStore
from storage.documents import Documents
from storage.events import EventStore
from storage.reads import Reads
from storage.snapshots import SnapshotStore
from tests.support.scenario import CHAIN_ID


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    folder = Path(tempfile.mkdtemp(prefix="storage-test-"))
    folder.chmod(0o755)
    with Embedded(folder, durable=False) as servers:
        yield servers
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(embedded: Embedded) -> str:
    return embedded.start_postgres()


@pytest.fixture(scope="session")
def mongodb_url(embedded: Embedded) -> str:
    return embedded.start_mongod()


@pytest.fixture(scope="session")
def redis_url(embedded: Embedded) -> str:
    return embedded.start_valkey()


@pytest.fixture
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """An empty database, dropped afterwards."""
    name = f"storage_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
async def bare_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await postgres.connect(database_url)
    yield pool
    pool.terminate()


@pytest.fixture
async def pool(bare_pool: asyncpg.Pool) -> asyncpg.Pool:
    await postgres.migrate(bare_pool)
    return bare_pool


@pytest.fixture
def events(pool: asyncpg.Pool) -> EventStore:
    return EventStore(pool, CHAIN_ID)


@pytest.fixture
def reads(pool: asyncpg.Pool) -> Reads:
    return Reads(pool, CHAIN_ID)


@pytest.fixture
def buckets(pool: asyncpg.Pool) -> BucketStore:
    return BucketStore(pool, CHAIN_ID)


@pytest.fixture
def snapshots(pool: asyncpg.Pool) -> SnapshotStore:
    return SnapshotStore(pool, CHAIN_ID)


@pytest.fixture
async def people(mongodb_url: str) -> AsyncIterator[Documents]:
    client = documents.connect(mongodb_url)
    name = f"storage_{secrets.token_hex(6)}"
    store = Documents(client[name])
    await store.prepare()
    yield store
    await client.drop_database(name)
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
