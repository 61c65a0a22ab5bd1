"""A market as an immutable value, and what an event of the chain does to it.

`apply` recomputes every trade with the curve's twin and compares each amount with the
event: a difference is a `ConsistencyError`, never a repaired value. So a market that is
served equals the contract, or is not served.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from curves import pool_trade, trade
from curves.constant_product import ConstantProduct
from curves.curve import TOTAL_SUPPLY, WAD, Curve, CurveError, Quote
from curves.fees import FeeRates, FeeSchedule
from curves.linear import Linear
from curves.uniswap_v2 import Pool
from curves.values import value
from engine.errors import ConsistencyError
from engine.messages import (
    FAMILY_CONSTANT_PRODUCT,
    FAMILY_LINEAR,
    VENUE_POOL,
    Completed,
    CurveNumbers,
    FeeNumbers,
    Graduated,
    MarketEvent,
    PoolEvent,
    PoolSwapped,
    PoolSynced,
    Reopened,
    TokenCreated,
    Traded,
)

PHASE_CURVE = "curve"
PHASE_GRADUATING = "graduating"
PHASE_GRADUATED = "graduated"
PHASE_REOPENED = "reopened"
"""Graduation did not come in seven days: the curve buys back and sells no more."""


@value
class Market:
    """`seq` counts the launchpad's events about the token (the launch is 1); `block` and
    `log_index` are those of the last event of any kind. `launch_tx` is kept until the second
    event: a buy in that transaction may be the first buy, which is exempt from the launch
    fee. `sold` and `raised` are the curve's, and stay as they were when it graduated.
    `pool` is the pair's reserves since then, and `pool_before` those before its last `Sync`:
    a trade's own `Sync` stands before its `Trade`.
    """

    token: bytes
    creator: bytes
    pair: bytes
    launchpad: bytes
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
    pool: Pool | None = None
    pool_before: Pool | None = None


@dataclass(frozen=True, slots=True)
class Launched:
    """Effect: a market was born."""

    event: TokenCreated


@value
class PriceMoved:
    """Effect: a trade, by us or by a foreign swap."""

    event: Traded | PoolSwapped


@dataclass(frozen=True, slots=True)
class SoldOut:
    """Effect: the curve is complete, the market is `graduating`."""

    event: Completed


@dataclass(frozen=True, slots=True)
class PoolOpened:
    """Effect: the market is `graduated`."""

    event: Graduated


@dataclass(frozen=True, slots=True)
class SalesResumed:
    """Effect: the market is `reopened`."""

    event: Reopened


@dataclass(frozen=True, slots=True)
class ReservesMoved:
    """Effect: the pair's reserves changed; a trade may follow, or it was liquidity."""

    event: PoolSynced


Effect = Launched | PriceMoved | SoldOut | PoolOpened | SalesResumed | ReservesMoved


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


def rates_at(market: Market, block: int) -> tuple[FeeRates, int | None]:
    """Of a trade on the curve in `block`, and the last block in which they are so; None: they
    never change again.
    """
    fees = market.fees
    if block - market.launch_block >= fees.launch_blocks:
        return _rates_after_launch(fees), None
    schedule = schedule_of(fees, market.launch_block)
    return schedule.at(block), schedule.exact_until(block)


@lru_cache(maxsize=1024)
def _rates_after_launch(fees: FeeNumbers) -> FeeRates:
    # Nearly all markets, nearly always: no schedule of its own is looked for.
    return schedule_of(fees, 0).without_launch()


def apply(market: Market | None, event: MarketEvent) -> tuple[Market, tuple[Effect, ...]]:
    """The market after `event`, and what came of it. Raises ConsistencyError.

    An event at or below the market's `seq` has been applied before: no change, no effect.
    Events of the pair have no `seq`; theirs is the order of the chain.
    """
    if isinstance(event, TokenCreated):
        return (market, ()) if market else (_launched(event), (Launched(event),))
    if market is None:
        raise ConsistencyError("unknown_market", f"Expected a launch before {event}")
    if isinstance(event, PoolEvent):
        return _pool_moved(market, event)
    if event.seq <= market.seq:
        return market, ()
    if event.seq != market.seq + 1:
        raise ConsistencyError("seq_gap", f"Expected seq {market.seq + 1}, was {event.seq}")
    return _numbered(market, event)


def apply_trades(
    market: Market, events: Sequence[MarketEvent], *, start: int = 0
) -> tuple[Market, list[Effect]]:
    """The market after the trades that stand from `start` on, and an effect of each: on its curve,
    in one block, each the next in number; maybe none. As `apply` of each in turn, but the value is
    made once and what a block has for all of its trades is looked up once. Raises ConsistencyError.
    """
    curve, block = curve_of(market.numbers), events[start].at.block_number
    schedule = schedule_of(market.fees, market.launch_block)
    rates = schedule.at(block)
    phase, sold, raised, seq = market.phase, market.sold, market.raised, market.seq
    launch_tx, log_index = market.launch_tx, market.log_index
    effects: list[Effect] = []
    for event in islice(events, start, None):
        if not isinstance(event, Traded) or event.venue == VENUE_POOL or event.seq != seq + 1:
            break
        at = event.at
        if at.block_number != block:
            break
        if not (phase == PHASE_CURVE or (phase == PHASE_REOPENED and not event.is_buy)):
            raise ConsistencyError("phase", f"Expected an open curve, was {phase}")
        expected = _expected(event, curve, sold=sold, raised=raised, rates=rates)
        if not _agrees(expected, event):
            exempt = schedule.without_launch()
            first = _expected(event, curve, sold=sold, raised=raised, rates=exempt)
            if launch_tx != at.tx_hash or not _agrees(first, event):
                raise ConsistencyError("arithmetic", f"Expected {expected}, was {event}")
        sold, raised, seq = event.sold, event.raised, event.seq
        if sold == market.numbers.curve_supply:
            phase = PHASE_GRADUATING
        launch_tx, log_index = None, at.log_index
        effects.append(PriceMoved(event))
    if not effects:
        return market, effects
    # Every trade comes here: in the order of the fields, for names cost as much again.
    after = Market(
        market.token,
        market.creator,
        market.pair,
        market.launchpad,
        market.numbers,
        market.fees,
        market.launch_block,
        phase,
        sold,
        raised,
        seq,
        block,
        log_index,
        launch_tx,
        market.pool,
        market.pool_before,
    )
    return after, effects


def shared(market: Market) -> Market:
    """The same, its configurations the objects that all markets of them have."""
    numbers, fees = _shared(market.numbers), _shared_fees(market.fees)
    return replace(market, numbers=numbers, fees=fees)


def spot_fraction(market: Market) -> tuple[int, int]:
    """Spot price in wei per token-wei as (numerator, denominator), of the pool or the curve."""
    if market.pool is not None:
        return market.pool.price_fraction()
    return curve_of(market.numbers).price_fraction(market.sold, market.raised)


def spot_e18(market: Market) -> int:
    """Spot price: floor(wei per whole token * 1e18)."""
    above, below = spot_fraction(market)
    return above * WAD * WAD // below


@lru_cache(maxsize=1024)
def pool_rates(fees: FeeNumbers) -> FeeRates:
    """What the launchpad takes of a trade on the pool."""
    return FeeRates(fees.pool_protocol_bps, fees.pool_creator_bps, 0)


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
        launchpad=event.at.emitter,
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


def _numbered(
    market: Market, event: Traded | Completed | Graduated | Reopened
) -> tuple[Market, tuple[Effect, ...]]:
    if isinstance(event, Traded):
        return _traded(market, event), (PriceMoved(event),)
    if isinstance(event, Completed):
        return _completed(market, event), (SoldOut(event),)
    if isinstance(event, Graduated):
        return _graduated(market, event), (PoolOpened(event),)
    return _reopened(market, event), (SalesResumed(event),)


def _traded(market: Market, event: Traded) -> Market:
    if event.venue == VENUE_POOL:
        return _traded_on_pool(market, event)
    return apply_trades(market, (event,))[0]


def _traded_on_pool(market: Market, event: Traded) -> Market:
    # The amounts follow from the reserves before its own `Sync`, which has been applied.
    if market.phase != PHASE_GRADUATED or market.pool_before is None or market.pool is None:
        raise ConsistencyError("phase", f"Expected a pool, was {market.phase}")
    expected = _expected_on_pool(market.pool_before, event, pool_rates(market.fees))
    after = (market.pool.reserve_token, market.pool.reserve_weth)
    if not _agrees(expected, event, reserves=False) or after != (event.sold, event.raised):
        raise ConsistencyError("arithmetic", f"Expected {expected} and {after}, was {event}")
    return _at(market, event.at.block_number, event.at.log_index, seq=event.seq)


def _pool_moved(market: Market, event: PoolEvent) -> tuple[Market, tuple[Effect, ...]]:
    place = (event.at.block_number, event.at.log_index)
    if market.phase != PHASE_GRADUATED or place <= (market.block, market.log_index):
        return market, ()
    if isinstance(event, PoolSwapped):
        return _at(market, *place, seq=market.seq), (PriceMoved(event),)
    moved = replace(
        market,
        pool=Pool(event.reserve_token, event.reserve_weth),
        pool_before=market.pool,
        block=place[0],
        log_index=place[1],
    )
    return moved, (ReservesMoved(event),)


def _graduated(market: Market, event: Graduated) -> Market:
    numbers = market.numbers
    above, below = curve_of(numbers).price_fraction(market.sold, market.raised)
    to_pool = market.raised * below // above
    seen = (market.phase in (PHASE_GRADUATING, PHASE_REOPENED), market.sold, event.reserve_token)
    expected = (True, numbers.curve_supply, to_pool)
    amounts = (event.eth_to_pool, event.tokens_to_pool, event.burned)
    if seen != expected or amounts != (market.raised, to_pool, numbers.pool_supply - to_pool):
        raise ConsistencyError("arithmetic", f"Expected {expected} {to_pool}, was {seen} {event}")
    if event.reserve_weth != market.raised + event.donated_weth:
        raise ConsistencyError("arithmetic", f"Expected {market.raised} and gifts, was {event}")
    pool = Pool(event.reserve_token, event.reserve_weth)
    graduated = _at(market, event.at.block_number, event.at.log_index, seq=event.seq)
    return replace(graduated, phase=PHASE_GRADUATED, pool=pool, pool_before=pool)


def _reopened(market: Market, event: Reopened) -> Market:
    if market.phase != PHASE_GRADUATING:
        raise ConsistencyError("phase", f"Expected a complete curve, was {market.phase}")
    reopened = _at(market, event.at.block_number, event.at.log_index, seq=event.seq)
    return replace(reopened, phase=PHASE_REOPENED)


def _at(market: Market, block: int, log_index: int, *, seq: int) -> Market:
    return replace(market, seq=seq, block=block, log_index=log_index)


def _completed(market: Market, event: Completed) -> Market:
    seen = (market.phase, market.sold, market.raised)
    if seen != (PHASE_GRADUATING, event.sold, event.raised):
        raise ConsistencyError("arithmetic", f"Expected a complete curve, was {seen}")
    return replace(market, seq=event.seq, block=event.at.block_number, log_index=event.at.log_index)


def _expected(
    event: Traded, curve: Curve, *, sold: int, raised: int, rates: FeeRates
) -> Quote | CurveError:
    amount = event.requested
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


def _expected_on_pool(pool: Pool, event: Traded, rates: FeeRates) -> Quote | CurveError:
    amount = event.requested
    try:
        if event.is_buy and event.exact_out:
            return pool_trade.buy_exact_out(pool, rates=rates, tokens=amount)
        if event.is_buy:
            return pool_trade.buy_exact_in(pool, rates=rates, value=amount)
        if event.exact_out:
            return pool_trade.sell_exact_out(pool, rates=rates, eth=amount)
        return pool_trade.sell_exact_in(pool, rates=rates, tokens=amount)
    except CurveError as error:
        return error


def _agrees(quote: Quote | CurveError, event: Traded, *, reserves: bool = True) -> bool:
    if isinstance(quote, CurveError):
        return False
    return (
        quote.tokens == event.tokens
        and quote.curve_eth == event.curve_eth
        # What an exact-out buy gets back depends on the value sent, which is not in its quote.
        and (quote.refund == event.refund or (event.is_buy and event.exact_out))
        and quote.clipped == event.clipped
        and quote.protocol_fee == event.protocol_fee
        and quote.creator_fee == event.creator_fee
        and quote.launch_fee == event.launch_fee
        # On the pool others' gifts may have joined the reserves, which `Sync` tells.
        and (not reserves or (quote.sold == event.sold and quote.raised == event.raised))
    )


@lru_cache(maxsize=1024)
def _shared(numbers: CurveNumbers) -> CurveNumbers:
    # One object for all markets of a configuration: a million markets, a few curves.
    return numbers


@lru_cache(maxsize=1024)
def _shared_fees(fees: FeeNumbers) -> FeeNumbers:
    return fees
