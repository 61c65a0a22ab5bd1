"""The points ledger in processes of their own, to be killed: `python -m
tests.support.points_process POSTGRES MONGODB` forks one for each line that it reads, when the one
before has ended.
"""

import asyncio
import os
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


def main() -> None:
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(count(*sys.argv[1:]))
        _, status = os.waitpid(child, 0)
        print(f"ended by {os.WTERMSIG(status)}", flush=True)


async def count(postgres_url: str, mongodb_url: str) -> None:
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
    print(f"counting {os.getpid()}", flush=True)
    await ledger.run()


if __name__ == "__main__":
    main()
