"""A gateway over real stores of people, with a clock that a test turns."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from eth_account import Account

from storage import documents, valkey
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.documents import Documents
from storage.nonces import Nonces
from storage.people import People
from storage.point_days import PointDays
from storage.point_reads import PointReads
from storage.rates import RateLimits
from storage.referrals import Referrals
from storage.replays import Replays
from storage.sessions import Sessions
from storage.uncounted import UncountedReads
from tests.support.gateway import Door, open_door
from tests.support.scenario import CHAIN_ID

ADMIN = Account.create()


class Clock:
    """Wall time that a test turns."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


class NothingRecorded:
    """A history without anything above what was counted."""

    async def above(self, wallets: Any, block: int, seq: int) -> tuple[tuple[()], int, bool]:
        return (), block, True


@asynccontextmanager
async def lobby(
    mongodb_url: str, redis_url: str, *, more: dict[str, Any] | None = None, **fields: Any
) -> AsyncIterator[Door]:
    """A gateway over real stores of people; `more` are other stores."""
    mongo, redis = documents.connect(mongodb_url), valkey.connect(redis_url)
    database = documents.database(mongo)
    stores: dict[str, Any] = {
        "documents": Documents(database),
        "people": People(database),
        "sessions": Sessions(database, redis),
        "audit": Audit(database),
        "referrals": Referrals(database),
        "api_keys": ApiKeys(database),
        "points": PointReads(database, CHAIN_ID),
        "uncounted": UncountedReads(database, NothingRecorded(), CHAIN_ID),
        "point_days": PointDays(database),
        "nonces": Nonces(redis),
        "replays": Replays(redis),
        "rates": RateLimits(redis),
    } | (more or {})
    for name in ("referrals", "api_keys"):
        await stores[name].prepare()
    admin = bytes.fromhex(ADMIN.address[2:])
    async with open_door(stores=stores, **({"admin_addresses": (admin,)} | fields)) as opened:
        yield opened
        assert opened.log.errors == [], opened.log.errors
    await mongo.close()
    await redis.aclose()
