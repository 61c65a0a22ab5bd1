"""A quote at any door: from the markets in memory, never from a store or a node."""

import asyncio
from typing import Any

from engine.errors import TransientError
from engine.messages import MarketView, QuoteReply, QuoteRequest, Refusal
from gateway import view
from gateway.context import Context
from gateway.errors import public, raise_refusal
from gateway.models import QuoteBody


def quote_request(body: QuoteBody) -> QuoteRequest:
    """What is asked of the market."""
    return QuoteRequest(
        token=body.token_address,
        is_buy=body.type == "buy",
        exact_out=body.mode == view.EXACT_OUT,
        amount=body.amount,
        slippage_bps=body.slippage,
        for_block=body.for_block,
        sealed=body.finality == "sealed",
    )


async def quote(context: Context, request: QuoteRequest) -> QuoteReply:
    """The reply. A refusal is raised as the error it stands for; so is silence."""
    # The markets have a deadline of their own; this one is for a client of them that hangs.
    patience_s = context.settings.quote_timeout_s + 1.0
    try:
        async with asyncio.timeout(patience_s):
            reply = await context.markets.quote(request)
    except TimeoutError as error:
        raise TransientError("shard_unavailable", "Expected a quote in time") from error
    if isinstance(reply, Refusal):
        raise_refusal(reply)
    return reply


async def quote_data(context: Context, body: QuoteBody, door: str) -> dict[str, Any]:
    """A quote as JSON, counted by door and outcome."""
    try:
        reply = await quote(context, quote_request(body))
    except Exception as error:
        known = public(error)
        context.metrics.quote(door, known.code if known else "internal_error")
        raise
    context.metrics.quote(door, "ok")
    return view.quote_data(reply)


async def views(context: Context, tokens: list[bytes]) -> list[MarketView | Refusal]:
    """Live markets in order, in one call; where none answers, a refusal."""
    if not tokens:
        return []
    patience_s = context.settings.quote_timeout_s + 1.0
    try:
        async with asyncio.timeout(patience_s):
            return await context.markets.views(tokens)
    except (TimeoutError, TransientError) as error:
        code = error.code if isinstance(error, TransientError) else "shard_unavailable"
        return [Refusal(code, "Expected the market to answer")] * len(tokens)
