"""Compares memory and history with the chain: auditor and reconciler in one process."""

import asyncio
import os
import random
from functools import partial
from typing import Any

from actors.auditor import Auditor
from actors.host import Context, Role
from actors.reconciler import Reconciler
from chain import lens
from chain.decode import Decoder
from chain.source import ChainSource
from deploy.adapters.log import log_of
from deploy.adapters.nodes import nodes_of
from deploy.adapters.postgres import pool_of
from deploy.roles import RECORDER_NICE
from engine.control import StatusWanted
from storage.events import EventStore


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, log_of(context)
    rise = settings.rise
    node = nodes_of(settings, log)
    source = ChainSource(node, rise, warn=log.warning)
    store = EventStore(await pool_of(settings, size=2), rise.chain_id)
    audits = Auditor(
        chain=rise,
        looks_per_s=settings.actors.audit_looks_per_s,
        heads=source,
        contracts=partial(lens.state_rows, node, rise.launchpads),
        launches=store,
        calls=context.calls,
        log=log,
    )
    reconciles = Reconciler(
        chain=rise,
        pause_s=settings.actors.reconcile_pause_s,
        source=source,
        decoder_of=partial(Decoder, rise),
        recorded=store,
        log=log,
        dice=random.Random(),
    )

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(audits.run())
            tasks.create_task(reconciles.run())

    def status(message: StatusWanted) -> dict[str, Any]:
        both = (audits.handlers[StatusWanted], reconciles.handlers[StatusWanted])
        return {name: value for ask in both for name, value in ask(message).items()}

    handlers = {**audits.handlers, StatusWanted: status}
    return Role(handlers=handlers, run=run, log=log)
