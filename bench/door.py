"""`python -m bench.door`: the real REST door over real stores, for `rest_reads`.

Markets answer from memory without Ray, people and sessions are empty, the node is away: what is
measured is the way from a request to Postgres, Redis and MongoDB and back.
"""

import argparse
import asyncio
import hashlib
import json
import signal
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from actors import collecting
from bench.history import CHAIN_ID
from chain.signatures import verify_message
from engine.messages import AsOf, MarketView, Refusal
from gateway.api import ApiGateway
from gateway.ports import Ports
from storage import documents, postgres, valkey
from storage.cache import RowCache
from storage.cached import CachedDocuments, CachedReads
from storage.market_reads import MarketReads
from storage.rates import RateLimits
from tests.support import chain_settings
from tests.support.fakes import (
    FakeMarkets,
    FakeNode,
    FakeNonces,
    FakePeople,
    FakeSessions,
    FakeSink,
    FakeTicks,
)
from tests.support.gateway import settings
from tests.support.scenario import CONSTANT_PRODUCT


class EveryMarket(FakeMarkets):
    """A market for every token that is asked for."""

    async def views(self, tokens: Sequence[bytes]) -> list[MarketView | Refusal]:
        return [_view(token) for token in tokens]


async def serve(*, database_url: str, mongodb_url: str, redis_url: str, cached: bool) -> None:
    """Prints its port, then serves until SIGTERM."""
    pool = await postgres.connect(database_url, size=10)
    replica = await postgres.connect(database_url, size=6)
    database = documents.database(documents.connect(mongodb_url))
    redis = valkey.connect(redis_url if cached else "redis://127.0.0.1:1")
    cache = RowCache(redis)
    node = FakeNode()
    node.down = True
    absent: dict[str, Any] = dict.fromkeys(
        ("audit", "referrals", "api_keys", "points", "point_days", "replays", "media", "uncounted")
    )
    ports = Ports(
        markets=EveryMarket(),
        reads=CachedReads(pool, CHAIN_ID, cache),
        market_reads=MarketReads(replica, CHAIN_ID),
        documents=CachedDocuments(database, cache),
        people=FakePeople(),  # type: ignore[arg-type]
        sessions=FakeSessions(),  # type: ignore[arg-type]
        nonces=FakeNonces(),
        rates=RateLimits(valkey.connect(redis_url)),
        ticks=FakeTicks(),
        node=node,
        verify_message=partial(verify_message, accounts=None),
        **absent,
    )
    gateway = ApiGateway(
        settings=settings(reads_per_minute=10**9),
        chain=chain_settings.settings(),
        sepolia=None,
        ports=ports,
        log=FakeSink(),
    )
    await gateway.start()
    settling = asyncio.create_task(collecting.keep_settling())
    print(gateway.port, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    print(json.dumps({**cache.status(), "cpu_s": round(time.process_time(), 2)}), flush=True)
    settling.cancel()
    await gateway.stop()


def _view(token: bytes) -> MarketView:
    price = 10**24 + int.from_bytes(hashlib.sha256(token).digest()[:4], "big")
    as_of = AsOf(1, bytes(32), 0, "sealed", (1, 1))
    supply = CONSTANT_PRODUCT.curve_supply
    return MarketView(token, "curve", 0, 10**21, 10**15, supply, price, price // 10**9, 1, as_of, 0)


def main() -> None:
    """Arguments: URLs of the stores, and `--uncached`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database_url")
    parser.add_argument("mongodb_url")
    parser.add_argument("redis_url")
    parser.add_argument("--uncached", action="store_true")
    asked = parser.parse_args()
    work = serve(
        database_url=asked.database_url,
        mongodb_url=asked.mongodb_url,
        redis_url=asked.redis_url,
        cached=not asked.uncached,
    )
    try:
        import uvloop  # noqa: PLC0415 (as the actors' processes have it)

        uvloop.run(work)
    except ImportError:
        asyncio.run(work)


if __name__ == "__main__":
    main()
