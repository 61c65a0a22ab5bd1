"""/api/points: balances, the ledger that they come from, and proofs of it."""

import asyncio
from typing import Any

from aiohttp import web

from engine.errors import CallerError
from engine.limits import LIST_COUNT_MAX
from engine.points import merkle, rules
from engine.points.pending import pending
from engine.points.rules import DAY_S, Season
from engine.text import address, hex_of, units
from gateway import people
from gateway.addresses import parse_address
from gateway.bodies import read_query
from gateway.context import Context, context_of
from gateway.errors import json_response, success
from gateway.models import LeaderboardQuery, LedgerQuery, SeasonQuery

MICRO_DECIMALS = 6
ROOTS_SHOWN = 400
RANK_MAX = 10_000


async def one(request: web.Request) -> web.Response:
    """A wallet's points of a season. `pending` is what it would get if what is recorded became
    final as it is and it did nothing else, transfers between the chains that were paid among it:
    never in the ledger, gone if the chain takes it back.
    """
    query = read_query(request, SeasonQuery)
    context, who = context_of(request), parse_address(request.match_info["address"])
    season = _season(context, query.season)
    found = await context.uncounted.of(who, season.id)
    total = await context.points.total(season.id)
    day, streak = await context.points.streak(who)
    balance, counted = found.balance, found.counted
    today = counted.time // DAY_S
    # Of a busy wallet thousands of deeds: beside the loop, which has others to serve.
    coming = await asyncio.to_thread(
        pending, rules.ours(), found.known, found.deeds, who=who, season=season.id
    )
    return json_response(
        success(
            {
                "address": address(who),
                "season": season.id,
                "points": units(balance["micro"], MICRO_DECIMALS),
                "byRule": _by_rule(balance["by"]),
                "entries": balance["rows"],
                "rank": await context.points.rank(season.id, balance["micro"], RANK_MAX),
                "allocation": str(_allocation(season, balance["micro"], total)),
                "pending": units(coming.micro, MICRO_DECIMALS),
                "pendingByRule": _by_rule(coming.by_rule),
                "pendingBlock": max(found.tip, counted.block),
                "pendingWhole": found.whole,
                "streakDays": streak if day >= today - 1 else 0,
                "countedBlock": counted.block,
                "countedTime": counted.time,
            }
        )
    )


async def leaderboard(request: web.Request) -> web.Response:
    """Wallets by points; `allocation` is the share of the pool if the season ended now."""
    query = read_query(request, LeaderboardQuery)
    context = context_of(request)
    season = _season(context, query.season)
    skip = (query.page - 1) * query.limit
    found = []
    if skip < LIST_COUNT_MAX:
        found = await context.points.leaders(season.id, skip=skip, limit=query.limit)
    total = await context.points.total(season.id)
    items = [
        {
            "rank": skip + place,
            "address": address(bytes.fromhex(row["who"][2:])),
            "points": units(row["micro"], MICRO_DECIMALS),
            "allocation": str(_allocation(season, row["micro"], total)),
        }
        for place, row in enumerate(found, 1)
    ]
    wallets = await context.points.wallets(season.id, LIST_COUNT_MAX)
    page = {"items": items, "page": query.page, "limit": query.limit, "total": wallets}
    return json_response(success(page | {"season": season.id}))


async def ledger(request: web.Request) -> web.Response:
    """A wallet's rows, the newest first, as they are hashed; `chain` is the hash up to it."""
    query = read_query(request, LedgerQuery)
    context = context_of(request)
    season = _season(context, query.season)
    found = await context.points.rows(
        season.id, query.address, limit=query.limit, before=query.cursor
    )
    items = [
        {name: row[name] for name in _ROW}
        | {
            "n": row["n"],
            "chain": hex_of(bytes(row["chain"])),
            "points": units(row["micro"], MICRO_DECIMALS),
        }
        for row in found
    ]
    cursor = str(found[-1]["n"]) if len(found) == query.limit and found[-1]["n"] > 1 else None
    return json_response(success({"items": items, "limit": query.limit, "cursor": cursor}))


async def proof(request: web.Request) -> web.Response:
    """The wallet's line on the last closed day, and its proof (OpenZeppelin's MerkleProof)."""
    query = read_query(request, SeasonQuery)
    context, who = context_of(request), parse_address(request.match_info["address"])
    season = _season(context, query.season)
    found = await context.point_days.prove(season.id, who)
    if found is None:
        raise CallerError("not_found", "Expected a wallet with points on a day that is closed")
    return json_response(
        success(
            {
                "address": address(who),
                "season": season.id,
                "day": found.day,
                "root": hex_of(found.root),
                "leafTypes": list(merkle.LEAF),
                "leaf": [address(who), str(found.micro), hex_of(found.chain)],
                "entries": found.rows,
                "proof": [hex_of(node) for node in found.proof],
            }
        )
    )


async def roots(request: web.Request) -> web.Response:
    """The daily roots of a season, the newest first; `day` counts UTC days since 1970."""
    query = read_query(request, SeasonQuery)
    context = context_of(request)
    season = _season(context, query.season)
    items = [
        {
            "day": row["day"],
            "root": row["root"],
            "wallets": row["wallets"],
            "points": units(row["micro"], MICRO_DECIMALS),
            "closedAt": people.iso(row["at"]),
        }
        for row in await context.point_days.roots(season.id, ROOTS_SHOWN)
    ]
    return json_response(success({"items": items, "season": season.id}))


async def rule_book(request: web.Request) -> web.Response:
    """Seasons and every version of the rules, as data."""
    book = rules.ours()
    seasons = [
        {"id": one.id, "from": one.start, "to": one.end, "pool": str(one.pool)}
        for one in book.seasons
    ]
    return json_response(
        success({"seasons": seasons, "versions": [rules.shown(one) for one in book.versions]})
    )


_ROW = ["key", "rule", "version", "season", "who", "micro", "time", "because", "token", "facts"]


def _season(context: Context, name: str | None) -> Season:
    book, now = rules.ours(), int(context.clock())
    if name is None:
        # Between seasons the last one, before the first the first.
        past = [one for one in book.seasons if one.start <= now]
        return past[-1] if past else book.seasons[0]
    found = next((one for one in book.seasons if one.id == name), None)
    if found is None:
        raise CallerError("not_found", "season: Expected one of GET /api/points/rules")
    return found


def _by_rule(micro: dict[str, int]) -> dict[str, str]:
    return {rule: units(value, MICRO_DECIMALS) for rule, value in micro.items()}


def _allocation(season: Season, micro: int, total: int) -> Any:
    return season.pool * micro // total if total else 0
