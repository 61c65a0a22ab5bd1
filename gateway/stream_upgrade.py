"""The upgrade to a stream connection: what its HTTP request says, and who may have one."""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import orjson
from picows import WSUpgradeRequest, WSUpgradeResponse

from engine import limits
from engine.errors import CallerError, RiseCurveError, TransientError
from gateway import keys
from gateway.auth import TOKEN_CHARACTERS_MAX, bearer
from gateway.errors import STATUS, failure

PATHS = frozenset({"/", "/v1", "/stream"})
HEALTH = "/healthz"
_BACKLOG = 1_024


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the request was sent with; at most one of them is set."""

    token: str | None = None
    api_key: str | None = None


def path_of(request: WSUpgradeRequest) -> str:
    """Without its query."""
    return urlsplit(request.path.decode("latin-1")).path


def credentials_of(request: WSUpgradeRequest) -> Credentials:
    """From `Authorization: Bearer`, `X-API-Key`, or the query's `token` or `apiKey`. Raises
    CallerError("unauthorized") for a header of another kind.
    """
    headers = request.headers
    if "Authorization" in headers:
        return Credentials(token=bearer(headers["Authorization"]))
    if keys.HEADER in headers:
        return Credentials(api_key=headers[keys.HEADER][:TOKEN_CHARACTERS_MAX])
    query = parse_qs(urlsplit(request.path.decode("latin-1")).query)
    if query.get("token"):
        return Credentials(token=query["token"][0])
    if query.get("apiKey"):
        return Credentials(api_key=query["apiKey"][0][:TOKEN_CHARACTERS_MAX])
    return Credentials()


def check(
    request: WSUpgradeRequest, *, origins: Collection[str], connections: int, draining: bool
) -> None:
    """Raises CallerError: not_found, forbidden; TransientError: overloaded. Programs send no
    Origin; a page's is believed, for its browser wrote it.
    """
    if path_of(request) not in PATHS:
        raise CallerError("not_found", f"Expected one of {', '.join(sorted(PATHS))}")
    origin = request.headers.get("Origin")
    if origin is not None and origin not in origins:
        raise CallerError("forbidden", "Origin: Expected one of CORS_ORIGINS")
    if draining:
        raise TransientError("overloaded", "Expected another process, this one is ending")
    if connections >= limits.STREAM_CONNECTIONS_MAX:
        raise TransientError("overloaded", "Expected fewer connections, try again")


def response_of(error: RiseCurveError) -> WSUpgradeResponse:
    """The refusal as HTTP, in the shape of every error."""
    body = orjson.dumps(failure(error.code, error.message, error.details))
    status = STATUS[error.code]
    headers = {"Content-Type": "application/json"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    made: WSUpgradeResponse = WSUpgradeResponse.create_error_response(status, body, headers)
    return made


def listening_socket(host: str, port: int) -> socket.socket:
    """Bound and shared with other processes of ours: the kernel deals connections out to them.
    Raises RiseCurveError("port_in_use").
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Inherited by connections.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.STREAM_KERNEL_BYTES)
    try:
        made.bind((host, port))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise RiseCurveError(
            "port_in_use",
            f"Expected {host}:{port} to be free for the stream door, was not"
            f" ({error.strerror}); set STREAM_PORT to another port",
        ) from error
    made.setblocking(False)
    return made
