"""/api/users: who one is, and what one says of oneself."""

from typing import Any

from aiohttp import web

from engine.errors import CallerError
from gateway import links, people
from gateway.addresses import parse_address
from gateway.bodies import read_body
from gateway.context import Context, context_of, identity_of
from gateway.errors import json_response, success
from gateway.models import UserChange


async def me(request: web.Request) -> web.Response:
    """The logged-in wallet's user, all of it."""
    context = context_of(request)
    user = await _found(context, identity_of(request).address)
    return json_response(success(people.own(user, context)))


async def change_me(request: web.Request) -> web.Response:
    """Changes what the body names (RFC 7396: null takes a field away)."""
    body = await read_body(request, UserChange)
    context, address = context_of(request), identity_of(request).address
    fields: dict[str, Any] = {}
    for part in ("profile", "settings"):
        named = getattr(body, part)
        if named is not None:
            given = named.model_dump(by_alias=True, exclude_unset=True)
            fields |= {f"{part}.{people.stored(name)}": given[name] for name in given}
    if "profile.avatarUrl" in fields:
        # Kept beside it, so that the image is known to be in use.
        fields["avatarImage"] = links.own_image(fields["profile.avatarUrl"] or "")
    user = await context.people.change(address, fields, context.clock()) if fields else None
    if user is None:
        user = await _found(context, address)
    return json_response(success(people.own(user, context)))


async def one(request: web.Request) -> web.Response:
    """Anybody's public profile."""
    address = parse_address(request.match_info["address"])
    return json_response(success(people.public(await _found(context_of(request), address))))


async def _found(context: Context, address: bytes) -> dict[str, Any]:
    user = await context.people.find(address)
    if user is None:
        raise CallerError("not_found", "Expected a wallet that has logged in")
    return user
