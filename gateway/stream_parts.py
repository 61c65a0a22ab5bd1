"""What the stream door is handed, put together from its ports. It needs fewer than the API."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from engine.errors import CallerError
from engine.settings import ChainSettings, GatewaySettings
from gateway.admission import ClientAddresses, Limiter
from gateway.api import origins_of
from gateway.auth import AccessTokens, access_tokens
from gateway.blocking import Blocking
from gateway.keys import KeyReader
from gateway.login import Login
from gateway.metrics import Metrics
from gateway.ports import (
    ApiKeys,
    Log,
    Markets,
    Nonces,
    People,
    RateLimits,
    Sessions,
    Ticks,
)
from gateway.replica_ports import Replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParts:
    """What the door is handed."""

    markets: Markets
    ticks: Ticks
    limiter: Limiter
    tokens: AccessTokens
    login: Login
    keys: KeyReader
    blocking: Blocking
    clients: ClientAddresses
    metrics: Metrics
    log: Log
    origins: frozenset[str]
    replicas: Replicas | None = None


def stream_parts(
    settings: GatewaySettings,
    chain: ChainSettings,
    *,
    markets: Markets,
    ticks: Ticks,
    rates: RateLimits,
    nonces: Nonces,
    people: People,
    sessions: Sessions,
    api_keys: ApiKeys,
    log: Log,
    replicas: Replicas | None = None,
    clock: Callable[[], float] = time.time,
) -> StreamParts:
    """`clock` is wall time in seconds."""
    tokens = access_tokens(settings, clock)
    login = Login(
        settings=settings,
        chain=chain,
        nonces=nonces,
        people=people,
        sessions=sessions,
        tokens=tokens,
        verify_message=_no_logins_here,
        log=log,
        clock=clock,
    )
    return StreamParts(
        markets=markets,
        ticks=ticks,
        limiter=Limiter(rates, log),
        tokens=tokens,
        login=login,
        keys=KeyReader(api_keys, chain_id=chain.chain_id, clock=clock),
        blocking=Blocking(settings),
        clients=ClientAddresses(settings.trusted_proxies),
        metrics=Metrics(),
        log=log,
        origins=origins_of(settings),
        replicas=replicas,
    )


async def _no_logins_here(*_: Any, **__: Any) -> NoReturn:
    raise CallerError("not_implemented", "Expected a login at the API")
