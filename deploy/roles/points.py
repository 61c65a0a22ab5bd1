"""Counts points and shares of fees from what is final."""

import asyncio
import os
from typing import Any

from actors.host import Context, Role
from actors.points import PointsLedger
from actors.sweeper import Sweeper
from deploy.adapters.log import log_of
from deploy.adapters.mongo import mongo_of
from deploy.adapters.postgres import pool_of
from deploy.roles import RECORDER_NICE
from engine.control import StatusWanted
from engine.points import rules
from storage import bridge_outbox
from storage import outbox as outbox_store
from storage.bridge_outbox import BridgeOutbox
from storage.outbox import Outbox
from storage.point_days import PointDays
from storage.points import Counted, PointsStore


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, log_of(context)
    database = mongo_of(settings)
    chain_id = settings.rise.chain_id
    ledger, days = PointsStore(database, chain_id), PointDays(database)
    await asyncio.gather(ledger.prepare(), days.prepare())
    await ledger.claim()
    pool = await pool_of(settings, size=2)
    outbox, transfers = Outbox(pool, chain_id), BridgeOutbox(pool)
    built = PointsLedger(
        rules=rules.ours(),
        outbox=outbox,
        ledger=ledger,
        days=days,
        place=Counted,
        log=log,
        transfers=transfers,
    )

    async def counted() -> int:
        return (await ledger.counted()).block

    sweepers = [
        Sweeper(outbox=outbox, consumers={outbox_store.POINTS: counted}, log=log),
        Sweeper(outbox=transfers, consumers={bridge_outbox.POINTS: ledger.bridged}, log=log),
    ]

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            sweeping = [tasks.create_task(one.run()) for one in sweepers]
            await built.run()
            for task in sweeping:
                task.cancel()

    def status(message: StatusWanted) -> dict[str, Any]:
        swept = sum(one.swept for one in sweepers)
        return {**built.handlers[StatusWanted](message), "outbox_swept": swept}

    return Role(handlers={**built.handlers, StatusWanted: status}, run=run, log=log)
