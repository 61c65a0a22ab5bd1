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
from actors.host import Context, Role
from actors.keeper import Keeper
from actors.listener import ChainListener
from actors.markets import Markets
from actors.points import PointsLedger
from actors.reconciler import Reconciler
from actors.recorder import Recorder
from actors.shard import TokenShard
from actors.supervisor import Supervisor
from chain import lens, transactions
from chain.decode import TOPICS, Decoder
from chain.failover import Endpoint, FailoverRpc
from chain.sender import Node
from chain.signatures import verify_message
from chain.source import ChainSource
from chain.strangers import Strangers
from chain.stream import LiveStreams
from deploy import logs
from engine.control import Directory, Drain, Feed, Follow, StatusWanted, Unfollow
from engine.messages import FeedBatch, FeedPosition
from engine.points import rules
from engine.settings import Settings
from gateway.api import ApiGateway
from gateway.ports import Ports
from storage import documents as documents_store
from storage import postgres, valkey
from storage.analytics import Analytics
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.buckets import BucketStore
from storage.cache import RowCache
from storage.cached import CachedDocuments, CachedReads
from storage.events import EventStore
from storage.market_reads import MarketReads
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

FEED_TIMEOUT_S = 10.0
KEEPER_WAIT_BLOCKS = 3.0
"""Then its transaction is offered again for more."""
RECORDER_NICE = 5
"""On a small machine history yields the processor to quotes and ticks."""


def slots(settings: Settings) -> dict[str, str]:
    """Every place to fill and its role."""
    shards = {f"shard-{index}": "shard" for index in range(settings.actors.shards)}
    return {
        "recorder": "recorder",
        "listener": "listener",
        **shards,
        "gateway-0": "gateway",
        "keeper": "keeper",
        "auditor": "auditor",
        "points": "points",
        "analytics": "analytics",
    }


async def supervisor(context: Context) -> Role:
    """Looks after all other roles."""
    settings, log = context.settings, _log(context)
    pool = await _pool(settings, size=2)
    built = Supervisor(
        slots=slots(settings),
        settings=settings.actors,
        launcher=context.launcher,
        owners=BucketStore(pool, settings.rise.chain_id),
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

    async def send(consumer: str, group: str, batch: FeedBatch) -> FeedPosition:
        message = Feed(group, batch)
        answer = await context.calls.ask(consumer, message, timeout_s=FEED_TIMEOUT_S)
        assert isinstance(answer, FeedPosition)
        return answer

    async def follow(message: Follow) -> None:
        built.subscribe(
            f"{message.consumer}:{message.group}",
            partial(send, message.consumer, message.group),
            message.buckets,
            position=message.position,
            trail=message.trail,
        )

    async def drain(_message: Drain) -> None:
        await built.stop()
        await node.close()

    async def unfollow(message: Unfollow) -> None:
        built.unsubscribe(f"{message.consumer}:{message.group}")

    handlers: dict[type, Callable[[Any], Any]] = {
        Follow: follow,
        Unfollow: unfollow,
        Directory: lambda _: None,
        StatusWanted: lambda _: {
            **built.status(),
            "node": node.status(),
            "shreds_refused": streams.shreds_refused,
            **source.status(),
        },
        Drain: drain,
    }
    return Role(handlers=handlers, run=built.run, log=log)


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
    built = PointsLedger(
        rules=rules.ours(),
        outbox=Outbox(await _pool(settings, size=1), chain_id),
        ledger=ledger,
        days=days,
        place=Counted,
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)


async def analytics(context: Context) -> Role:
    """Rolling figures of tokens, traders and the platform; old price history is thinned."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, _log(context)
    pool, chain_id = await _pool(settings, size=1), settings.rise.chain_id
    built = Analyst(
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
    return Role(handlers=built.handlers, run=built.run, log=log)


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
        people=people,
        sessions=sessions,
        audit=Audit(database),
        referrals=referrals,
        api_keys=api_keys,
        points=PointReads(database, settings.rise.chain_id),
        point_days=PointDays(database),
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


Factory = Callable[[Context], Awaitable[Role]]


async def _forever() -> None:
    await asyncio.Event().wait()


def _log(context: Context) -> Any:
    logs.hide(context.settings.gateway.jwt_secret)
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
