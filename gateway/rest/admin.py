"""/api/admin: roles and logouts of others. Every deed is in the audit log before it is done."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from engine.errors import CallerError
from engine.text import address as text_of
from engine.text import hex_of
from gateway import people
from gateway.addresses import parse_address
from gateway.bodies import read_body, read_query
from gateway.clients import REQUEST_NAME, client_address
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.models import AuditQuery, Empty, RoleRequest


async def set_role(request: web.Request) -> web.Response:
    """Gives a user a role, and ends his sessions, whose tokens say the old one."""
    body = await read_body(request, RoleRequest)
    address, context = parse_address(request.match_info["address"]), context_of(request)
    user = await context.people.find(address)
    if user is None:
        raise CallerError("not_found", "Expected a wallet that has logged in")
    change = {"from": user.get("role", "user"), "to": body.role}
    await audited(request, action="set_role", target=address, change=change)
    changed = await context.people.change(address, {"role": body.role}, context.clock())
    await _end_all(request, address)
    return json_response(success(people.own(changed or user, context)))


async def log_out(request: web.Request) -> web.Response:
    """Ends all sessions of a wallet. Repeatable."""
    await read_body(request, Empty)
    address = parse_address(request.match_info["address"])
    await audited(request, action="log_out", target=address, change={})
    return json_response(success({"ended": await _end_all(request, address)}))


async def audit(request: web.Request) -> web.Response:
    """What administrators did, newest first; `cursor` goes on from an earlier page."""
    query = read_query(request, AuditQuery)
    found = await context_of(request).audit.entries(limit=query.limit, before=query.cursor)
    items = [
        {
            "id": one["_id"],
            "at": people.iso(one["at"]),
            "actor": text_of(bytes.fromhex(one["actor"][2:])),
            "action": one["action"],
            "target": one["target"],
            "change": one["change"],
            "requestId": one["request"].get("id"),
        }
        for one in found
    ]
    cursor = items[-1]["id"] if len(items) == query.limit else None
    return json_response(success({"items": items, "limit": query.limit, "cursor": cursor}))


async def audited(
    request: web.Request, *, action: str, target: bytes, change: Mapping[str, Any]
) -> None:
    """Keeps what is about to be done. Raises TransientError: then it must not be."""
    context = context_of(request)
    await context.audit.write(
        actor=identity_of(request).address,
        action=action,
        target=hex_of(target),
        change=change,
        request={"id": request[REQUEST_NAME], "from": client_address(request)},
        now=context.clock(),
    )


async def _end_all(request: web.Request, address: bytes) -> int:
    context = context_of(request)
    return await context.login.end_all(address)
