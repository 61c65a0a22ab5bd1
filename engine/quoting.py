"""A quote on one market value: exact for the block it names, a bound for later ones.

The launch fee never rises, so that after `exact_until_block` amounts out are a floor and
amounts in a ceiling.
"""

from collections.abc import Callable, Iterable

from curves import pool_trade, trade
from curves.curve import WAD, Curve, CurveError, MarketNotOpen, Quote
from curves.fees import BPS, FeeRates
from curves.uniswap_v2 import Pool
from curves.values import value
from engine.market import (
    PHASE_CURVE,
    PHASE_REOPENED,
    Market,
    curve_of,
    market_cap_wei,
    pool_rates,
    rates_at,
    spot_e18,
)
from engine.messages import PRECONFIRMED, AsOf, MarketView, QuoteReply, QuoteRequest, Refusal


@value
class Quotable:
    """A market where it stands, with what its quotes for the open block have in common. It is
    traded on `venue`, at `rates` until `exact_until`; its spot price is `above` / `below`.
    """

    market: Market
    venue: Curve | Pool
    as_of: AsOf
    bucket: int
    open_block: int
    rates: FeeRates
    exact_until: int | None
    above: int
    below: int
    spot_price_e18: int


def quotable(market: Market, *, as_of: AsOf, bucket: int) -> Quotable:
    """To be kept for as long as the market stands there."""
    # A preconfirmed state stands inside the open block, a sealed one below it.
    open_block = as_of.block_number + (as_of.status != PRECONFIRMED)
    venue: Curve | Pool
    if market.pool is not None:
        venue, rates, exact_until = market.pool, pool_rates(market.fees), None
        above, below = market.pool.price_fraction()
    else:
        venue = curve_of(market.numbers)
        rates, exact_until = rates_at(market, open_block)
        above, below = venue.price_fraction(market.sold, market.raised)
    spot = above * (WAD * WAD) // below
    # In the order of the fields, as below: of many tokens each quote comes here.
    return Quotable(
        market, venue, as_of, bucket, open_block, rates, exact_until, above, below, spot
    )


def answer(
    market: Market, request: QuoteRequest, *, as_of: AsOf, bucket: int
) -> QuoteReply | Refusal:
    """The quote, or a refusal with the code of the contract's error."""
    return answer_on(quotable(market, as_of=as_of, bucket=bucket), request)


def answer_on(at: Quotable, request: QuoteRequest) -> QuoteReply | Refusal:
    """As `answer`, of a market that was made ready."""
    market, as_of = at.market, at.as_of
    for_block, rates, exact_until = at.open_block, at.rates, at.exact_until
    if request.for_block is not None and request.for_block != for_block:
        if request.for_block < for_block:
            text = f"forBlock: Expected {for_block} or later, was {request.for_block}"
            return Refusal("invalid_request", text, at.bucket, as_of.version[0])
        for_block = request.for_block
        if market.pool is None:
            rates, exact_until = rates_at(market, for_block)
    try:
        quote = _quote(at, request, rates)
    except CurveError as error:
        return Refusal(error.code, str(error), at.bucket, as_of.version[0])
    amount_in, amount_out = _in_and_out(quote)
    # In the order of the fields, for names cost as much again and every quote comes here.
    return QuoteReply(
        market.token,
        request.is_buy,
        request.exact_out,
        amount_in,
        amount_out,
        quote.tokens,
        quote.eth,
        quote.curve_eth,
        quote.protocol_fee,
        quote.creator_fee,
        quote.launch_fee,
        quote.refund,
        quote.clipped,
        at.spot_price_e18,
        quote.eth * (WAD * WAD) // quote.tokens,
        _impact_bps(quote, at.above, at.below),
        bound(amount_in, amount_out, request),
        for_block,
        exact_until,
        market.phase,
        as_of,
        at.bucket,
        market.launchpad,
    )


def answers(
    requests: Iterable[QuoteRequest], find: Callable[[bytes, bool], Quotable | Refusal]
) -> tuple[QuoteReply | Refusal, ...]:
    """Of one moment, in order: a market that is asked about twice stands where it stood. `find`
    makes one ready by its token and whether the sealed state is asked for, or refuses.
    """
    found: dict[tuple[bytes, bool], Quotable | Refusal] = {}
    replies: list[QuoteReply | Refusal] = []
    for request in requests:
        key = (request.token, request.sealed)
        at = found.get(key)
        if at is None:
            at = found[key] = find(*key)
        replies.append(at if isinstance(at, Refusal) else answer_on(at, request))
    return tuple(replies)


def bound(amount_in: int, amount_out: int, request: QuoteRequest) -> int:
    """minOut of an exact-in trade, floored; maxIn of an exact-out one, ceiled."""
    if request.exact_out:
        return -(-amount_in * (BPS + request.slippage_bps) // BPS)
    return amount_out * (BPS - request.slippage_bps) // BPS


def view(market: Market, *, as_of: AsOf, bucket: int) -> MarketView:
    """The market as lists and pages show it."""
    price = spot_e18(market)
    return MarketView(
        token=market.token,
        phase=market.phase,
        family=market.numbers.family,
        sold=market.sold,
        raised=market.raised,
        curve_supply=market.numbers.curve_supply,
        price_e18=price,
        market_cap_wei=market_cap_wei(price),
        progress_bps=progress_bps(market),
        as_of=as_of,
        bucket=bucket,
        creator=market.creator,
        fees=market.fees,
        launch_block=market.launch_block,
        launchpad=market.launchpad,
        reserve_token=market.pool.reserve_token if market.pool else 0,
        reserve_weth=market.pool.reserve_weth if market.pool else 0,
    )


def progress_bps(market: Market) -> int:
    """Share of the curve's supply that is sold, floored; 10,000 only when it is complete."""
    return market.sold * BPS // market.numbers.curve_supply


def _in_and_out(quote: Quote) -> tuple[int, int]:
    if not quote.is_buy:
        return quote.tokens, quote.eth
    # An exact-in buy puts in what was asked for; what is clipped comes back as refund.
    return (quote.eth if quote.exact_out else quote.requested), quote.tokens


def _quote(at: Quotable, request: QuoteRequest, rates: FeeRates) -> Quote:
    market, venue = at.market, at.venue
    if isinstance(venue, Pool):
        return _on_pool(venue, request, rates=rates)
    open_ = market.phase == PHASE_CURVE or (market.phase == PHASE_REOPENED and not request.is_buy)
    if not open_:
        raise MarketNotOpen(f"Expected an open market, was {market.phase}")
    sold, raised = market.sold, market.raised
    if request.is_buy and request.exact_out:
        return trade.buy_exact_out(venue, sold, raised, rates=rates, tokens=request.amount)
    if request.is_buy:
        return trade.buy_exact_in(venue, sold, raised, rates=rates, value=request.amount)
    if request.exact_out:
        return trade.sell_exact_out(venue, sold, raised, rates=rates, eth=request.amount)
    return trade.sell_exact_in(venue, sold, raised, rates=rates, tokens=request.amount)


def _on_pool(pool: Pool, request: QuoteRequest, *, rates: FeeRates) -> Quote:
    if request.is_buy and request.exact_out:
        return pool_trade.buy_exact_out(pool, rates=rates, tokens=request.amount)
    if request.is_buy:
        return pool_trade.buy_exact_in(pool, rates=rates, value=request.amount)
    if request.exact_out:
        return pool_trade.sell_exact_out(pool, rates=rates, eth=request.amount)
    return pool_trade.sell_exact_in(pool, rates=rates, tokens=request.amount)


def _impact_bps(quote: Quote, above: int, below: int) -> int:
    # Against the spot price before the trade and without fees, as the field shows it.
    at_spot = quote.tokens * above
    paid = quote.curve_eth * below
    return abs(paid - at_spot) * BPS // at_spot
