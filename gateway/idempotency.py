"""`Idempotency-Key` on writes: the same key and body from the same caller gets the same answer.

A launch asked for twice would have two addresses; with a key it has one. Answers that carry
secrets (logins, API keys) are never kept, so the header does not count there; nor do answers
of 5xx, after which the same request may be tried again. An upload needs none: the same file
has the same name. Nor do POSTs that change nothing: a quote of yesterday is no answer today, and
a day of them would fill the store.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from engine.errors import CallerError
from gateway.clients import IDEMPOTENCY_KEY, client_address
from gateway.context import IDENTITY, context_of
from gateway.middleware import TABLE
from gateway.routes import Spent

REPLAYED = "Idempotency-Replayed"
KEEP_S = 86_400
LEASE_S = 30
"""Longer than a request may take; who dies in it leaves the key free after it."""

ANSWER_BYTES_MAX = 64 * 1024
_KEY = re.compile(r"[\x21-\x7e]{1,64}")
_WRITES = frozenset({Spent.WRITE, Spent.USER_WRITE})
_LEFT_OUT = re.compile(r"/api(?:/v1)?/(?:auth|keys|uploads)(?:/|$)")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def once(request: web.Request, handler: Next) -> web.StreamResponse:
    """Gives the kept answer, or keeps the handler's. Raises CallerError: invalid_request,
    idempotency_conflict (another body, or one is at it); TransientError without the store.
    """
    given = request.headers.get(IDEMPOTENCY_KEY)
    route = request.app[TABLE].of(request)
    is_write = route is not None and route.budget in _WRITES
    if given is None or not is_write or _LEFT_OUT.match(request.path):
        return await handler(request)
    if _KEY.fullmatch(given) is None:
        raise CallerError(
            "invalid_request", f"{IDEMPOTENCY_KEY}: Expected 1 to 64 visible characters"
        )
    replays = context_of(request).replays
    body = hashlib.sha256(await request.read()).hexdigest()
    key = _name(request, given)
    ticket, kept = await replays.begin(key, lease_s=LEASE_S)
    if kept is not None:
        return _again(kept, body)
    try:
        response = await handler(request)
    except BaseException:
        # Refused or failed: nothing was done that an answer would have to be kept of.
        await replays.abandon(key, ticket)
        raise
    answer = _kept(response, body)
    if answer is None:
        await replays.abandon(key, ticket)
    else:
        await replays.finish(key, ticket, answer, keep_s=KEEP_S)
    return response


def _name(request: web.Request, given: str) -> str:
    identity = request.get(IDENTITY)
    who = client_address(request) if identity is None else identity.address.hex()
    path = request.path.replace("/api/v1/", "/api/", 1)
    return hashlib.sha256(f"{who} {request.method} {path} {given}".encode()).hexdigest()


def _kept(response: web.StreamResponse, body: str) -> bytes | None:
    if not isinstance(response, web.Response) or response.status >= 500:
        return None
    raw = response.body
    if not isinstance(raw, bytes) or len(raw) > ANSWER_BYTES_MAX:
        return None
    return orjson.dumps([body, response.status, raw.decode()])


def _again(kept: bytes, body: str) -> web.Response:
    if kept.startswith(b"at it"):
        message = f"{IDEMPOTENCY_KEY}: Expected no other request at it, try again"
        raise CallerError("idempotency_conflict", message)
    before, status, text = orjson.loads(kept)
    if before != body:
        raise CallerError(
            "idempotency_conflict", f"{IDEMPOTENCY_KEY}: Expected the same body as before"
        )
    response = web.Response(text=text, status=status, content_type="application/json")
    response.headers[REPLAYED] = "true"
    return response
