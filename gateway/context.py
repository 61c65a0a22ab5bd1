"""What every handler reaches: the ports and the door's own parts, built once in `api`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from engine.settings import ChainSettings, GatewaySettings
from gateway.admission import ClientAddresses, InFlight, Limiter, Networks
from gateway.auth import AccessTokens, Identity
from gateway.blocking import Blocking
from gateway.bridging import Bridge
from gateway.images import Images
from gateway.keys import KeyReader
from gateway.launches import Launches
from gateway.login import Login
from gateway.metrics import Metrics
from gateway.ports import (
    ApiKeys,
    Audit,
    Documents,
    Log,
    MarketReads,
    Markets,
    Media,
    Node,
    People,
    PointDays,
    Points,
    Reads,
    Referrals,
    Replays,
    Sessions,
    UncountedReads,
)
from gateway.submission import Submission
from gateway.usd import UsdFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Read-only after the start. `clock` is wall time in seconds."""

    settings: GatewaySettings
    chain: ChainSettings
    sepolia: ChainSettings | None
    markets: Markets
    reads: Reads
    market_reads: MarketReads
    documents: Documents
    media: Media
    images: Images
    people: People
    sessions: Sessions
    audit: Audit
    referrals: Referrals
    api_keys: ApiKeys
    keys: KeyReader
    replays: Replays
    points: Points
    point_days: PointDays
    uncounted: UncountedReads
    limiter: Limiter
    node: Node
    log: Log
    login: Login
    tokens: AccessTokens
    launches: Launches
    submission: Submission
    usd: UsdFeed
    in_flight: InFlight
    clients: ClientAddresses
    nearby: Networks
    blocking: Blocking
    metrics: Metrics
    bridge: Bridge | None = None
    clock: Callable[[], float] = time.time


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)


def context_of(request: web.Request) -> Context:
    """The application's context."""
    return request.app[CONTEXT]


def identity_of(request: web.Request) -> Identity:
    """Who is logged in; only routes that need a login may ask."""
    return request[IDENTITY]
