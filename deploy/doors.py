"""The doors' part of the composition root: apart, since no other role needs to load them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.host import Context, Role
from actors.markets import Markets
from actors.replicas import ReplicatedMarkets
from chain.sender import Node
from chain.signatures import verify_message
from chain.strangers import Strangers
from deploy.adapters.log import log_of
from deploy.adapters.media import media_of
from deploy.adapters.mongo import mongo_of
from deploy.adapters.nodes import nodes_of
from deploy.adapters.postgres import pool_of, replica_of
from deploy.adapters.redis import namespace_of, redis_of, states_of, ticks_of
from deploy.bridge_doors import bridge_ports
from engine.control import Directory, Drain, StatusWanted
from gateway.api import ApiGateway
from gateway.ports import Ports
from gateway.stream import StreamGateway
from gateway.stream_parts import stream_parts
from storage.api_keys import ApiKeys
from storage.audit import Audit
from storage.cache import RowCache
from storage.cached import CachedDocuments, CachedReads
from storage.market_reads import MarketReads
from storage.nonces import Nonces
from storage.people import People
from storage.point_days import PointDays
from storage.point_reads import PointReads
from storage.rates import RateLimits
from storage.referrals import Referrals
from storage.replays import Replays
from storage.sessions import Sessions
from storage.uncounted import RecordedDeeds, UncountedReads


async def gateway(context: Context) -> Role:
    """The doors of one node: REST and Socket.IO."""
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=10)
    replica = await replica_of(settings)
    database, redis = mongo_of(settings), redis_of(settings)
    cache = RowCache(redis_of(settings), namespace=namespace_of(settings))
    documents, people = CachedDocuments(database, cache), People(database)
    sessions = Sessions(database, redis)
    referrals, api_keys = Referrals(database), ApiKeys(database)
    stores = (documents, people, sessions, referrals, api_keys)
    await asyncio.gather(*(store.prepare() for store in stores))
    markets, replicas = _markets(context, log)
    rpc = nodes_of(settings, log)
    node, strangers = Node(rpc, settings.rise), Strangers(rpc, settings.rise.chain_id)
    ports = Ports(
        markets=markets,
        reads=CachedReads(pool, settings.rise.chain_id, cache),
        market_reads=MarketReads(replica, settings.rise.chain_id, primary=pool),
        documents=documents,
        media=media_of(settings),
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
        ticks=ticks_of(settings),
        node=node,
        verify_message=partial(verify_message, accounts=strangers),
        bridge=bridge_ports(context, pool, log),
        replicas=replicas,
    )
    built = ApiGateway(
        settings=settings.gateway,
        chain=settings.rise,
        sepolia=settings.sepolia,
        ports=ports,
        log=log,
    )
    await built.start()

    handlers = _handlers(markets, built, lambda: {"port": built.port, **cache.status()})
    return Role(handlers=handlers, run=replicas.run if replicas else _forever, log=log)


async def stream_gateway(context: Context) -> Role:
    """The stream door: one of the processes that share its port."""
    settings, log = context.settings, log_of(context)
    database, redis = mongo_of(settings), redis_of(settings)
    people, sessions = People(database), Sessions(database, redis)
    markets, replicas = _markets(context, log)
    built = StreamGateway(
        settings=settings.gateway,
        parts=stream_parts(
            settings.gateway,
            settings.rise,
            markets=markets,
            ticks=ticks_of(settings),
            rates=RateLimits(redis),
            nonces=Nonces(redis),
            people=people,
            sessions=sessions,
            api_keys=ApiKeys(database),
            log=log,
            replicas=replicas,
        ),
    )
    await built.start()

    handlers = _handlers(markets, built, built.status)
    return Role(handlers=handlers, run=replicas.run if replicas else _forever, log=log)


def _handlers(
    markets: Markets | ReplicatedMarkets,
    door: ApiGateway | StreamGateway,
    status: Callable[[], dict[str, Any]],
) -> dict[type, Callable[[Any], Any]]:
    async def route(directory: Directory) -> None:
        markets.route(directory)
        door.route(directory)

    return {
        Directory: route,
        StatusWanted: lambda _: status() | markets.counters(),
        Drain: lambda _: door.stop(),
    }


def _markets(
    context: Context, log: Any
) -> tuple[Markets | ReplicatedMarkets, ReplicatedMarkets | None]:
    settings = context.settings
    markets = Markets(context.calls, log, timeout_s=settings.gateway.quote_timeout_s)
    if settings.gateway.quote_path != "replica":
        return markets, None
    states, block_time_s = states_of(settings), settings.rise.block_time_s
    replicated = ReplicatedMarkets(
        markets, states, context.calls, log=log, block_time_s=block_time_s
    )
    return replicated, replicated


async def _forever() -> None:
    await asyncio.Event().wait()
