"""Trading: quote, buy, sell, submit, tx, portfolio. Nothing here holds anybody's funds."""

from aiohttp import web

from engine.messages import QuoteReply, QuoteRequest
from gateway import portfolios, quotes, submission, unsigned, view
from gateway.addresses import parse_address, parse_hash
from gateway.bodies import read_body, read_query
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.models import (
    BuyRequest,
    PortfolioQuery,
    QuoteBody,
    SellRequest,
    SubmitRequest,
    TradeBody,
)


async def quote(request: web.Request) -> web.Response:
    """What a trade would give, from memory."""
    body = await read_body(request, QuoteBody)
    return json_response(success(await quotes.quote_data(context_of(request), body, "rest")))


async def buy(request: web.Request) -> web.Response:
    """A quote and the unsigned transaction made from it."""
    body = await read_body(request, BuyRequest)
    return await _trade(request, body, is_buy=True, exact_out=body.eth_amount is None)


async def sell(request: web.Request) -> web.Response:
    """A quote and the unsigned transaction made from it."""
    body = await read_body(request, SellRequest)
    return await _trade(request, body, is_buy=False, exact_out=body.token_amount is None)


async def submit(request: web.Request) -> web.Response:
    """Send a signed transaction: its state with the fill, or 202 while it waits."""
    body = await read_body(request, SubmitRequest)
    state = await context_of(request).submission.submit(body.raw_transaction)
    return json_response(success(state), 202 if state["status"] == submission.PENDING else 200)


async def transaction(request: web.Request) -> web.Response:
    """What became of a transaction."""
    tx_hash = parse_hash(request.match_info["hash"])
    return json_response(success(await context_of(request).submission.state(tx_hash)))


async def portfolio(request: web.Request) -> web.Response:
    """A wallet's tokens with live prices, profit by moving average cost, and the chain's word
    for it.
    """
    query = read_query(request, PortfolioQuery)
    owner = parse_address(request.match_info["address"])
    return json_response(
        success(await portfolios.portfolio(context_of(request), owner, closed=query.closed))
    )


async def _trade(
    request: web.Request, body: TradeBody, *, is_buy: bool, exact_out: bool
) -> web.Response:
    context, sender = context_of(request), identity_of(request).address
    amount = body.token_amount if body.eth_amount is None else body.eth_amount
    assert amount is not None, "Expected one amount, the model has checked it"
    asked = QuoteRequest(body.token_address, is_buy, exact_out, amount, body.slippage)
    reply: QuoteReply = await quotes.quote(context, asked)
    deadline = int(context.clock()) + unsigned.DEADLINE_S
    action, data, value = unsigned.trade_call(reply, sender=sender, deadline=deadline)
    made = await unsigned.transaction(
        context.node,
        context.chain,
        action=action,
        sender=sender,
        data=data,
        value=value,
        launchpad=reply.launchpad,
    )
    return json_response(success({"quote": view.quote_data(reply), "transaction": made}))
