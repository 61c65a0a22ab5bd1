"""/api/auth: Sign-In with Ethereum, and the sessions that it opens."""

from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from engine.errors import CallerError
from engine.text import address
from gateway import people
from gateway.bodies import read_body
from gateway.clients import client_program
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.login import Session
from gateway.models import ConnectRequest, Empty, LogoutRequest, RefreshRequest
from gateway.people import iso
from gateway.rest import referral


async def nonce(request: web.Request) -> web.Response:
    """A nonce for one login, with what else the message must say."""
    await read_body(request, Empty)
    context = context_of(request)
    settings = context.settings
    value = await context.login.nonce()
    return json_response(
        success(
            {
                "nonce": value,
                "domain": urlsplit(settings.public_url).netloc,
                "uri": settings.public_url,
                "version": "1",
                "chainId": context.chain.chain_id,
                "expiresAt": iso(context.clock() + settings.nonce_s),
            }
        )
    )


async def connect(request: web.Request) -> web.Response:
    """A signed message for an access token; the first login makes the user."""
    body = await read_body(request, ConnectRequest)
    context_of(request).blocking.check_wallet(body.wallet_address)
    session = await context_of(request).login.connect(
        address=body.wallet_address,
        message=body.message,
        signature=body.signature,
        client=client_program(request),
    )
    data = _session(request, session)
    if body.referral_code is not None:
        data["referral"] = await _referred(request, body.wallet_address, body.referral_code)
    return json_response(success(data))


async def refresh(request: web.Request) -> web.Response:
    """A refresh token for new tokens; one that was used before ends its session."""
    body = await read_body(request, RefreshRequest)
    session = await context_of(request).login.renew(body.refresh_token)
    return json_response(success(_session(request, session)))


async def verify(request: web.Request) -> web.Response:
    """Whether the Bearer token is good, and for whom."""
    await read_body(request, Empty)
    identity = identity_of(request)
    return json_response(
        success(
            {
                "valid": True,
                "walletAddress": address(identity.address),
                "chainId": identity.chain_id,
                "role": identity.role,
                "sid": identity.sid,
                "expiresAt": iso(identity.expires_at),
            }
        )
    )


async def logout(request: web.Request) -> web.Response:
    """End this session; or all of the wallet, which tells how many."""
    body = await read_body(request, LogoutRequest)
    context, identity = context_of(request), identity_of(request)
    if body.everywhere:
        ended = await context.login.end_all(identity.address)
    else:
        ended = len(await context.login.end([identity.sid], address=identity.address))
    return json_response(success({"ended": ended}))


async def sessions(request: web.Request) -> web.Response:
    """The wallet's open sessions, newest first."""
    context, identity = context_of(request), identity_of(request)
    found = await context.sessions.of(identity.address, context.clock())
    items = [
        {
            "sid": one.sid,
            "current": one.sid == identity.sid,
            "client": one.client,
            "createdAt": iso(one.created_at),
            "lastUsedAt": iso(one.used_at),
            "expiresAt": iso(one.expires_at),
        }
        for one in found
    ]
    return json_response(success({"items": items}))


async def end_session(request: web.Request) -> web.Response:
    """End one of the wallet's sessions. Repeatable."""
    context, identity = context_of(request), identity_of(request)
    ended = await context.login.end([request.match_info["sid"]], address=identity.address)
    if not ended:
        raise CallerError("not_found", "Expected a session of this wallet")
    return json_response(success({"ended": len(ended)}))


async def _referred(request: web.Request, wallet: bytes, code: str) -> dict[str, Any]:
    # A code that is no good does not keep anybody out.
    try:
        referrer = await referral.bound(context_of(request), wallet, code)
    except CallerError as error:
        return {"referrer": None, "refused": error.code}
    return {"referrer": address(referrer), "refused": None}


def _session(request: web.Request, session: Session) -> dict[str, Any]:
    return {
        "token": session.access_token,
        "tokenType": "Bearer",
        "expiresIn": session.access_s,
        "refreshToken": session.refresh_token,
        "refreshExpiresIn": session.refresh_s,
        "user": people.own(session.user, context_of(request)),
    }
