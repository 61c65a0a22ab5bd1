"""/api/keys: a wallet's API keys. Only a login may make or end them, never a key."""

from typing import Any

from aiohttp import web

from engine.errors import CallerError
from gateway import keys
from gateway.bodies import read_body
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.models import KeyRequest
from gateway.people import iso
from gateway.ports import ApiKey

DAY_S = 86_400


async def make(request: web.Request) -> web.Response:
    """A new key; its text is shown this once and kept nowhere."""
    body = await read_body(request, KeyRequest)
    context, owner = context_of(request), identity_of(request).address
    now = context.clock()
    id, text, hashed = keys.made()
    made = await context.api_keys.make(
        id=id,
        owner=owner,
        name=body.name,
        scopes=tuple(dict.fromkeys(body.scopes)),
        hash=hashed,
        now=now,
        expires=now + body.days * DAY_S,
        most=keys.KEYS_MAX,
    )
    if made is None:
        raise CallerError("invalid_request", f"Expected at most {keys.KEYS_MAX} keys")
    return json_response(success(_shown(made) | {"key": text}))


async def mine(request: web.Request) -> web.Response:
    """The wallet's good keys, newest first, without their secrets."""
    context, owner = context_of(request), identity_of(request).address
    found = await context.api_keys.of(owner, context.clock(), keys.KEYS_MAX)
    return json_response(success({"items": [_shown(one) for one in found]}))


async def end(request: web.Request) -> web.Response:
    """End a key. It is refused everywhere a few seconds later. Repeatable."""
    context, owner = context_of(request), identity_of(request).address
    id = request.match_info["id"]
    if not await context.api_keys.end(id, owner=owner, now=context.clock()):
        raise CallerError("not_found", "Expected a key of this wallet")
    return json_response(success({"ended": 1}))


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "createdAt": iso(key.created_at),
        "expiresAt": iso(key.expires_at),
    }
