"""Hypothesis strategies: curves the launchpad accepts, fees, states that trades lead to."""

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

from curves import trade
from curves.constant_product import ConstantProduct
from curves.curve import TOTAL_SUPPLY, WAD, CurveError, Quote
from curves.fees import FeeRates
from curves.linear import Linear

NO_FEES = FeeRates(0, 0, 0)
Family = ConstantProduct | Linear


@dataclass(frozen=True, slots=True)
class Step:
    """A trade whose amount is a share (of 2**20) of the most that its kind allows here."""

    is_buy: bool
    exact_out: bool
    share: int
    dust: int


@st.composite
def magnitudes(draw: st.DrawFn, low: int, high: int) -> int:
    """Integers of every size alike: a plain range is hardly ever small."""
    bits = draw(st.integers(low.bit_length(), high.bit_length()))
    return draw(st.integers(max(low, 2 ** (bits - 1)), min(high, 2**bits - 1)))


@st.composite
def constant_products(draw: st.DrawFn) -> ConstantProduct:
    supply = draw(st.one_of(st.just(793_100_000 * WAD), magnitudes(1, 7 * 10**26)))
    virtual = supply + draw(st.integers(10**26, 10**27))
    virtual_eth = draw(st.one_of(st.just(15 * 10**17), magnitudes(1, 10**24)))
    return ConstantProduct(virtual_eth, virtual, supply, TOTAL_SUPPLY - supply)


@st.composite
def linears(draw: st.DrawFn) -> Linear:
    supply = draw(st.one_of(st.just(650_000_000 * WAD), magnitudes(1, 5 * 10**26)))
    highest = (2**128 - 1) // (4 * supply)
    step = draw(st.one_of(st.just(min(30_000_000, highest)), magnitudes(1, highest)))
    start = draw(st.one_of(st.just(1_400_000_000), magnitudes(1, 10**14)))
    return Linear(start, step, supply, TOTAL_SUPPLY - supply)


curves: st.SearchStrategy[Family] = st.one_of(constant_products(), linears())
steps = st.lists(
    st.builds(Step, st.booleans(), st.booleans(), st.integers(0, 2**20), st.integers(0, 1000)),
    max_size=8,
)


@st.composite
def rates(draw: st.DrawFn) -> FeeRates:
    protocol = draw(st.integers(0, 9_900))
    creator = draw(st.integers(0, 9_900 - protocol))
    return FeeRates(protocol, creator, draw(st.integers(0, 9_900 - protocol - creator)))


def walk(curve: Family, path: list[Step], fees: FeeRates = NO_FEES) -> Iterator[Quote]:
    """The trades of `path` that go through, each on the state after the one before."""
    sold = raised = 0
    for step in path:
        try:
            given = _take(curve, sold, raised, step, fees)
        except CurveError:
            continue
        yield given
        sold, raised = given.sold, given.raised


def state_after(curve: Family, path: list[Step]) -> tuple[int, int]:
    """(sold, raised) at the end of `path`; the curve is not sold out."""
    state = (0, 0)
    for given in walk(curve, path):
        if given.sold < curve.curve_supply:
            state = given.sold, given.raised
    return state


def _take(curve: Family, sold: int, raised: int, step: Step, fees: FeeRates) -> Quote:
    left = curve.curve_supply - sold
    if step.is_buy and step.exact_out:
        return trade.buy_exact_out(curve, sold, raised, rates=fees, tokens=_part(left - 1, step))
    if step.is_buy:
        most = fees.gross(curve.eth_for_tokens(sold, raised, max(left - 1, 0)))
        return trade.buy_exact_in(curve, sold, raised, rates=fees, value=_part(most, step))
    if step.exact_out:
        most = fees.net(curve.proceeds_of_tokens(sold, raised, sold))
        return trade.sell_exact_out(curve, sold, raised, rates=fees, eth=_part(most, step))
    return trade.sell_exact_in(curve, sold, raised, rates=fees, tokens=_part(sold, step))


def _part(most: int, step: Step) -> int:
    return max(0, min(most, most * step.share // 2**20 + step.dust))
