"""Laws of every curve, on any curve the launchpad accepts and any reachable state."""

from hypothesis import given, settings
from hypothesis import strategies as st

from curves import trade
from curves.constant_product import ConstantProduct
from curves.curve import CurveError
from curves.fees import FeeRates
from curves.linear import D, Linear
from tests.support.curve_strategies import (
    NO_FEES,
    Family,
    Step,
    constant_products,
    curves,
    linears,
    rates,
    state_after,
    steps,
    walk,
)

shares = st.lists(st.integers(1, 2**20), min_size=1, max_size=4)
exhaustive = settings(max_examples=120, deadline=None)


@exhaustive
@given(constant_products(), steps, rates())
def test_constant_product_k_never_falls(
    curve: ConstantProduct, path: list[Step], fees: FeeRates
) -> None:
    k = curve.virtual_eth * curve.virtual_tokens
    for after in walk(curve, path, fees):
        x, y = curve.price_fraction(after.sold, after.raised)
        assert x * y >= k
        k = x * y


@exhaustive
@given(linears(), steps, rates())
def test_linear_surplus_over_the_area_never_falls(
    curve: Linear, path: list[Step], fees: FeeRates
) -> None:
    surplus = 0
    for after in walk(curve, path, fees):
        left_over = after.raised * D - curve.area(0, after.sold)
        assert left_over >= surplus
        surplus = left_over


@exhaustive
@given(curves, steps, rates())
def test_curve_state_stays_in_its_bounds(curve: Family, path: list[Step], fees: FeeRates) -> None:
    for after in walk(curve, path, fees):
        assert 0 <= after.sold <= curve.curve_supply
        assert after.raised >= 0
        assert min(after.protocol_fee, after.creator_fee, after.launch_fee, after.refund) >= 0


@exhaustive
@given(curves, steps, st.integers(1, 2**20), shares, shares, rates())
def test_round_trip_buy_then_sell_however_split_never_profits(
    curve: Family, path: list[Step], size: int, buys: list[int], sells: list[int], fees: FeeRates
) -> None:
    sold, raised = state_after(curve, path)
    budget = curve.eth_for_tokens(sold, raised, curve.curve_supply - sold) * size // 2**20
    paid = held = received = 0
    for share in buys:
        try:
            bought = trade.buy_exact_in(
                curve, sold, raised, rates=fees, value=budget * share // sum(buys)
            )
        except CurveError:
            continue
        paid, held = paid + bought.eth, held + bought.tokens
        sold, raised = bought.sold, bought.raised
    whole = held
    for index, share in enumerate(sells):
        last = index == len(sells) - 1
        tokens = held if last else min(held, whole * share // sum(sells))
        try:
            given_back = trade.sell_exact_in(curve, sold, raised, rates=fees, tokens=tokens)
        except CurveError:
            continue
        received, held = received + given_back.eth, held - tokens
        sold, raised = given_back.sold, given_back.raised
    assert received <= paid


@exhaustive
@given(curves, steps, st.integers(1, 2**20), shares)
def test_round_trip_sell_then_buy_back_never_gains_tokens(
    curve: Family, path: list[Step], size: int, parts: list[int]
) -> None:
    sold, raised = state_after(curve, path)
    given_away = received = bought_back = 0
    for share in parts:
        tokens = sold * size // 2**20 * share // sum(parts)
        try:
            paid = trade.sell_exact_in(curve, sold, raised, rates=NO_FEES, tokens=tokens)
        except CurveError:
            continue
        given_away, received = given_away + tokens, received + paid.eth
        sold, raised = paid.sold, paid.raised
    for share in parts:
        try:
            bought = trade.buy_exact_in(
                curve, sold, raised, rates=NO_FEES, value=received * share // sum(parts)
            )
        except CurveError:
            continue
        bought_back += bought.tokens
        sold, raised = bought.sold, bought.raised
    assert bought_back <= given_away


@exhaustive
@given(curves, steps, st.integers(1, 2**20), st.integers(1, 2**20))
def test_buy_split_in_two_never_gives_more(
    curve: Family, path: list[Step], size: int, share: int
) -> None:
    sold, raised = state_after(curve, path)
    whole = curve.eth_for_tokens(sold, raised, curve.curve_supply - sold) * size // 2**21
    first = whole * share // 2**20
    once = curve.tokens_for_eth(sold, raised, whole)
    one = curve.tokens_for_eth(sold, raised, first)
    two = curve.tokens_for_eth(sold + one, raised + first, whole - first)
    assert one + two <= once


@exhaustive
@given(curves, steps, st.integers(0, 2**20), st.integers(0, 1_000))
def test_rounding_favours_the_pool_in_both_directions(
    curve: Family, path: list[Step], share: int, dust: int
) -> None:
    sold, raised = state_after(curve, path)
    left = curve.curve_supply - sold
    eth = curve.eth_for_tokens(sold, raised, left) * share // 2**21 + dust
    tokens = curve.tokens_for_eth(sold, raised, eth)
    if tokens <= left:
        # What was given for `eth` may be had exactly for no more; one more token-wei may not.
        assert curve.eth_for_tokens(sold, raised, tokens) <= eth
        if tokens < left:
            assert curve.eth_for_tokens(sold, raised, tokens + 1) > eth
    part = min(sold, sold * share // 2**20 + dust)
    proceeds = curve.proceeds_of_tokens(sold, raised, part)
    assert curve.tokens_for_proceeds(sold, raised, proceeds) <= part
    if part:
        paid = curve.eth_for_tokens(sold - part, max(raised - proceeds, 0), part)
        assert paid >= proceeds


@exhaustive
@given(linears(), steps, st.integers(0, 2**20))
def test_linear_inverse_is_the_greatest_amount_within_the_area(
    curve: Linear, path: list[Step], share: int
) -> None:
    sold, raised = state_after(curve, path)
    eth = curve.eth_for_tokens(sold, raised, curve.curve_supply - sold) * share // 2**20
    tokens = curve.tokens_for_eth(sold, raised, eth)
    within = curve.area(0, sold) + eth * D
    assert curve.area(0, sold + tokens) <= within < curve.area(0, sold + tokens + 1)


@exhaustive
@given(curves, steps)
def test_price_never_falls_as_more_is_sold(curve: Family, path: list[Step]) -> None:
    sold, raised = state_after(curve, path)
    eth = curve.eth_for_tokens(sold, raised, curve.curve_supply - sold) // 3
    tokens = curve.tokens_for_eth(sold, raised, eth)
    before = curve.price_fraction(sold, raised)
    after = curve.price_fraction(sold + tokens, raised + eth)
    assert after[0] * before[1] >= before[0] * after[1]


@exhaustive
@given(curves, steps, st.integers(0, 2**112 - 1), st.integers(-2, 2))
def test_buy_reaches_the_end_exactly_when_it_pays_for_all_that_is_left(
    curve: Family, path: list[Step], value: int, beside: int
) -> None:
    sold, raised = state_after(curve, path)
    full = curve.eth_for_tokens(sold, raised, curve.curve_supply - sold)
    for paid in (value, max(full + beside, 0)):
        try:
            quote = trade.buy_exact_in(curve, sold, raised, rates=NO_FEES, value=paid)
        except CurveError:
            continue
        assert quote.clipped == (paid >= full)
        assert quote.refund == max(paid - full, 0)
