"""Where a request comes from, and what it is called in the logs."""

from aiohttp import web

from gateway.context import context_of

IDEMPOTENCY_KEY = "Idempotency-Key"
"""The header in which the caller names a write, so that asking again is the same one."""

REQUEST_NAME: web.RequestKey[str] = web.RequestKey("request_name", str)
"""The request's id, as the caller is told it."""


def check_caller(request: web.Request) -> None:
    """Raises CallerError("forbidden") for one whom the blocking rules refuse."""
    context = context_of(request)
    peer = request.transport.get_extra_info("peername") if request.transport else None
    behind_proxy = context.clients.trusts(peer[0] if peer else None)
    context.blocking.check_caller(request, client_address(request), behind_proxy=behind_proxy)


def client_address(request: web.Request) -> str:
    """The client's IP as the trusted proxies tell it."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    forwarded = request.headers.getall("X-Forwarded-For", [])
    return context_of(request).clients.of(peer[0] if peer else None, forwarded)


def client_program(request: web.Request) -> str:
    """What the caller says it is; bytes that are no UTF-8 as question marks, for no store and
    no JSON takes them.
    """
    return request.headers.get("User-Agent", "").encode("utf-8", "replace").decode()
