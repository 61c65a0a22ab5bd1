"""One real shard in an actor of its own, with markets that it recovers from Postgres.

The bench plays the others: it gives the buckets, and says twice a second that the head stands, as
the listener does. Nobody trades. Importing this imports Ray, whose environment is to be prepared
before (`deploy.ray_environment`).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from actors import handles
from actors.markets import Markets
from engine.control import Directory, Feed, Instance, Take
from engine.errors import TransientError
from engine.limits import BUCKETS
from engine.messages import FeedBatch, FeedPosition, Finalised
from engine.settings import Settings
from tests.support.fake_roles import Log
from tests.support.scenario import CHAIN_ID

BEAT_S = 1.0
TAKE_TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """`memory_bytes`: what the process grew by while it recovered."""

    markets: Markets
    recovered_s: float
    memory_bytes: int


@asynccontextmanager
async def loaded(settings: Settings, position: FeedPosition) -> AsyncIterator[Loaded]:
    """A shard that serves; its process ends with the context. Ray runs already."""
    cluster = handles.Cluster(settings)
    one = await cluster.launch("shard-0", "shard")
    try:
        before = _rss(one)
        began = time.monotonic()
        taking = asyncio.create_task(
            cluster.ask(one.name, Take(frozenset(range(BUCKETS))), timeout_s=TAKE_TIMEOUT_S)
        )
        beating = asyncio.create_task(_beat(cluster, one, position))
        try:
            taken = await taking
            recovered_s = time.monotonic() - began
            memory = _rss(one) - before
            client = Markets(cluster, Log())
            client.route(Directory(1, (one,), taken.owners))
            yield Loaded(client, recovered_s, memory)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
    finally:
        await cluster.kill(one)


async def _beat(cluster: handles.Cluster, one: Instance, position: FeedPosition) -> None:
    # To its first group, which it knows of once it has recovered.
    head = Finalised(CHAIN_ID, position.number)
    batch = FeedBatch(CHAIN_ID, position, (head,), position.number)
    while True:
        with contextlib.suppress(TransientError):
            await cluster.ask(one.name, Feed(f"{one.name}/1", batch), timeout_s=BEAT_S)
        await asyncio.sleep(BEAT_S / 2)


def _rss(one: Instance) -> int:
    return int(psutil.Process(one.pid).memory_info().rss)
