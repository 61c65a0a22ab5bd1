"""Laws of a pool's trades: the product never falls, nobody gains by a round trip."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves import pool_trade
from curves.curve import (
    AMOUNT_MAX,
    AmountTooLarge,
    CurveError,
    ExceedsRaised,
    ExceedsSold,
    Quote,
    SlippageExceeded,
    ZeroOutput,
)
from curves.fees import FeeRates
from curves.uniswap_v2 import Pool

NONE = FeeRates(0, 0, 0)
SMALL = Pool(10**6, 10**6)
reserves = st.integers(1, 10**27)
pools = st.builds(Pool, reserves, reserves)
rates = st.builds(FeeRates, st.integers(0, 5_000), st.integers(0, 4_900), st.just(0))
amounts = st.one_of(st.integers(1, 10**4), st.integers(1, 10**28))


def trades(pool: Pool, fees: FeeRates, amount: int) -> list[Quote]:
    found = []
    for trade in (
        lambda: pool_trade.buy_exact_in(pool, rates=fees, value=amount),
        lambda: pool_trade.buy_exact_out(pool, rates=fees, tokens=amount),
        lambda: pool_trade.sell_exact_in(pool, rates=fees, tokens=amount),
        lambda: pool_trade.sell_exact_out(pool, rates=fees, eth=amount),
    ):
        try:
            found.append(trade())
        except CurveError:
            continue
    return found


@given(pools, rates, amounts)
def test_product_of_the_reserves_never_falls(pool: Pool, fees: FeeRates, amount: int) -> None:
    for given_ in trades(pool, fees, amount):
        assert given_.sold * given_.raised >= pool.reserve_token * pool.reserve_weth
        assert given_.sold > 0 and given_.raised > 0
        _check_as_the_pair(pool, given_)


def _check_as_the_pair(pool: Pool, quote: Quote) -> None:
    # The pair's own check, to the unit: K with 3 in a thousand of what came in taken off.
    tokens, weth = quote.sold * 1_000, quote.raised * 1_000
    if quote.is_buy:
        weth -= (quote.raised - pool.reserve_weth) * 3
    else:
        tokens -= (quote.sold - pool.reserve_token) * 3
    assert tokens * weth >= pool.reserve_token * pool.reserve_weth * 10**6


@given(pools, rates, amounts)
def test_amounts_and_fees_add_up(pool: Pool, fees: FeeRates, amount: int) -> None:
    for quote in trades(pool, fees, amount):
        assert quote.eth == quote.curve_eth + (quote.fee if quote.is_buy else -quote.fee)
        assert (quote.launch_fee, quote.clipped) == (0, False)
        moved = quote.tokens if quote.is_buy else -quote.tokens
        assert quote.sold == pool.reserve_token - moved
        eth = quote.curve_eth if quote.is_buy else -quote.curve_eth
        assert quote.raised == pool.reserve_weth + eth


@given(pools, rates, amounts)
def test_round_trip_never_gains(pool: Pool, fees: FeeRates, amount: int) -> None:
    try:
        bought = pool_trade.buy_exact_in(pool, rates=fees, value=amount)
        after = Pool(bought.sold, bought.raised)
        back = pool_trade.sell_exact_in(after, rates=fees, tokens=bought.tokens)
    except CurveError:
        return
    assert back.eth <= amount


@given(pools, rates, amounts)
def test_exact_out_gives_no_less_than_it_asks_for_exact_in(
    pool: Pool, fees: FeeRates, amount: int
) -> None:
    try:
        priced = pool_trade.buy_exact_out(pool, rates=fees, tokens=amount)
        got = pool_trade.buy_exact_in(pool, rates=fees, value=priced.eth)
    except CurveError:
        return
    assert got.tokens >= amount


def test_quote_on_a_pool_known_numbers() -> None:
    # 1,000 in: 997 kept, 997*10**6 / (10**6 + 997) = 996.006…
    bought = pool_trade.buy_exact_in(SMALL, rates=NONE, value=1_000)
    assert (bought.tokens, bought.sold, bought.raised) == (996, 999_004, 1_001_000)
    cost = pool_trade.buy_exact_out(SMALL, rates=NONE, tokens=996)
    assert cost.eth == 10**6 * 996 * 1_000 // ((10**6 - 996) * 997) + 1 == 1_000
    assert pool_trade.buy_exact_out(SMALL, rates=NONE, tokens=996, max_value=1_500).refund == 500
    assert replace(SMALL, reserve_weth=5).price_fraction() == (5, 10**6)


def test_refusals_stand_in_the_order_of_the_contract() -> None:
    with pytest.raises(AmountTooLarge):
        pool_trade.buy_exact_in(SMALL, rates=NONE, value=AMOUNT_MAX + 1)
    with pytest.raises(AmountTooLarge):
        pool_trade.buy_exact_in(SMALL, rates=NONE, value=AMOUNT_MAX)
    with pytest.raises(AmountTooLarge):
        pool_trade.sell_exact_in(SMALL, rates=NONE, tokens=AMOUNT_MAX, min_eth=AMOUNT_MAX)
    with pytest.raises(AmountTooLarge):
        pool_trade.buy_exact_out(SMALL, rates=NONE, tokens=1, max_value=AMOUNT_MAX + 1)
    with pytest.raises(ExceedsSold):
        pool_trade.buy_exact_out(SMALL, rates=NONE, tokens=10**6, max_value=0)
    with pytest.raises(ExceedsRaised):
        pool_trade.sell_exact_out(SMALL, rates=NONE, eth=10**6, max_tokens=0)
    with pytest.raises(ExceedsRaised):  # the fee is taken from the pool too
        pool_trade.sell_exact_out(SMALL, rates=FeeRates(1, 0, 0), eth=10**6 - 1)
    for refused in (
        lambda: pool_trade.buy_exact_in(SMALL, rates=NONE, value=0, min_tokens=1),
        lambda: pool_trade.buy_exact_out(SMALL, rates=NONE, tokens=0, min_tokens=1),
        lambda: pool_trade.sell_exact_in(SMALL, rates=NONE, tokens=0, min_eth=1),
        lambda: pool_trade.sell_exact_out(SMALL, rates=NONE, eth=0, max_tokens=0),
    ):
        with pytest.raises(ZeroOutput):
            refused()
    with pytest.raises(SlippageExceeded):
        pool_trade.buy_exact_out(SMALL, rates=NONE, tokens=996, max_value=999)
