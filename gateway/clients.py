"""Where a request comes from, and what it is called in the logs."""

from aiohttp import web

from engine.errors import CallerError
from gateway.context import context_of

IDEMPOTENCY_KEY = "Idempotency-Key"
"""The header in which the caller names a write, so that asking again is the same one."""

REQUEST_NAME: web.RequestKey[str] = web.RequestKey("request_name", str)
"""The request's id, as the caller is told it."""


def check_caller(request: web.Request) -> None:
    """Raises CallerError("forbidden") for one whom the blocking rules refuse."""
    context = context_of(request)
    behind_proxy = context.clients.trusts(_peer(request))
    context.blocking.check_caller(request, client_address(request), behind_proxy=behind_proxy)


def check_nearby(request: web.Request) -> None:
    """Raises CallerError("forbidden") for one who is not of METRICS_ALLOWED."""
    forwarded = request.headers.getall("X-Forwarded-For", [])
    if not context_of(request).nearby.hold_all(_peer(request), forwarded):
        raise CallerError("forbidden", "Expected an address that METRICS_ALLOWED names")


def client_address(request: web.Request) -> str:
    """The client's IP as the trusted proxies tell it."""
    forwarded = request.headers.getall("X-Forwarded-For", [])
    return context_of(request).clients.of(_peer(request), forwarded)


def client_program(request: web.Request) -> str:
    """What the caller says it is; bytes that are no UTF-8 as question marks, for no store and
    no JSON takes them.
    """
    return request.headers.get("User-Agent", "").encode("utf-8", "replace").decode()


def _peer(request: web.Request) -> str | None:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(peer[0]) if peer else None
