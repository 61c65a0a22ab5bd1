"""Databases with snapshots of so many markets, as a shard leaves them, for `bench.tokens`."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.rates import recorded, recorder_of
from engine import snapshot
from engine.buckets import bucket_of
from engine.group import Group
from engine.limits import BUCKETS
from engine.market import Market
from engine.messages import Block, FeedBatch, FeedPosition
from engine.settings import (
    ActorSettings,
    GatewaySettings,
    LogSettings,
    Settings,
    StoreSettings,
)
from storage import postgres
from storage.buckets import BucketStore
from storage.events import EventStore
from storage.snapshots import SnapshotStore
from tests.support import chain_settings
from tests.support.scenario import CHAIN_ID, Scenario

REDIS_KEYSPACES = 15
SEED = 7
TRADES_MAX = 30
"""What the markets saw before: values of the sizes that real ones have."""


def settings_of(*, folder: Path, database_url: str, redis_url: str) -> Settings:
    """Of an actor that needs no node and no MongoDB."""
    stores = StoreSettings(
        database_url=database_url, database_read_url="", mongodb_url="", redis_url=redis_url
    )
    return Settings(
        app_env="test",
        data_dir=str(folder),
        rise=replace(chain_settings.settings(), chain_id=CHAIN_ID),
        sepolia=None,
        stores=stores,
        actors=ActorSettings(),
        gateway=GatewaySettings(jwt_secret="of no door"),
        logs=LogSettings(level="error"),
    )


async def apart(settings: Settings, size: int) -> Settings:
    """The same with an empty database of its own, and keys of Redis of its own."""
    stores, name = settings.stores, f"tokens_{size}"
    connection = await asyncpg.connect(stores.database_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        redis = 1 + await connection.fetchval("SELECT count(*) FROM pg_database") % REDIS_KEYSPACES
    finally:
        await connection.close()
    stores = replace(
        stores,
        database_url=_with_path(stores.database_url, name),
        redis_url=_with_path(stores.redis_url, str(redis)),
    )
    return replace(settings, stores=stores)


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


async def fill(database_url: str, tokens: Sequence[bytes]) -> FeedPosition:
    """A migrated database whose cursor stands at a block with a snapshot of all these markets."""
    pool = await postgres.connect(database_url, size=4)
    try:
        await postgres.migrate(pool)
        store = EventStore(pool, CHAIN_ID)
        recorder = recorder_of(store)
        await recorder.start()
        position = await store.position()
        if position.number < 0:
            position = await recorded(recorder, position, [Scenario().seal()])
        incarnations = await BucketStore(pool, CHAIN_ID).take("bench", range(BUCKETS))
        pages: dict[int, list[Market]] = {bucket: [] for bucket in range(BUCKETS)}
        for market in markets(tokens):
            pages[bucket_of(market.token)].append(market)
        snapshots = SnapshotStore(pool, CHAIN_ID)
        for bucket, page in pages.items():
            await snapshots.save(
                bucket=bucket,
                incarnation=incarnations[bucket],
                block_number=position.number,
                block_hash=position.hash,
                schema=snapshot.SCHEMA,
                payload=snapshot.to_bytes(page),
            )
    finally:
        await pool.close()
    return position


def tokens_of(count: int) -> list[bytes]:
    """The addresses of so many markets; fewer are the first of more."""
    return [hashlib.sha256(b"token %d" % number).digest()[:20] for number in range(count)]


def markets(tokens: Sequence[bytes]) -> list[Market]:
    """One for each, of different states that trades led to."""
    patterns = _patterns()
    dice = random.Random(SEED)
    return [
        replace(
            dice.choice(patterns),
            token=token,
            creator=hashlib.sha256(b"creator" + token).digest()[:20],
            pair=hashlib.sha256(b"pair" + token).digest()[:20],
        )
        for token in tokens
    ]


def _patterns() -> list[Market]:
    scenario = Scenario(seed=SEED)
    blocks: list[Block] = []
    for name in ("a", "b", "c", "d"):
        scenario.launch(name)
    for _ in range(TRADES_MAX):
        scenario.trade_at_random(4)
        blocks.append(scenario.seal())
    group = Group("patterns", dict.fromkeys(range(BUCKETS), 1), reorg_depth=TRADES_MAX)
    for block in blocks:
        group.apply(FeedBatch(CHAIN_ID, group.position, (block,), block.header.number))
    return [market for line in group.timelines.values() for _, market in line.confirmed]
