"""/api/referral: one's code, who was brought, and what is owed. The claim on the chain is a
matter of a later version: what stands here is owed, and said to be.
"""

from datetime import timedelta
from typing import Any

from aiohttp import web

from engine.errors import CallerError
from engine.points import rules
from engine.points.rules import DAY_S
from engine.text import address, hex_of, units
from gateway import people
from gateway.bodies import read_body, read_query
from gateway.context import Context, context_of, identity_of
from gateway.errors import json_response, success
from gateway.fields import parse_code
from gateway.models import BindRequest, CodeRequest, CursorQuery

COUNT_MAX = 10_000


async def mine(request: web.Request) -> web.Response:
    """The wallet's code, its referrer, whom it brought and what it is owed."""
    context, wallet = context_of(request), identity_of(request).address
    user = await context.people.find(wallet) or {}
    totals = await context.referrals.totals(wallet, COUNT_MAX)
    referral, now = user.get("referral") or {}, _rules(context)
    until = user["createdAt"] + timedelta(days=now.bind_days) if user else None
    return json_response(
        success(
            {
                "code": await context.referrals.code_of(wallet),
                "referrer": _address(referral.get("by")),
                "boundAt": people.iso(referral.get("at")),
                "bindUntil": people.iso(until),
                "referees": {"level1": totals.first, "level2": totals.second},
                "owed": {"eth": units(totals.wei), "entries": totals.rows},
                "feeShareBps": list(now.fee_share_bps),
                "pointsShareBps": list(now.points_share_bps),
            }
        )
    )


async def take_code(request: web.Request) -> web.Response:
    """The wallet's code: the one it chooses, or one made up; for life. Repeatable."""
    body = await read_body(request, CodeRequest)
    context = context_of(request)
    code = await context.referrals.take_code(
        identity_of(request).address, body.code, context.clock()
    )
    return json_response(success({"code": code}))


async def bind(request: web.Request) -> web.Response:
    """Who brought this wallet: once, for life, within the days after its first login."""
    body = await read_body(request, BindRequest)
    context = context_of(request)
    referrer = await bound(context, identity_of(request).address, body.code)
    return json_response(success({"referrer": address(referrer)}))


async def one(request: web.Request) -> web.Response:
    """Whose code this is."""
    context, code = context_of(request), parse_code(request.match_info["code"])
    found = await context.referrals.owner_of(code)
    if found is None:
        raise CallerError("not_found", "Expected a code that somebody has")
    owner, since = found
    user = await context.people.find(owner) or {}
    name = (user.get("profile") or {}).get("name")
    data = {"code": code, "owner": address(owner), "name": name, "since": people.iso(since)}
    return json_response(success(data))


async def tree(request: web.Request) -> web.Response:
    """Whom the wallet brought, by address; `cursor` goes on from an earlier page."""
    query = read_query(request, CursorQuery)
    after = None if query.cursor is None else _hex(query.cursor)
    found = await context_of(request).referrals.brought(
        identity_of(request).address, limit=query.limit, after=after
    )
    items = [
        {
            "address": _address(row["_id"]),
            "boundAt": people.iso(row["referral"]["at"]),
            "volume": units(row["volume"]),
            "shared": units(row["shared"]),
        }
        for row in found
    ]
    cursor = found[-1]["_id"] if len(found) == query.limit else None
    return json_response(success({"items": items, "limit": query.limit, "cursor": cursor}))


async def earnings(request: web.Request) -> web.Response:
    """Shares of fees that are owed, the newest first, each of a trade that is final."""
    query = read_query(request, CursorQuery)
    before = None if query.cursor is None else _place(query.cursor)
    found = await context_of(request).referrals.earnings(
        identity_of(request).address, limit=query.limit, before=before
    )
    items = [
        {
            "key": row["_id"],
            "referee": _address(row["referee"]),
            "level": row["level"],
            "eth": units(int(row["wei"])),
            "tokenAddress": _address(row["token"]),
            "txHash": "0x" + row["because"].split(":")[1],
            "timestamp": row["time"],
            "version": row["version"],
            "status": "owed",
        }
        for row in found
    ]
    last = found[-1] if len(found) == query.limit else None
    cursor = None if last is None else f"{last['time']}~{last['_id']}"
    return json_response(success({"items": items, "limit": query.limit, "cursor": cursor}))


async def bound(context: Context, wallet: bytes, code: str) -> bytes:
    """The referrer, once this is said. Raises what `Referrals.bind` raises."""
    now = context.clock()
    within_s = _rules(context).bind_days * DAY_S
    return await context.referrals.bind(wallet, code, now=now, within_s=within_s)


def _rules(context: Context) -> rules.Rules:
    return rules.ours().at(int(context.clock()))


def _address(stored: Any) -> str | None:
    return address(bytes.fromhex(stored[2:])) if stored else None


def _hex(cursor: str) -> str:
    try:
        raw = bytes.fromhex(cursor.removeprefix("0x"))
    except ValueError as error:
        raise _no_cursor() from error
    if len(raw) != 20:
        raise _no_cursor()
    return hex_of(raw)


def _place(cursor: str) -> tuple[int, str]:
    time, _, key = cursor.partition("~")
    if not (time.isascii() and time.isdigit() and len(time) <= 12 and key.startswith("fee:")):
        raise _no_cursor()
    return int(time), key


def _no_cursor() -> CallerError:
    return CallerError("invalid_request", "cursor: Expected a cursor of an earlier page")
