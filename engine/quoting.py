"""A quote on one market value: exact for the block it names, a bound for later ones.

The launch fee never rises, so that after `exact_until_block` amounts out are a floor and
amounts in a ceiling.
"""

from curves import pool_trade, trade
from curves.curve import WAD, CurveError, MarketNotOpen, Quote
from curves.fees import BPS, FeeRates
from curves.uniswap_v2 import Pool
from engine.market import (
    PHASE_CURVE,
    PHASE_REOPENED,
    Market,
    curve_of,
    market_cap_wei,
    pool_rates,
    schedule_of,
    spot_e18,
    spot_fraction,
)
from engine.messages import PRECONFIRMED, AsOf, MarketView, QuoteReply, QuoteRequest, Refusal


def answer(
    market: Market, request: QuoteRequest, *, as_of: AsOf, bucket: int
) -> QuoteReply | Refusal:
    """The quote, or a refusal with the code of the contract's error."""
    open_block = _open_block(as_of)
    for_block = open_block if request.for_block is None else request.for_block
    if for_block < open_block:
        text = f"forBlock: Expected {open_block} or later, was {for_block}"
        return Refusal("invalid_request", text, bucket, as_of.version[0])
    schedule = schedule_of(market.fees, market.launch_block)
    try:
        quote = quote_on(market, request, rates=schedule.at(for_block))
    except CurveError as error:
        return Refusal(error.code, str(error), bucket, as_of.version[0])
    amount_in, amount_out = _in_and_out(quote)
    above, below = spot_fraction(market)
    return QuoteReply(
        token=market.token,
        is_buy=request.is_buy,
        exact_out=request.exact_out,
        amount_in=amount_in,
        amount_out=amount_out,
        tokens=quote.tokens,
        eth=quote.eth,
        curve_eth=quote.curve_eth,
        protocol_fee=quote.protocol_fee,
        creator_fee=quote.creator_fee,
        launch_fee=quote.launch_fee,
        refund=quote.refund,
        clipped=quote.clipped,
        spot_price_e18=above * WAD * WAD // below,
        execution_price_e18=quote.eth * WAD * WAD // quote.tokens,
        price_impact_bps=_impact_bps(quote, above, below),
        bound=bound(amount_in, amount_out, request),
        for_block=for_block,
        exact_until_block=None if market.pool else schedule.exact_until(for_block),
        phase=market.phase,
        as_of=as_of,
        bucket=bucket,
        launchpad=market.launchpad,
    )


def quote_on(market: Market, request: QuoteRequest, *, rates: FeeRates) -> Quote:
    """The bare trade of `request`, on the curve at `rates`, on the pool at its own. Raises
    CurveError.
    """
    if market.pool is not None:
        return _on_pool(market.pool, request, rates=pool_rates(market.fees))
    open_ = market.phase == PHASE_CURVE or (market.phase == PHASE_REOPENED and not request.is_buy)
    if not open_:
        raise MarketNotOpen(f"Expected an open market, was {market.phase}")
    curve, sold, raised = curve_of(market.numbers), market.sold, market.raised
    if request.is_buy and request.exact_out:
        return trade.buy_exact_out(curve, sold, raised, rates=rates, tokens=request.amount)
    if request.is_buy:
        return trade.buy_exact_in(curve, sold, raised, rates=rates, value=request.amount)
    if request.exact_out:
        return trade.sell_exact_out(curve, sold, raised, rates=rates, eth=request.amount)
    return trade.sell_exact_in(curve, sold, raised, rates=rates, tokens=request.amount)


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


def _on_pool(pool: Pool, request: QuoteRequest, *, rates: FeeRates) -> Quote:
    if request.is_buy and request.exact_out:
        return pool_trade.buy_exact_out(pool, rates=rates, tokens=request.amount)
    if request.is_buy:
        return pool_trade.buy_exact_in(pool, rates=rates, value=request.amount)
    if request.exact_out:
        return pool_trade.sell_exact_out(pool, rates=rates, eth=request.amount)
    return pool_trade.sell_exact_in(pool, rates=rates, tokens=request.amount)


def _open_block(as_of: AsOf) -> int:
    # A preconfirmed state stands inside the open block, a sealed one below it.
    return as_of.block_number + (as_of.status != PRECONFIRMED)


def _impact_bps(quote: Quote, above: int, below: int) -> int:
    # Against the spot price before the trade and without fees, as the field shows it.
    at_spot = quote.tokens * above
    paid = quote.curve_eth * below
    return abs(paid - at_spot) * BPS // at_spot
