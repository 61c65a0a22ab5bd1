"""One trade: clip and refund, the order of checks, bounds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curves import trade
from curves.constant_product import ConstantProduct
from curves.curve import (
    AMOUNT_MAX,
    WAD,
    AmountTooLarge,
    CurveError,
    ExceedsRaised,
    ExceedsSold,
    Quote,
    SlippageExceeded,
    ZeroOutput,
)
from curves.fees import FeeRates
from curves.linear import Linear
from tests.support.curve_strategies import Family, Step, curves, rates, state_after, steps

PRODUCT = ConstantProduct(15 * 10**17, 1_073_000_000 * WAD, 793_100_000 * WAD, 206_900_000 * WAD)
LINEAR = Linear(1_400_000_000, 30_000_000, 650_000_000 * WAD, 350_000_000 * WAD)
FEES = FeeRates(100, 50, 0)
STANDARD = pytest.mark.parametrize("curve", [PRODUCT, LINEAR])
WORD_MAX = 2**256 - 1


def _somewhere(curve: Family) -> tuple[int, int]:
    start = trade.buy_exact_in(curve, 0, 0, rates=FEES, value=WAD // 2)
    return start.sold, start.raised


# ------------------------------------------------------------ known numbers


def test_constant_product_default_raises_what_the_design_says() -> None:
    full = PRODUCT.eth_for_tokens(0, 0, PRODUCT.curve_supply)
    assert full * 10_000 // PRODUCT.virtual_eth == 28_335
    (first, last) = PRODUCT.price_fraction(0, 0), PRODUCT.price_fraction(PRODUCT.curve_supply, full)
    assert last[0] * first[1] * 10 // (last[1] * first[0]) == 146  # 14.7 times
    # Raised over the pool's tokens, against the last price: 0.99993.
    assert full * last[1] * 100_000 // (PRODUCT.pool_supply * last[0]) == 99_993


def test_linear_default_raises_what_the_design_says() -> None:
    full = LINEAR.eth_for_tokens(0, 0, LINEAR.curve_supply)
    assert full == 72_475 * 10**14
    numerator, denominator = LINEAR.price_fraction(LINEAR.curve_supply, full)
    assert full * denominator <= LINEAR.pool_supply * numerator
    assert numerator * WAD // denominator == 1_400_000_000 + 650_000_000 * 30


# ---------------------------------------------------------- clip and refund


@settings(deadline=None, max_examples=100)
@given(curves, steps, rates(), st.integers(1, AMOUNT_MAX))
def test_buy_exact_in_pays_what_it_spends_and_refunds_the_rest(
    curve: Family, path: list[Step], fees: FeeRates, value: int
) -> None:
    sold, raised = state_after(curve, path)
    full = fees.gross(curve.eth_for_tokens(sold, raised, curve.curve_supply - sold))
    try:
        bought = trade.buy_exact_in(curve, sold, raised, rates=fees, value=value)
    except ZeroOutput:
        assert value < full
        return
    assert bought.eth + bought.refund == value
    assert bought.eth == bought.curve_eth + bought.fee
    assert bought.sold == sold + bought.tokens and bought.raised == raised + bought.curve_eth
    assert bought.clipped == (value >= full)
    if bought.clipped:
        assert bought.sold == curve.curve_supply
        assert bought.eth == full
    else:
        assert bought.refund == 0


@settings(deadline=None, max_examples=100)
@given(curves, steps, rates(), st.integers(0, 10**20))
def test_buy_clipped_costs_the_same_however_much_is_sent(
    curve: Family, path: list[Step], fees: FeeRates, more: int
) -> None:
    sold, raised = state_after(curve, path)
    full = fees.gross(curve.eth_for_tokens(sold, raised, curve.curve_supply - sold))
    just = trade.buy_exact_in(curve, sold, raised, rates=fees, value=full)
    over = trade.buy_exact_in(curve, sold, raised, rates=fees, value=full + more)
    assert replace(over, requested=full, refund=0) == just
    asked = trade.buy_exact_out(curve, sold, raised, rates=fees, tokens=10**27 + more)
    assert (asked.tokens, asked.eth, asked.clipped) == (just.tokens, just.eth, True)


@settings(deadline=None, max_examples=100)
@given(curves, steps, rates(), st.integers(1, 2**20), st.integers(0, 10**18))
def test_buy_exact_out_costs_what_buys_at_least_as_much(
    curve: Family, path: list[Step], fees: FeeRates, share: int, spare: int
) -> None:
    sold, raised = state_after(curve, path)
    tokens = max(1, (curve.curve_supply - sold) * share // 2**20)
    exact = trade.buy_exact_out(curve, sold, raised, rates=fees, tokens=tokens)
    assert exact.tokens == tokens and exact.refund == 0
    bounded = trade.buy_exact_out(
        curve, sold, raised, rates=fees, tokens=tokens, max_value=exact.eth + spare
    )
    assert bounded == replace(exact, refund=spare)
    spent = trade.buy_exact_in(curve, sold, raised, rates=fees, value=exact.eth)
    assert spent.tokens >= tokens


@settings(deadline=None, max_examples=100)
@given(curves, steps, rates(), st.integers(1, 2**20))
def test_sell_exact_out_takes_what_pays_at_least_as_much(
    curve: Family, path: list[Step], fees: FeeRates, share: int
) -> None:
    sold, raised = state_after(curve, path)
    eth = fees.net(curve.proceeds_of_tokens(sold, raised, sold)) * share // 2**20
    try:
        exact = trade.sell_exact_out(curve, sold, raised, rates=fees, eth=eth)
    except CurveError:
        return
    assert exact.eth == eth == exact.curve_eth - exact.fee
    paid = trade.sell_exact_in(curve, sold, raised, rates=fees, tokens=exact.tokens)
    assert paid.eth >= eth


# ---------------------------------------------------------- order of checks


def _calls(curve: Family) -> dict[str, Callable[..., Quote]]:
    state = {"rates": FEES}
    sold, raised = _somewhere(curve)

    def bind(function: Callable[..., Quote]) -> Callable[..., Quote]:
        return lambda **options: function(curve, sold, raised, **state, **options)

    return {
        "in": bind(trade.buy_exact_in),
        "out": bind(trade.buy_exact_out),
        "sell": bind(trade.sell_exact_in),
        "take": bind(trade.sell_exact_out),
    }


@STANDARD
@pytest.mark.parametrize(
    ("call", "options", "error"),
    [
        ("in", {"value": AMOUNT_MAX + 1, "min_tokens": WORD_MAX}, AmountTooLarge),
        ("in", {"value": 0, "min_tokens": WORD_MAX}, ZeroOutput),
        ("in", {"value": 1, "min_tokens": WORD_MAX}, ZeroOutput),
        ("in", {"value": WAD, "min_tokens": WORD_MAX}, SlippageExceeded),
        ("in", {"value": AMOUNT_MAX, "min_tokens": WORD_MAX}, SlippageExceeded),
        ("out", {"tokens": AMOUNT_MAX + 1, "max_value": 0}, AmountTooLarge),
        ("out", {"tokens": 0, "max_value": AMOUNT_MAX + 1}, AmountTooLarge),
        ("out", {"tokens": 0, "max_value": 0, "min_tokens": 1}, ZeroOutput),
        ("out", {"tokens": 1, "max_value": 0, "min_tokens": 2}, SlippageExceeded),
        ("out", {"tokens": 1, "max_value": 0}, SlippageExceeded),
        ("sell", {"tokens": AMOUNT_MAX + 1, "min_eth": 1}, AmountTooLarge),
        ("sell", {"tokens": AMOUNT_MAX, "min_eth": WORD_MAX}, ExceedsSold),
        ("sell", {"tokens": 0, "min_eth": 1}, ZeroOutput),
        ("sell", {"tokens": 1, "min_eth": 1}, ZeroOutput),
        ("sell", {"tokens": WAD, "min_eth": WAD}, SlippageExceeded),
        ("take", {"eth": AMOUNT_MAX + 1, "max_tokens": 0}, AmountTooLarge),
        ("take", {"eth": AMOUNT_MAX, "max_tokens": 0}, ExceedsRaised),
        ("take", {"eth": 0, "max_tokens": 0}, ZeroOutput),
        ("take", {"eth": 1, "max_tokens": 0}, SlippageExceeded),
    ],
)
def test_trade_with_several_faults_names_the_first(
    curve: Family, call: str, options: dict[str, Any], error: type[CurveError]
) -> None:
    with pytest.raises(error):
        _calls(curve)[call](**options)


@STANDARD
def test_sell_of_one_more_than_sold_is_refused_and_of_all_is_not(curve: Family) -> None:
    sold, _ = _somewhere(curve)
    everything = _calls(curve)["sell"](tokens=sold)
    assert everything.sold == 0 and everything.raised >= 0
    with pytest.raises(ExceedsSold):
        _calls(curve)["sell"](tokens=sold + 1)
    assert _calls(curve)["take"](eth=everything.eth).tokens <= sold
    with pytest.raises(ExceedsRaised):
        _calls(curve)["take"](eth=FEES.net(_somewhere(curve)[1]) + 2)


@STANDARD
def test_bound_of_a_clipped_buy_is_its_price(curve: Family) -> None:
    sold, raised = _somewhere(curve)
    value = 100 * WAD
    free = trade.buy_exact_in(curve, sold, raised, rates=FEES, value=value)
    assert free.clipped and free.refund > 0
    # More than was given, since only a part of the value was spent; the price is what counts.
    bound = free.tokens * value // free.eth
    assert bound > free.tokens
    call = _calls(curve)["in"]
    assert call(value=value, min_tokens=bound).tokens == free.tokens
    with pytest.raises(SlippageExceeded):
        call(value=value, min_tokens=bound + 1)


@STANDARD
def test_bounds_refuse_one_unit_beyond(curve: Family) -> None:
    calls = _calls(curve)
    bought = calls["in"](value=WAD // 10)
    calls["in"](value=WAD // 10, min_tokens=bought.tokens)
    with pytest.raises(SlippageExceeded):
        calls["in"](value=WAD // 10, min_tokens=bought.tokens + 1)
    cost = calls["out"](tokens=WAD)
    calls["out"](tokens=WAD, max_value=cost.eth, min_tokens=WAD)
    with pytest.raises(SlippageExceeded):
        calls["out"](tokens=WAD, max_value=cost.eth - 1)
    with pytest.raises(SlippageExceeded):
        calls["out"](tokens=WAD, max_value=cost.eth, min_tokens=WAD + 1)
    paid = calls["sell"](tokens=10**6 * WAD)
    calls["sell"](tokens=10**6 * WAD, min_eth=paid.eth)
    with pytest.raises(SlippageExceeded):
        calls["sell"](tokens=10**6 * WAD, min_eth=paid.eth + 1)
    taken = calls["take"](eth=WAD // 100)
    calls["take"](eth=WAD // 100, max_tokens=taken.tokens)
    with pytest.raises(SlippageExceeded):
        calls["take"](eth=WAD // 100, max_tokens=taken.tokens - 1)
