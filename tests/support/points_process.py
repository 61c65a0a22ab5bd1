"""The points ledger in a process of its own, to be killed: `python -m
tests.support.points_process POSTGRES MONGODB`.
"""

import asyncio
import sys

from actors import points
from actors.points import PointsLedger
from engine.points.rules import RuleBook, Season, ours
from storage import documents, postgres
from storage.outbox import Outbox
from storage.point_days import PointDays
from storage.points import Counted, PointsStore
from tests.support.fakes import FakeSink
from tests.support.scenario import CHAIN_ID

SEASON = Season("one", 1_767_139_200, 1_798_761_600, 10**9)


async def main(postgres_url: str, mongodb_url: str) -> None:
    """Count until killed; small batches, so that there is much to die in."""
    points.BATCH, points.IDLE_S = 5, 0.01
    pool = await postgres.connect(postgres_url, size=1)
    database = documents.database(documents.connect(mongodb_url))
    store = PointsStore(database, CHAIN_ID)
    await store.claim()
    ledger = PointsLedger(
        rules=RuleBook((SEASON,), ours().versions),
        outbox=Outbox(pool, CHAIN_ID),
        ledger=store,
        days=PointDays(database),
        place=Counted,
        log=FakeSink(),
    )
    print("counting", flush=True)
    await ledger.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
