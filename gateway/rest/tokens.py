"""Tokens: create, list, one, chart, transactions."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from chain import transactions as codec
from engine.errors import CallerError
from engine.limits import CANDLES_MAX
from engine.messages import CurveNumbers, Refusal
from engine.rows import TokenRecord
from engine.text import address, hex_of, price, units
from gateway import links, listing, metadata, quotes, unsigned, view
from gateway.addresses import parse_address
from gateway.bodies import read_body, read_query
from gateway.context import Context, context_of, identity_of
from gateway.errors import json_response, raise_refusal, success
from gateway.launches import FirstBuy, first_buy
from gateway.models import (
    ChartQuery,
    CreateRequest,
    DocumentRequest,
    HistoryQuery,
    PageQuery,
    TokensQuery,
)

# (seconds shown, minutes a candle when none is asked for)
_TIMEFRAMES = {
    "1h": (3_600, 1),
    "24h": (86_400, 5),
    "7d": (604_800, 30),
    "30d": (2_592_000, 120),
}


async def create(request: web.Request) -> web.Response:
    """The unsigned launch with its token's address, and its document stored at once."""
    body = await read_body(request, CreateRequest)
    context, creator = context_of(request), identity_of(request).address
    document = metadata.document(body.fields)
    hashed, salt = metadata.metadata_hash(document), secrets.token_bytes(32)
    curve_id, numbers = await context.launches.curve(body.curve)
    token, bought = await asyncio.gather(
        context.launches.address(creator, salt), _first_buy(context, body, numbers)
    )
    data = codec.create(
        name=document["name"],
        symbol=document["symbol"],
        metadata_hash=hashed,
        salt=salt,
        curve_id=curve_id,
        min_tokens=bought.min_tokens if bought else 0,
        deadline=int(context.clock()) + unsigned.DEADLINE_S,
    )
    transaction = await unsigned.transaction(
        context.node,
        context.chain,
        action="create",
        sender=creator,
        data=data,
        value=bought.value if bought else 0,
    )
    await context.documents.store_metadata(
        hashed, document, creator=creator, now=context.clock(), image=_image(document)
    )
    return json_response(
        success(
            {
                "tokenAddress": address(token),
                "metadataHash": hex_of(hashed),
                "salt": hex_of(salt),
                "transaction": transaction,
                "quote": _first_quote(token, bought) if bought else None,
            }
        )
    )


async def put_metadata(request: web.Request) -> web.Response:
    """Gives a launched token the document that its launch holds the hash of. Anybody may: the
    hash proves it. Repeatable.
    """
    body = await read_body(request, DocumentRequest)
    context, token = context_of(request), _token(request)
    record = await _record(context, token)
    document = metadata.document(body.fields)
    metadata.check(record, document)
    await context.documents.store_metadata(
        record.metadata_hash,
        document,
        creator=record.creator,
        now=context.clock(),
        image=_image(document),
        mined=True,
    )
    shown = {"tokenAddress": address(token), "metadataHash": hex_of(record.metadata_hash)}
    return json_response(success(shown | {"metadata": document}))


async def list_tokens(request: web.Request) -> web.Response:
    """A page of tokens; each row's market is live or says why it is not."""
    query = read_query(request, TokensQuery)
    context = context_of(request)
    records, total = await context.reads.tokens(
        page=query.page,
        limit=query.limit,
        search=query.search or None,
        sort_by=query.sort_by,
        order=query.order_by,
        graduated=query.graduated,
    )
    items = await listing.with_markets(context, records)
    return json_response(
        success({"items": items, "page": query.page, "limit": query.limit, "total": total})
    )


async def one(request: web.Request) -> web.Response:
    """A token. Its market must answer: a halted or stale one is a 503, not an old price."""
    context, token = context_of(request), _token(request)
    record = await _record(context, token)
    (found,), documents, usd = await asyncio.gather(
        quotes.views(context, [token]),
        context.documents.metadata([record.metadata_hash]),
        context.usd.price(),
    )
    if isinstance(found, Refusal):
        raise_refusal(found)
    document = metadata.of(record, documents.get(hex_of(record.metadata_hash)))
    return json_response(success(view.token_data(record, found, document, usd=usd)))


async def chart(request: web.Request) -> web.Response:
    """Candles of sealed trades up to now; a step without trades carries the close."""
    query = read_query(request, ChartQuery)
    context, token = context_of(request), _token(request)
    seconds, default = _TIMEFRAMES[query.timeframe]
    step_s = 60 * (query.resolution or default)
    if seconds // step_s > CANDLES_MAX:
        raise CallerError(
            "invalid_request",
            f"resolution: Expected at most {CANDLES_MAX} candles, was {seconds // step_s}",
            {"fields": [{"field": "resolution", "message": "too fine for this timeframe"}]},
        )
    record = await _record(context, token)
    # The chain's clock may run beside ours; its newest event is not to fall off the edge.
    now = max(int(context.clock()), record.updated_at)
    end = now - now % step_s + step_s
    start = end - max(seconds // step_s, 1) * step_s
    rows, before = await context.reads.candles(token, start=start, end=end, step_s=step_s)
    return json_response(
        success(
            {
                "tokenAddress": address(token),
                "timeframe": query.timeframe,
                "resolution": step_s // 60,
                "candles": view.candles(rows, before, span=range(start, end, step_s)),
            }
        )
    )


async def holders(request: web.Request) -> web.Response:
    """A token's holders, the largest first; the launchpad and the pair are not counted."""
    query = read_query(request, PageQuery)
    context, token = context_of(request), _token(request)
    record = await _record(context, token)
    found = await context.market_reads.holders(token, page=query.page, limit=query.limit)
    supply = record.curve.curve_supply + record.curve.pool_supply
    items = [
        {
            "address": address(one.holder),
            "balance": units(one.balance),
            "shareBps": one.balance * 10_000 // supply,
            "firstBuyAt": one.first_buy,
        }
        for one in found
    ]
    page = {"items": items, "page": query.page, "limit": query.limit, "total": record.holders}
    return json_response(success(page))


async def of_creator(request: web.Request) -> web.Response:
    """A wallet's tokens, newest first."""
    query = read_query(request, PageQuery)
    context = context_of(request)
    records, total = await context.market_reads.of_creator(
        parse_address(request.match_info["address"]), page=query.page, limit=query.limit
    )
    items = await listing.with_markets(context, records)
    page = {"items": items, "page": query.page, "limit": query.limit, "total": total}
    return json_response(success(page))


async def transactions(request: web.Request) -> web.Response:
    """A token's mined transactions, newest first."""
    query = read_query(request, HistoryQuery)
    context, token = context_of(request), _token(request)
    await _record(context, token)
    records, total = await context.reads.transactions(
        token, page=query.page, limit=query.limit, before=query.cursor
    )
    return json_response(
        success(
            {
                "items": [view.transaction_data(record) for record in records],
                "page": query.page,
                "limit": query.limit,
                "total": total,
                "cursor": view.cursor_of(records, query.limit),
            }
        )
    )


def _image(document: Mapping[str, str]) -> str | None:
    return links.own_image(document.get("imageUrl", ""))


async def _record(context: Context, token: bytes) -> TokenRecord:
    record = await context.reads.token(token)
    if record is None:
        raise CallerError("token_not_found", "Expected a launched token")
    return record


def _token(request: web.Request) -> bytes:
    return parse_address(request.match_info["address"])


async def _first_buy(
    context: Context, body: CreateRequest, numbers: CurveNumbers
) -> FirstBuy | None:
    if body.initial_buy_eth is None:
        return None
    fees = await context.launches.fees()
    return first_buy(numbers, fees, value=body.initial_buy_eth, slippage_bps=body.slippage)


def _first_quote(token: bytes, bought: FirstBuy) -> dict[str, Any]:
    # No market exists yet, so there is no block and no state that the quote could name.
    quote = bought.quote
    return {
        "tokenAddress": address(token),
        "type": "buy",
        "mode": view.EXACT_IN,
        "amountIn": units(bought.value),
        "amountOut": units(quote.tokens),
        "fees": {
            "protocol": units(quote.protocol_fee),
            "creator": units(quote.creator_fee),
            "launch": units(quote.launch_fee),
        },
        "spotPrice": price(bought.spot_price_e18),
        "executionPrice": price(quote.eth * 10**36 // quote.tokens),
        "priceImpactBps": bought.price_impact_bps,
        "minOut": units(bought.min_tokens),
        "clipped": quote.clipped,
        "spent": units(quote.eth),
        "refund": units(quote.refund),
        "forBlock": None,
        "exactUntilBlock": None,
        "phase": "curve",
        "asOf": None,
    }
