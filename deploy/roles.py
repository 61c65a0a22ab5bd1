"""The composition root: which adapters each role is built from. Nothing else names them.

Each factory gets a `Context` and answers with a built `Role`; it returns when the role is
ready, ports bound. A failing factory fails the start of the actor.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from actors.analyst import Analyst
from actors.auditor import Auditor
from actors.cleaner import Cleaner
from actors.handles import ROLES
from actors.host import Context, Role
from actors.keeper import Keeper
from actors.listener import ChainListener
from actors.points import PointsLedger
from actors.reconciler import Reconciler
from actors.recorder import Recorder
from actors.shard import TokenShard
from actors.supervisor import Supervisor
from actors.sweeper import Sweeper
from chain import lens, transactions
from chain.decode import TOPICS, Decoder
from chain.sender import Node
from chain.source import ChainSource
from chain.stream import LiveStreams
from deploy import bridge_endpoints, bridge_slots, logs
from deploy.adapters import (
    log_of,
    media_of,
    mongo_of,
    nodes_of,
    pool_of,
    states_of,
    ticks_of,
)
from deploy.feeding import feeding
from engine import placement
from engine.control import Drain, StatusWanted, Wanted
from engine.points import rules
from engine.settings import Settings
from storage import bridge_outbox
from storage import outbox as outbox_store
from storage.analytics import Analytics
from storage.bridge_outbox import BridgeOutbox
from storage.buckets import BucketStore
from storage.documents import Documents
from storage.events import EventStore
from storage.launched import Launched
from storage.outbox import Outbox
from storage.point_days import PointDays
from storage.points import Counted, PointsStore
from storage.snapshots import SnapshotStore
from storage.thinning import DAY_S, Thinning
from storage.wanted import WantedStore

KEEPER_WAIT_BLOCKS = 3.0
"""Then its transaction is offered again for more."""
RECORDER_NICE = 10
"""On a small machine history yields the processor to quotes and ticks."""


def slots(settings: Settings, wanted: Wanted) -> dict[str, str]:
    """Every place to fill and its role."""
    return {
        "recorder": "recorder",
        "listener": "listener",
        **placement.scaled(wanted, streams="stream_gateway" in ROLES),
        "keeper": "keeper",
        "auditor": "auditor",
        "points": "points",
        "analytics": "analytics",
        **bridge_slots.slots(settings),
    }


async def supervisor(context: Context) -> Role:
    """Looks after all other roles."""
    settings, log = context.settings, log_of(context)
    if bridge_slots.refusal(settings):
        log.warning("bridge_not_started", reason=bridge_slots.refusal(settings))
    elif bridge_endpoints.alone(settings):
        log.warning("bridge_trusts_one_endpoint", reason=bridge_endpoints.alone(settings))
    pool = await pool_of(settings, size=2)
    chain_id, actors = settings.rise.chain_id, settings.actors
    first = Wanted(actors.shards, actors.gateways, actors.stream_gateways)
    built = Supervisor(
        slots=partial(slots, settings),
        settings=actors,
        launcher=context.launcher,
        owners=BucketStore(pool, chain_id),
        wanted=WantedStore(pool, chain_id, first),
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)


async def shard(context: Context) -> Role:
    """Owns buckets of markets."""
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=4)
    chain_id = settings.rise.chain_id
    built = TokenShard(
        name=context.name,
        chain=settings.rise,
        settings=settings.actors,
        buckets=BucketStore(pool, chain_id),
        snapshots=SnapshotStore(pool, chain_id),
        events=EventStore(pool, chain_id),
        ticks=ticks_of(settings),
        states=states_of(settings),
        calls=context.calls,
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log, owners=lambda: built.owners)


async def recorder(context: Context) -> Role:
    """Writes history."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=4)
    built = Recorder(
        name=context.name,
        chain=settings.rise,
        history=EventStore(pool, settings.rise.chain_id),
        receipts=Node(nodes_of(settings, log), settings.rise),
        calls=context.calls,
        log=log,
    )
    await built.start()
    return Role(handlers=built.handlers, run=built.run, log=log)


async def listener(context: Context) -> Role:
    """Follows the RISE chain from the recorder's cursor."""
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=2)
    store = EventStore(pool, settings.rise.chain_id)
    position = await store.position()  # before the tokens: one recorded in between is in both
    node = nodes_of(settings, log)
    source = ChainSource(node, settings.rise, warn=log.warning)
    streams = LiveStreams(lambda: node.ws_url, TOPICS, timeout_s=settings.rise.rpc_timeout_s)
    built = ChainListener(
        chain=settings.rise,
        source=source,
        stream_factory=streams,
        decoder=Decoder(settings.rise, await store.tokens(), await store.pairs()),
        log=log,
    )
    await built.start(position)

    def status() -> dict[str, Any]:
        return {
            "node": node.status(),
            "shreds_refused": streams.shreds_refused,
            **source.status(),
        }

    return feeding(built, context.calls, log, status=status, close=node.close)


async def keeper(context: Context) -> Role:
    """Opens the pools of sold-out markets."""
    settings, log = context.settings, log_of(context)
    logs.hide(settings.keeper.private_key)
    rise = settings.rise
    node = Node(nodes_of(settings, log), rise)
    payer = None
    if settings.keeper.private_key:
        from chain.payer import Payer  # noqa: PLC0415 (30 MB that this role alone needs)

        payer = Payer(
            node,
            private_key=settings.keeper.private_key,
            chain_id=rise.chain_id,
            wait_s=KEEPER_WAIT_BLOCKS * rise.block_time_s,
        )
    built = Keeper(
        chain=rise,
        store=EventStore(await pool_of(settings, size=1), rise.chain_id),
        node=node,
        payer=payer,
        graduate=lambda token: transactions.graduate(token=token),
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)


async def auditor(context: Context) -> Role:
    """Compares memory and history with the chain: auditor and reconciler in one process."""
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


async def points(context: Context) -> Role:
    """Counts points and shares of fees from what is final."""
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


async def analytics(context: Context) -> Role:
    """Work on a schedule: rolling figures, old candles, and what no token came of."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, log_of(context)
    pool, chain_id = await pool_of(settings, size=2), settings.rise.chain_id
    figures = Analyst(
        figures=Analytics(pool, chain_id),
        candles=Thinning(
            pool,
            chain_id,
            minutes_s=settings.actors.candle_minutes_days * DAY_S,
            hours_s=settings.actors.candle_hours_days * DAY_S,
        ),
        interval_s=settings.actors.analytics_interval_s,
        log=log,
    )
    documents = Documents(mongo_of(settings))
    await documents.prepare()
    cleaner = Cleaner(
        launched=Launched(pool, settings.rise.chain_id),
        documents=documents,
        media=media_of(settings),
        document_kept_s=settings.media.document_kept_s,
        image_kept_s=settings.media.image_kept_s,
        log=log,
    )

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(figures.run())
            tasks.create_task(cleaner.run())

    both = (figures.handlers, cleaner.handlers)

    def status(message: StatusWanted) -> dict[str, Any]:
        return {name: value for one in both for name, value in one[StatusWanted](message).items()}

    def drain(message: Drain) -> None:
        for one in both:
            one[Drain](message)

    handlers: dict[type, Callable[[Any], Any]] = {
        **figures.handlers,
        StatusWanted: status,
        Drain: drain,
    }
    return Role(handlers=handlers, run=run, log=log)


Factory = Callable[[Context], Awaitable[Role]]
