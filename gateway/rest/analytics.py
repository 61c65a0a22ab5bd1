"""/api/analytics: figures of the platform, as of the analytics role's last turn; live prices."""

import asyncio

from aiohttp import web

from engine.errors import CallerError
from engine.text import PRICE_DECIMALS, address, base_units, units
from gateway import listing, people, view
from gateway.bodies import read_query
from gateway.context import context_of
from gateway.errors import json_response, success
from gateway.models import HistoryCursorQuery, PageQuery
from gateway.usd import DECIMALS

_BPS = 10_000


async def overview(request: web.Request) -> web.Response:
    """The seed's OverviewStats and some more; ETH."""
    context = context_of(request)
    found = await context.market_reads.stats("overview") or {}
    users, usd = await asyncio.gather(context.people.about(), context.usd.price())
    return json_response(
        success(
            {
                "totalTokens": found.get("tokens", 0),
                "totalVolume24h": units(int(found.get("volume24h", 0))),
                "totalUsers": users,
                "graduatedTokens": found.get("graduated", 0),
                "totalTrades": int(found.get("trades", 0)),
                "totalVolume": units(int(found.get("volumeEver", 0))),
                "ethUsd": None if usd is None else units(usd.usd_e8, DECIMALS),
                "ethUsdAt": None if usd is None else people.iso(usd.updated_at),
                "asOfBlock": found.get("block"),
                "asOfTime": people.iso(found.get("time")),
            }
        )
    )


async def trending(request: web.Request) -> web.Response:
    """Tokens by the volume of the last hour, at live prices."""
    query = read_query(request, PageQuery)
    context = context_of(request)
    found, total = await context.market_reads.trending(page=query.page, limit=query.limit)
    items = await listing.with_markets(context, [one.token for one in found])
    for item, one in zip(items, found, strict=True):
        item["volume1h"] = units(one.volume_1h)
        item["trades24h"] = one.trades_24h
        item["priceChange24hBps"] = _change(item["price"], one.price_before)
    page = {"items": items, "page": query.page, "limit": query.limit, "total": total}
    return json_response(success(page))


async def top_creators(request: web.Request) -> web.Response:
    """Creators by the volume of all their tokens; at most 100."""
    query = read_query(request, PageQuery)
    found = await context_of(request).market_reads.stats("creators") or []
    first = (query.page - 1) * query.limit
    items = [
        {
            "rank": rank,
            "creator": address(bytes.fromhex(one["creator"])),
            "tokens": one["tokens"],
            "graduated": one["graduated"],
            "volume24h": units(int(one["volume24h"])),
            "totalVolume": units(int(one["volumeEver"])),
            "bestMarketCap": units(int(one["marketCap"])),
        }
        for rank, one in enumerate(found[first : first + query.limit], first + 1)
    ]
    page = {"items": items, "page": query.page, "limit": query.limit, "total": len(found)}
    return json_response(success(page))


async def king_of_the_hill(request: web.Request) -> web.Response:
    """The dearest token that is still on its curve."""
    context = context_of(request)
    record = await context.market_reads.king()
    if record is None:
        raise CallerError("not_found", "Expected a token on its curve")
    (item,) = await listing.with_markets(context, [record])
    return json_response(success(item))


async def leaderboard(request: web.Request) -> web.Response:
    """Traders by realised profit over all tokens, by moving average cost; ETH."""
    query = read_query(request, PageQuery)
    found, total = await context_of(request).market_reads.traders(
        page=query.page, limit=query.limit
    )
    first = (query.page - 1) * query.limit + 1
    items = [
        {
            "rank": first + place,
            "address": address(one.trader),
            "realisedPnl": units(one.realised),
            "volume": units(one.volume),
            "tokens": one.tokens,
        }
        for place, one in enumerate(found)
    ]
    page = {"items": items, "page": query.page, "limit": query.limit, "total": total}
    return json_response(success(page))


async def trades(request: web.Request) -> web.Response:
    """Everybody's newest trades; `cursor` goes on from an earlier page."""
    query = read_query(request, HistoryCursorQuery)
    found = await context_of(request).market_reads.trades(query.limit, query.cursor)
    items = [view.transaction_data(record) for record in found]
    cursor = view.cursor_of(found, query.limit)
    return json_response(success({"items": items, "limit": query.limit, "cursor": cursor}))


def _change(live: str | None, before: int | None) -> int | None:
    # From the price that is shown, which is the market's in memory.
    if live is None or not before:
        return None
    return (base_units(live, PRICE_DECIMALS) - before) * _BPS // before
