"""A market as an immutable value, and what an event of the chain does to it.

`apply` recomputes every trade with the curve's twin and compares each amount with the
event: a difference is a `ConsistencyError`, never a repaired value. So a market that is
served equals the contract, or is not served.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from curves import trade
from curves.constant_product import ConstantProduct
from curves.curve import TOTAL_SUPPLY, WAD, Curve, CurveError, Quote
from curves.fees import FeeRates, FeeSchedule
from curves.linear import Linear
from engine.errors import ConsistencyError
from engine.messages import (
    FAMILY_CONSTANT_PRODUCT,
    FAMILY_LINEAR,
    Completed,
    CurveNumbers,
    FeeNumbers,
    MarketEvent,
    TokenCreated,
    Traded,
)

PHASE_CURVE = "curve"
PHASE_GRADUATING = "graduating"
PHASE_GRADUATED = "graduated"


@dataclass(frozen=True, slots=True)
class Market:
    """`seq` counts the token's events (the launch is 1); `block` and `log_index` are those
    of the last one. `launch_tx` is kept until the second event: a buy in that transaction
    may be the first buy, which is exempt from the launch fee.
    """

    token: bytes
    creator: bytes
    pair: bytes
    numbers: CurveNumbers
    fees: FeeNumbers
    launch_block: int
    phase: str
    sold: int
    raised: int
    seq: int
    block: int
    log_index: int
    launch_tx: bytes | None


@dataclass(frozen=True, slots=True)
class Launched:
    """Effect: a market was born."""

    event: TokenCreated


@dataclass(frozen=True, slots=True)
class PriceMoved:
    """Effect: a trade changed the market."""

    event: Traded


@dataclass(frozen=True, slots=True)
class SoldOut:
    """Effect: the curve is complete, the market is graduating."""

    event: Completed


Effect = Launched | PriceMoved | SoldOut


@lru_cache(maxsize=1024)
def curve_of(numbers: CurveNumbers) -> Curve:
    """The curve of a configuration; one object for all its markets."""
    arguments = (numbers.a, numbers.b, numbers.curve_supply, numbers.pool_supply)
    if numbers.family == FAMILY_CONSTANT_PRODUCT:
        return ConstantProduct(*arguments)
    if numbers.family == FAMILY_LINEAR:
        return Linear(*arguments)
    raise ConsistencyError("unknown_curve", f"Expected a known family, was {numbers.family}")


@lru_cache(maxsize=65_536)
def schedule_of(fees: FeeNumbers, launch_block: int) -> FeeSchedule:
    """The fee schedule of a token launched in `launch_block`."""
    return FeeSchedule(
        fees.protocol_bps, fees.creator_bps, fees.launch_bps, fees.launch_blocks, launch_block
    )


def apply(market: Market | None, event: MarketEvent) -> tuple[Market, tuple[Effect, ...]]:
    """The market after `event`, and what came of it. Raises ConsistencyError.

    An event at or below the market's `seq` has been applied before: no change, no effect.
    """
    if isinstance(event, TokenCreated):
        return (market, ()) if market else (_launched(event), (Launched(event),))
    if market is None:
        raise ConsistencyError("unknown_market", f"Expected a launch before seq {event.seq}")
    if event.seq <= market.seq:
        return market, ()
    if event.seq != market.seq + 1:
        raise ConsistencyError("seq_gap", f"Expected seq {market.seq + 1}, was {event.seq}")
    if isinstance(event, Traded):
        return _traded(market, event), (PriceMoved(event),)
    return _completed(market, event), (SoldOut(event),)


def price_e18(numbers: CurveNumbers, sold: int, raised: int) -> int:
    """Spot price: floor(wei per whole token * 1e18)."""
    above, below = curve_of(numbers).price_fraction(sold, raised)
    return above * WAD * WAD // below


def market_cap_wei(price: int) -> int:
    """Spot times the total supply, wei, from a `price_e18`."""
    return price * TOTAL_SUPPLY // (WAD * WAD)


def _launched(event: TokenCreated) -> Market:
    if event.seq != 1:
        raise ConsistencyError("seq_gap", f"Expected a launch with seq 1, was {event.seq}")
    return Market(
        token=event.token,
        creator=event.creator,
        pair=event.pair,
        numbers=_shared(event.curve),
        fees=_shared_fees(event.fees),
        launch_block=event.at.block_number,
        phase=PHASE_CURVE,
        sold=0,
        raised=0,
        seq=1,
        block=event.at.block_number,
        log_index=event.at.log_index,
        launch_tx=event.at.tx_hash,
    )


def _traded(market: Market, event: Traded) -> Market:
    if market.phase != PHASE_CURVE:
        raise ConsistencyError("phase", f"Expected an open curve, was {market.phase}")
    rates = schedule_of(market.fees, market.launch_block).at(event.at.block_number)
    candidates = [rates]
    if market.launch_tx == event.at.tx_hash:
        candidates.insert(0, FeeRates(rates.protocol_bps, rates.creator_bps, 0))
    if not any(_agrees(_expected(market, event, rates), event) for rates in candidates):
        raise ConsistencyError(
            "arithmetic",
            f"Expected {_expected(market, event, candidates[-1])}, was {event}",
        )
    done = event.sold == market.numbers.curve_supply
    return replace(
        market,
        phase=PHASE_GRADUATING if done else PHASE_CURVE,
        sold=event.sold,
        raised=event.raised,
        seq=event.seq,
        block=event.at.block_number,
        log_index=event.at.log_index,
        launch_tx=None,
    )


def _completed(market: Market, event: Completed) -> Market:
    seen = (market.phase, market.sold, market.raised)
    if seen != (PHASE_GRADUATING, event.sold, event.raised):
        raise ConsistencyError("arithmetic", f"Expected a complete curve, was {seen}")
    return replace(market, seq=event.seq, block=event.at.block_number, log_index=event.at.log_index)


def _expected(market: Market, event: Traded, rates: FeeRates) -> Quote | CurveError:
    curve = curve_of(market.numbers)
    sold, raised, amount = market.sold, market.raised, event.requested
    try:
        if event.is_buy and event.exact_out:
            return trade.buy_exact_out(curve, sold, raised, rates=rates, tokens=amount)
        if event.is_buy:
            return trade.buy_exact_in(curve, sold, raised, rates=rates, value=amount)
        if event.exact_out:
            return trade.sell_exact_out(curve, sold, raised, rates=rates, eth=amount)
        return trade.sell_exact_in(curve, sold, raised, rates=rates, tokens=amount)
    except CurveError as error:
        return error


def _agrees(quote: Quote | CurveError, event: Traded) -> bool:
    if isinstance(quote, CurveError):
        return False
    # What an exact-out buy gets back depends on the value sent, which is not in its quote.
    refund = event.refund if event.is_buy and event.exact_out else quote.refund
    return (
        quote.tokens,
        quote.curve_eth,
        quote.protocol_fee,
        quote.creator_fee,
        quote.launch_fee,
        refund,
        quote.sold,
        quote.raised,
        quote.clipped,
    ) == (
        event.tokens,
        event.curve_eth,
        event.protocol_fee,
        event.creator_fee,
        event.launch_fee,
        event.refund,
        event.sold,
        event.raised,
        event.clipped,
    )


@lru_cache(maxsize=1024)
def _shared(numbers: CurveNumbers) -> CurveNumbers:
    # One object for all markets of a configuration: a million markets, a few curves.
    return numbers


@lru_cache(maxsize=1024)
def _shared_fees(fees: FeeNumbers) -> FeeNumbers:
    return fees
