"""The composition root: which adapters each role is built from. Nothing else names them.

Each factory gets a `Context` and answers with a built `Role`; it returns when the role is
ready, ports bound. A failing factory fails the start of the actor.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from actors.analyst import Analyst
from actors.auditor import Auditor
from actors.cleaner import Cleaner
from actors.handles import ROLES
from actors.host import Context, Role
from actors.keeper import Keeper
from actors.listener import ChainListener
from actors.markets import Markets
from actors.points import PointsLedger
from actors.reconciler import Reconciler
from actors.recorder import Recorder
from actors.shard import TokenShard
from actors.supervisor import Supervisor
from actors.sweeper import Sweeper
from chain import lens, transactions
from chain.decode import TOPICS, Decoder
from chain.failover import Endpoint, FailoverRpc
from chain.sender import Node
from chain.signatures import verify_message
from chain.source import ChainSource
from chain.strangers import Strangers
from chain.stream import LiveStreams
from deploy import bridge, logs
from deploy.feeding import feeding
from engine import placement
from engine.control import Directory, Drain, StatusWanted, Wanted
from engine.points import rules
from engine.settings import Settings
from gateway.api import ApiGateway
from gateway.ports import Ports
from gateway.stream import StreamGateway
from gateway.stream_parts import stream_parts
from storage import documents as documents_store
from storage import outbox as outbox_store
from storage import postgres, valkey
from storage.analytics import Analytics
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.buckets import BucketStore
from storage.cache import RowCache
from storage.cached import CachedDocuments, CachedReads
from storage.documents import Documents
from storage.events import EventStore
from storage.launched import Launched
from storage.market_reads import MarketReads
from storage.media_disk import DiskMedia
from storage.nonces import Nonces
from storage.outbox import Outbox
from storage.people import People
from storage.point_days import PointDays
from storage.point_reads import PointReads
from storage.points import Counted, PointsStore
from storage.rates import RateLimits
from storage.referrals import Referrals
from storage.replays import Replays
from storage.sessions import Sessions
from storage.snapshots import SnapshotStore
from storage.thinning import DAY_S, Thinning
from storage.ticks import Ticks
from storage.uncounted import RecordedDeeds, UncountedReads
from storage.wanted import WantedStore

KEEPER_WAIT_BLOCKS = 3.0
"""Then its transaction is offered again for more."""
RECORDER_NICE = 5
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
        **bridge.slots(settings),
    }


async def supervisor(context: Context) -> Role:
    """Looks after all other roles."""
    settings, log = context.settings, _log(context)
    if bridge.refusal(settings):
        log.warning("bridge_not_started", reason=bridge.refusal(settings))
    pool = await _pool(settings, size=2)
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
    settings, log = context.settings, _log(context)
    pool = await _pool(settings, size=4)
    chain_id = settings.rise.chain_id
    built = TokenShard(
        name=context.name,
        chain=settings.rise,
        settings=settings.actors,
        buckets=BucketStore(pool, chain_id),
        snapshots=SnapshotStore(pool, chain_id),
        events=EventStore(pool, chain_id),
        ticks=_ticks(settings),
        calls=context.calls,
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log, owners=lambda: built.owners)


async def recorder(context: Context) -> Role:
    """Writes history."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, _log(context)
    pool = await _pool(settings, size=4)
    built = Recorder(
        name=context.name,
        chain=settings.rise,
        history=EventStore(pool, settings.rise.chain_id),
        receipts=Node(_nodes(settings, log), settings.rise),
        calls=context.calls,
        log=log,
    )
    await built.start()
    return Role(handlers=built.handlers, run=built.run, log=log)


async def listener(context: Context) -> Role:
    """Follows the RISE chain from the recorder's cursor."""
    settings, log = context.settings, _log(context)
    pool = await _pool(settings, size=2)
    store = EventStore(pool, settings.rise.chain_id)
    position = await store.position()  # before the tokens: one recorded in between is in both
    node = _nodes(settings, log)
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
    settings, log = context.settings, _log(context)
    logs.hide(settings.keeper.private_key)
    rise = settings.rise
    node = Node(_nodes(settings, log), rise)
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
        store=EventStore(await _pool(settings, size=1), rise.chain_id),
        node=node,
        payer=payer,
        graduate=lambda token: transactions.graduate(token=token),
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)


async def auditor(context: Context) -> Role:
    """Compares memory and history with the chain: auditor and reconciler in one process."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, _log(context)
    rise = settings.rise
    node = _nodes(settings, log)
    source = ChainSource(node, rise, warn=log.warning)
    store = EventStore(await _pool(settings, size=2), rise.chain_id)
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
    settings, log = context.settings, _log(context)
    database = _mongo(settings)
    chain_id = settings.rise.chain_id
    ledger, days = PointsStore(database, chain_id), PointDays(database)
    await asyncio.gather(ledger.prepare(), days.prepare())
    await ledger.claim()
    outbox = Outbox(await _pool(settings, size=2), chain_id)
    built = PointsLedger(
        rules=rules.ours(), outbox=outbox, ledger=ledger, days=days, place=Counted, log=log
    )

    async def counted() -> int:
        return (await ledger.counted()).block

    sweeper = Sweeper(outbox=outbox, consumers={outbox_store.POINTS: counted}, log=log)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            sweeping = tasks.create_task(sweeper.run())
            await built.run()
            sweeping.cancel()

    def status(message: StatusWanted) -> dict[str, Any]:
        return {**built.handlers[StatusWanted](message), "outbox_swept": sweeper.swept}

    return Role(handlers={**built.handlers, StatusWanted: status}, run=run, log=log)


async def analytics(context: Context) -> Role:
    """Work on a schedule: rolling figures, old candles, and what no token came of."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, _log(context)
    pool, chain_id = await _pool(settings, size=2), settings.rise.chain_id
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
    documents = Documents(_mongo(settings))
    await documents.prepare()
    cleaner = Cleaner(
        launched=Launched(pool, settings.rise.chain_id),
        documents=documents,
        media=_media(settings),
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


async def gateway(context: Context) -> Role:
    """The doors of one node: REST and Socket.IO."""
    settings, log = context.settings, _log(context)
    pool = await _pool(settings, size=10)
    replica = await _replica(settings)
    database, redis = _mongo(settings), _redis(settings)
    cache = RowCache(_redis(settings), namespace=_namespace(settings))
    documents, people = CachedDocuments(database, cache), People(database)
    sessions = Sessions(database, redis)
    referrals, api_keys = Referrals(database), ApiKeys(database)
    stores = (documents, people, sessions, referrals, api_keys)
    await asyncio.gather(*(store.prepare() for store in stores))
    markets = Markets(context.calls, log, timeout_s=settings.gateway.quote_timeout_s)
    rpc = _nodes(settings, log)
    node, strangers = Node(rpc, settings.rise), Strangers(rpc, settings.rise.chain_id)
    ports = Ports(
        markets=markets,
        reads=CachedReads(pool, settings.rise.chain_id, cache),
        market_reads=MarketReads(replica, settings.rise.chain_id, primary=pool),
        documents=documents,
        media=_media(settings),
        people=people,
        sessions=sessions,
        audit=Audit(database),
        referrals=referrals,
        api_keys=api_keys,
        points=PointReads(database, settings.rise.chain_id),
        point_days=PointDays(database),
        uncounted=UncountedReads(
            database, RecordedDeeds(replica, settings.rise.chain_id), settings.rise.chain_id
        ),
        nonces=Nonces(redis),
        replays=Replays(redis),
        rates=RateLimits(redis),
        ticks=_ticks(settings),
        node=node,
        verify_message=partial(verify_message, accounts=strangers),
    )
    built = ApiGateway(
        settings=settings.gateway,
        chain=settings.rise,
        sepolia=settings.sepolia,
        ports=ports,
        log=log,
    )
    await built.start()

    async def route(directory: Directory) -> None:
        markets.route(directory)
        built.route(directory)

    handlers: dict[type, Callable[[Any], Any]] = {
        Directory: route,
        StatusWanted: lambda _: {
            "port": built.port,
            "refused_stale": markets.refused_stale,
            **cache.status(),
        },
        Drain: lambda _: built.stop(),
    }
    return Role(handlers=handlers, run=_forever, log=log)


async def stream_gateway(context: Context) -> Role:
    """The stream door: one of the processes that share its port."""
    settings, log = context.settings, _log(context)
    database, redis = _mongo(settings), _redis(settings)
    people, sessions = People(database), Sessions(database, redis)
    markets = Markets(context.calls, log, timeout_s=settings.gateway.quote_timeout_s)
    built = StreamGateway(
        settings=settings.gateway,
        parts=stream_parts(
            settings.gateway,
            settings.rise,
            markets=markets,
            ticks=_ticks(settings),
            rates=RateLimits(redis),
            nonces=Nonces(redis),
            people=people,
            sessions=sessions,
            api_keys=ApiKeys(database),
            log=log,
        ),
    )
    await built.start()

    async def route(directory: Directory) -> None:
        markets.route(directory)
        built.route(directory)

    handlers: dict[type, Callable[[Any], Any]] = {
        Directory: route,
        StatusWanted: lambda _: built.status() | {"refused_stale": markets.refused_stale},
        Drain: lambda _: built.stop(),
    }
    return Role(handlers=handlers, run=_forever, log=log)


Factory = Callable[[Context], Awaitable[Role]]


async def _forever() -> None:
    await asyncio.Event().wait()


def _log(context: Context) -> Any:
    media = context.settings.media
    for secret in (context.settings.gateway.jwt_secret, media.key_id, media.secret_key):
        logs.hide(secret)
    logs.configure(context.settings.logs)
    return logs.get(context.role).bind(slot=context.slot)


async def _pool(settings: Settings, *, size: int) -> "postgres.Pool":
    stores = settings.stores
    return await postgres.connect(stores.database_url, size=size, timeout_s=stores.timeout_s)


async def _replica(settings: Settings) -> "postgres.Pool":
    # The doors open without it: the primary answers in its place.
    stores = settings.stores
    return await postgres.connect(
        stores.database_read_url, size=6, timeout_s=stores.timeout_s, lazy=True
    )


def _mongo(settings: Settings) -> Any:
    stores = settings.stores
    client = documents_store.connect(stores.mongodb_url, timeout_s=stores.timeout_s)
    return documents_store.database(client)


def _media(settings: Settings) -> Any:
    media = settings.media
    if not media.bucket:
        return DiskMedia(
            Path(media.directory),
            bytes_max=media.directory_bytes_max,
            timeout_s=settings.stores.timeout_s,
        )
    from storage.media_s3 import S3Media  # noqa: PLC0415 (30 MB that only a bucket needs)

    return S3Media(
        bucket=media.bucket,
        endpoint=media.endpoint,
        region=media.region,
        key_id=media.key_id,
        secret_key=media.secret_key,
        timeout_s=settings.stores.timeout_s,
    )


def _nodes(settings: Settings, log: Any) -> FailoverRpc:
    rise = settings.rise
    endpoints = [Endpoint(rise.rpc_url, rise.ws_url)]
    if rise.rpc_url_2:
        endpoints.append(Endpoint(rise.rpc_url_2, rise.ws_url_2))
    return FailoverRpc(endpoints, timeout_s=rise.rpc_timeout_s, on_switch=log.warning)


def _ticks(settings: Settings) -> Ticks:
    return Ticks(_redis(settings), namespace=_namespace(settings))


def _namespace(settings: Settings) -> str:
    # Another chain, or the same one begun anew, shares no fence, stream or row with this one.
    rise = settings.rise
    return f"{valkey.NAMESPACE}:{rise.chain_id}:{rise.genesis_hash.hex()[:8]}"


def _redis(settings: Settings) -> Any:
    return valkey.connect(settings.stores.redis_url, timeout_s=settings.stores.timeout_s)
