"""What a client may ask of any GET's answer: some fields only, nothing new, and small.

`?fields=a,b` keeps these names of `data`, or of each of its items. The ETag is of `data`
alone, since the envelope's timestamp is always new; so who has the data already gets a 304.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from engine.errors import CallerError
from gateway import keys
from gateway.errors import BODY, dumped

FIELDS_MAX = 50
COMPRESSED_FROM = 1_024
"""Bytes; below, the frame costs as much as is saved."""

_FIELD = re.compile(r"[A-Za-z0-9]{1,60}")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def shape(request: web.Request, handler: Next) -> web.StreamResponse:
    """Fields, ETag and compression of a GET that succeeded; everything else as it is."""
    wanted = _fields(request.query.get("fields")) if request.method == "GET" else None
    response = await handler(request)
    body = response.get(BODY) if isinstance(response, web.Response) else None
    if request.method != "GET" or response.status != 200 or body is None:
        return response
    assert isinstance(response, web.Response)
    if wanted is not None:
        body = body | {"data": selected(body["data"], wanted)}
        response.body = dumped(body)
    tag = hashlib.sha256(orjson.dumps(body["data"])).hexdigest()[:24]
    if _has(request.headers.get("If-None-Match", ""), tag):
        response = web.Response(status=304)
    elif len(response.body or b"") >= COMPRESSED_FROM:  # type: ignore[arg-type]
        response.enable_compression()
    response.headers["ETag"] = f'W/"{tag}"'
    response.headers["Vary"] = f"Accept-Encoding, Authorization, {keys.HEADER}"
    named = "Authorization" in request.headers or keys.HEADER in request.headers
    personal = "private, " if named else ""
    response.headers["Cache-Control"] = f"{personal}no-cache"
    return response


def selected(data: Any, names: frozenset[str]) -> Any:
    """`data` with these names only; of a list its items', the page stays."""
    if not isinstance(data, dict):
        return data
    items = data.get("items")
    if isinstance(items, list):
        return data | {"items": [selected(item, names) for item in items]}
    return {name: value for name, value in data.items() if name in names}


def _fields(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    names = text.split(",")
    if len(names) > FIELDS_MAX or not all(_FIELD.fullmatch(name) for name in names):
        message = f"fields: Expected at most {FIELDS_MAX} names with commas between"
        raise CallerError("invalid_request", message)
    return frozenset(names)


def _has(header: str, tag: str) -> bool:
    # RFC 9110, 13.1.2: a list, compared weakly.
    return header.strip() == "*" or f'"{tag}"' in {
        one.strip().removeprefix("W/") for one in header.split(",")
    }
