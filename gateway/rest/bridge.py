"""/api/bridge: ETH between Sepolia and RISE. The wallet signs and sends the deposit itself."""

import re

from aiohttp import web

from engine.errors import CallerError
from gateway import bridging
from gateway.addresses import parse_address, parse_hash
from gateway.bodies import read_body, read_query
from gateway.bridging import Bridge, Way
from gateway.clients import IDEMPOTENCY_KEY
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.models import BridgeHistoryQuery, BridgeRequest

# Microseconds until the year 5138; what is longer is no time that the store knows.
_CURSOR = re.compile(r"([0-9]{1,17})\.([0-9a-f]{64})")


async def deposit(request: web.Request) -> web.Response:
    """From Sepolia to RISE: the request's id, and the unsigned deposit that names it."""
    return await _begin(request, the_bridge(request).deposit)


async def withdraw(request: web.Request) -> web.Response:
    """From RISE to Sepolia: the request's id, and the unsigned deposit that names it."""
    return await _begin(request, the_bridge(request).withdrawal)


async def status(request: web.Request) -> web.Response:
    """What became of a transfer, by the request's id or the vault's own of its message."""
    bridge = the_bridge(request)
    return json_response(success(await bridge.status(parse_hash(request.match_info["id"]))))


async def history(request: web.Request) -> web.Response:
    """A wallet's transfers, newest first; `cursor` goes on from an earlier page."""
    bridge = the_bridge(request)
    query = read_query(request, BridgeHistoryQuery)
    found, total, cursors = await bridge.requests.of_user(
        parse_address(request.match_info["address"]),
        page=query.page,
        limit=query.limit,
        before=None if query.cursor is None else _before(query.cursor),
    )
    cursor = None
    if len(found) == query.limit:
        cursor = f"{round(found[-1].created * 1e6)}.{found[-1].key[2].hex()}"
    items = [bridging.transfer_data(one, cursors) for one in found]
    page = {"items": items, "page": query.page, "limit": query.limit, "total": total}
    return json_response(success(page | {"cursor": cursor}))


def the_bridge(request: web.Request) -> Bridge:
    """The bridge where it runs. Raises CallerError("not_implemented")."""
    bridge = context_of(request).bridge
    if bridge is None:
        raise CallerError("not_implemented", "Expected a system with a bridge, this one has none")
    return bridge


async def _begin(request: web.Request, way: Way) -> web.Response:
    body = await read_body(request, BridgeRequest)
    user = identity_of(request).address
    begun = await the_bridge(request).begin(
        way,
        user=user,
        recipient=user if body.target_address is None else body.target_address,
        amount=body.amount,
        key=request.headers.get(IDEMPOTENCY_KEY),
    )
    return json_response(success(begun))


def _before(cursor: str) -> tuple[int, bytes]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise CallerError("invalid_request", "cursor: Expected a cursor of an earlier page")
    return int(found[1]), bytes.fromhex(found[2])
