"""What happens to every request, from the outside in: ids, CORS, errors, admission, login.

Socket.IO's own path is passed through: its long polls and sockets are bounded in `realtime`.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection
from secrets import token_hex

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from engine.errors import CallerError
from engine.settings import GatewaySettings
from gateway import keys, languages
from gateway.admission import Budget, refuse
from gateway.auth import Identity, bearer
from gateway.clients import REQUEST_NAME, check_caller, check_nearby, client_address
from gateway.context import IDENTITY, context_of
from gateway.errors import public, response_of
from gateway.routes import Access, Route, Spent, Table

REQUEST_ID = "X-Request-Id"
CORRELATION_ID = "X-Correlation-Id"
SOCKET_PATH = "/socket.io/"

_LOGIN = "/auth/"
_OWN = {Spent.READ: Spent.USER_READ, Spent.WRITE: Spent.USER_WRITE}
TABLE: web.AppKey[Table] = web.AppKey("table", Table)
_CORS_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_CORS_REQUEST_HEADERS = (
    f"Authorization, {keys.HEADER}, Content-Type, Idempotency-Key, If-None-Match, "
    f"{REQUEST_ID}, {CORRELATION_ID}"
)
_CORS_SHOWN = (
    f"ETag, {REQUEST_ID}, {CORRELATION_ID}, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Retry-After"
)
# What is no page is shown as none, in nobody's frame, and kept by nobody unless it says so.
_SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HTTPS_ONLY = "max-age=31536000"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEADERS: web.RequestKey[dict[str, str]] = web.RequestKey("headers", dict)


@web.middleware
async def identify(request: web.Request, handler: Next) -> web.StreamResponse:
    """A request id and a correlation id: the caller's if they are plain, else made; bound to
    the logs and returned. Counts the answer.
    """
    if request.path.startswith(SOCKET_PATH):
        return await handler(request)
    request_id = _given(request, REQUEST_ID) or token_hex(16)
    correlation_id = _given(request, CORRELATION_ID) or request_id
    began = time.perf_counter()
    request[HEADERS] = {}
    request[REQUEST_NAME] = request_id
    with structlog.contextvars.bound_contextvars(
        request_id=request_id, correlation_id=correlation_id
    ):
        response = await handler(request)
    response.headers[REQUEST_ID] = request_id
    response.headers[CORRELATION_ID] = correlation_id
    for name, value in _SAFETY.items():
        response.headers.setdefault(name, value)
    if context_of(request).settings.public_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = _HTTPS_ONLY
    response.headers.update(request[HEADERS])
    route = request.app[TABLE].of(request)
    context_of(request).metrics.request(
        method=request.method if route else "OTHER",
        route=route.path if route else "unknown",
        status=response.status,
        seconds=time.perf_counter() - began,
    )
    return response


def cors(origins: Collection[str]) -> Middleware:
    """Answers preflights and names the origin, if it is exactly one of `origins`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Next) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if request.path.startswith(SOCKET_PATH):
            return await handler(request)
        if origin is None or origin not in origins:
            response = await handler(request)
            # A cache must not give one page what was made for another, or for none.
            response.headers.add("Vary", "Origin")
            return response
        preflight = "Access-Control-Request-Method" in request.headers
        if request.method == "OPTIONS" and preflight:
            response = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = _CORS_METHODS
            response.headers["Access-Control-Allow-Headers"] = _CORS_REQUEST_HEADERS
            response.headers["Access-Control-Max-Age"] = "600"
        else:
            response = await handler(request)
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _CORS_SHOWN
        response.headers.add("Vary", "Origin")
        return response

    return middleware


@web.middleware
async def answer_errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Every error becomes the seed's ErrorResponse; a bug is logged, once, here."""
    if request.path.startswith(SOCKET_PATH):
        return await handler(request)
    try:
        return await handler(request)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        if not isinstance(error, web.HTTPException) and public(error) is None:
            context_of(request).log.error(
                "request_failed", method=request.method, path=request.path, exc_info=error
            )
        return response_of(error, languages.chosen(request.headers.get("Accept-Language")))


@web.middleware
async def admit(request: web.Request, handler: Next) -> web.StreamResponse:
    """Bounds: how many at once, who may, how often, and for how long."""
    if request.path.startswith(SOCKET_PATH):
        return await handler(request)
    context = context_of(request)
    route = request.app[TABLE].of(request)
    if route is not None and route.nearby:
        check_nearby(request)
    if route is not None and route.budget is Spent.NOTHING:
        async with asyncio.timeout(context.settings.request_timeout_s):
            return await handler(request)
    check_caller(request)
    timeout_s = context.settings.request_timeout_s
    if route is not None and route.budget is Spent.UPLOAD:
        timeout_s += context.settings.upload_timeout_s
    with context.in_flight.one():
        async with asyncio.timeout(timeout_s):
            await _spend(request, route)
            return await handler(request)


async def _spend(request: web.Request, route: Route | None) -> None:
    by_key = keys.HEADER in request.headers and "Authorization" not in request.headers
    if by_key and not _is_login(route):
        await _spend_of_key(request, route)
    elif route is None or route.access is Access.OPEN:
        await _spend_of_anybody(request, route)
    else:
        await _spend_of_user(request, route)


async def _spend_of_anybody(request: web.Request, route: Route | None) -> None:
    # Whoever has a login or a key has a budget of his own; not so for logins themselves.
    spent = route.budget if route else Spent.READ
    own = _OWN.get(spent) if route and not _is_login(route) else None
    if own is not None and "Authorization" in request.headers:
        try:
            identity = await _identity(request, Access.OPEN)
        except CallerError:
            # Nobody needs to be logged in here.
            own = None
        else:
            await _take(request, own, "0x" + identity.address.hex(), route=route)
            return
    await _take(request, spent, client_address(request), route=route)


def _is_login(route: Route | None) -> bool:
    return route is not None and route.access is Access.OPEN and route.path.startswith(_LOGIN)


async def _spend_of_user(request: web.Request, route: Route) -> None:
    try:
        identity = await _identity(request, route.access)
    except CallerError:
        # A token that is no good costs the one who guesses.
        await _take(request, Spent.READ, client_address(request))
        raise
    request[IDENTITY] = identity
    await _take(request, route.budget, "0x" + identity.address.hex(), route=route)


async def _spend_of_key(request: web.Request, route: Route | None) -> None:
    context, client = context_of(request), client_address(request)
    if context.limiter.refuses(budget_of(Spent.READ, context.settings), client) and (
        not context.keys.remembers(request.headers[keys.HEADER])
    ):
        await _take(request, Spent.READ, client)  # who guesses too often asks no store
    try:
        identity, scopes = await context_of(request).keys.read(request.headers[keys.HEADER])
        if route is not None and route.access is not Access.OPEN and route.scope not in scopes:
            raise CallerError("forbidden", f"{keys.HEADER}: Expected a login, or another scope")
    except CallerError:
        await _take(request, Spent.READ, client_address(request), exact=True)
        raise
    context_of(request).blocking.check_wallet(identity.address)
    request[IDENTITY] = identity
    if route is not None and route.budget is Spent.UPLOAD:
        await _take(request, Spent.UPLOAD, "0x" + identity.address.hex())
        return
    writes = route is not None and route.budget in (Spent.WRITE, Spent.USER_WRITE)
    await _take(request, Spent.KEY_WRITE if writes else Spent.KEY_READ, identity.sid, route=route)


async def _identity(request: web.Request, wanted: Access) -> Identity:
    context = context_of(request)
    identity = context.tokens.read(bearer(request.headers.get("Authorization")))
    await context.login.check(identity)
    context.blocking.check_wallet(identity.address)
    if wanted is not Access.OPEN and not wanted.admits(identity.role):
        raise CallerError("forbidden", f"Expected the role {wanted.value}, was {identity.role}")
    return identity


_READS = frozenset({Spent.READ, Spent.USER_READ, Spent.KEY_READ})


async def _take(
    request: web.Request,
    spent: Spent,
    who: str,
    *,
    route: Route | None = None,
    exact: bool = False,
) -> None:
    context = context_of(request)
    # What comes often is taken from the store in blocks: no less exact, and a call to it saved.
    # `exact` remembers a refusal until its end, where a block of others may come back before.
    leased = not exact and (spent in _READS or (route is not None and route.leased))
    budget = budget_of(spent, context.settings)
    allowance = await context.limiter.take(budget, who, leased=leased)
    request[HEADERS].update(allowance.headers)
    if not allowance.allowed:
        raise refuse(allowance)


def budget_of(spent: Spent, settings: GatewaySettings) -> Budget:
    """The seed's 100 in 15 minutes for what writes, 600 a minute for what reads; users and keys
    have their own.
    """
    window_s = settings.write_window_s
    limits = {
        Spent.WRITE: (settings.writes_per_window, window_s),
        Spent.USER_WRITE: (settings.user_writes_per_window, window_s),
        Spent.USER_READ: (settings.user_reads_per_minute, 60),
        Spent.UPLOAD: (settings.uploads_per_hour, 3_600),
        Spent.KEY_WRITE: (settings.key_writes_per_minute, 60),
        Spent.KEY_READ: (settings.key_reads_per_minute, 60),
    }
    limit, window_s = limits.get(spent, (settings.reads_per_minute, 60))
    return Budget(spent.value, limit, window_s)


def _given(request: web.Request, name: str) -> str | None:
    value = request.headers.get(name, "")
    return value if _ID.fullmatch(value) else None
