"""POST /api/auth/{nonce, connect, verify}: Sign-In with Ethereum."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from aiohttp import web

from engine.text import address
from gateway.bodies import read_body
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.models import ConnectRequest, Empty


async def nonce(request: web.Request) -> web.Response:
    """A nonce for one login, with what else the message must say."""
    await read_body(request, Empty)
    context = context_of(request)
    settings = context.settings
    value = await context.login.nonce()
    expires = datetime.fromtimestamp(context.clock(), UTC) + timedelta(seconds=settings.nonce_s)
    return json_response(
        success(
            {
                "nonce": value,
                "domain": urlsplit(settings.public_url).netloc,
                "uri": settings.public_url,
                "version": "1",
                "chainId": context.chain.chain_id,
                "expiresAt": expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
            }
        )
    )


async def connect(request: web.Request) -> web.Response:
    """A signed message for an access token; the first login makes the user."""
    body = await read_body(request, ConnectRequest)
    context = context_of(request)
    session = await context.login.connect(
        address=body.wallet_address, message=body.message, signature=body.signature
    )
    return json_response(
        success(
            {
                "token": session.token,
                "tokenType": "Bearer",
                "expiresIn": session.expires_in_s,
                "user": {
                    "walletAddress": address(body.wallet_address),
                    "role": session.user.get("role", "user"),
                    "createdAt": _iso(session.user.get("createdAt")),
                    "updatedAt": _iso(session.user.get("updatedAt")),
                },
            }
        )
    )


async def verify(request: web.Request) -> web.Response:
    """Whether the Bearer token is good, and for whom."""
    await read_body(request, Empty)
    identity = identity_of(request)
    expires = datetime.fromtimestamp(identity.expires_at, UTC)
    return json_response(
        success(
            {
                "valid": True,
                "walletAddress": address(identity.address),
                "chainId": identity.chain_id,
                "role": identity.role,
                "sid": identity.sid,
                "expiresAt": _iso(expires),
            }
        )
    )


def _iso(time: object) -> str | None:
    if not isinstance(time, datetime):
        return None
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
