"""Generated trades for the differential test: worlds, reachable states, amounts, bounds.

The twin's answer is compared with the contract's as a tuple: `("", ten numbers)` when the
trade goes through, `(error name, zeros)` when it is refused.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from curves import trade
from curves.constant_product import ConstantProduct
from curves.curve import AMOUNT_MAX, TOTAL_SUPPLY, WAD, Curve, CurveError, Quote
from curves.fees import FeeRates, FeeSchedule
from curves.linear import Linear

BUY_EXACT_IN, BUY_EXACT_OUT, SELL_EXACT_IN, SELL_EXACT_OUT = range(4)
WORD_MAX = 2**256 - 1
Outcome = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class World:
    """A curve with its fees."""

    curve: ConstantProduct | Linear
    fees: FeeSchedule


@dataclass(frozen=True, slots=True)
class Case:
    """One trade on one state. `bound` None: unbounded, in the sense of its kind."""

    world: World
    kind: int
    at_block: int
    exempt: bool
    sold: int
    raised: int
    amount: int
    bound: int | None = None
    min_tokens: int = 0

    @property
    def rates(self) -> FeeRates:
        fees = self.world.fees
        return fees.without_launch() if self.exempt else fees.at(self.at_block)


def quote(case: Case) -> Quote:
    """The twin's quote. Raises CurveError."""
    curve: Curve = case.world.curve
    state, rates = (case.sold, case.raised), case.rates
    if case.kind == BUY_EXACT_IN:
        least = case.bound or 0
        return trade.buy_exact_in(curve, *state, rates=rates, value=case.amount, min_tokens=least)
    if case.kind == BUY_EXACT_OUT:
        return trade.buy_exact_out(
            curve,
            *state,
            rates=rates,
            tokens=case.amount,
            max_value=case.bound,
            min_tokens=case.min_tokens,
        )
    if case.kind == SELL_EXACT_IN:
        least = case.bound or 0
        return trade.sell_exact_in(curve, *state, rates=rates, tokens=case.amount, min_eth=least)
    return trade.sell_exact_out(curve, *state, rates=rates, eth=case.amount, max_tokens=case.bound)


def numbers(given: Quote) -> tuple[int, ...]:
    """The words of `ILaunchpad.TradeQuote`, in its order."""
    return (
        given.tokens,
        given.eth,
        given.curve_eth,
        given.protocol_fee,
        given.creator_fee,
        given.launch_fee,
        given.refund,
        given.sold,
        given.raised,
        int(given.clipped),
    )


def twin(case: Case) -> Outcome:
    """What the twin says of `case`; an assertion of the twin counts as an answer too."""
    try:
        return "", numbers(quote(case))
    except (CurveError, AssertionError, ZeroDivisionError) as error:
        return type(error).__name__, (0,) * 10


def worlds(rng: random.Random, count: int) -> Iterator[World]:
    """Curves that the launchpad accepts: the defaults first, then any shape."""
    for index in range(count):
        curve = (_constant_product, _linear)[index % 2](rng, default=index < 2)
        yield World(curve, _fees(rng, default=index < 2))


def cases(world: World, rng: random.Random, *, states: int, per_state: int) -> Iterator[Case]:
    """Trades on states that trades from zero lead to."""
    for sold, raised in _states(world, rng, states):
        for _ in range(per_state):
            case = Case(
                world=world,
                kind=rng.randrange(4),
                at_block=_block(world.fees, rng),
                exempt=rng.random() < 0.1,
                sold=sold,
                raised=raised,
                amount=0,
            )
            case = replace(case, amount=_amount(case, rng))
            yield _bounded(case, rng)


def _constant_product(rng: random.Random, *, default: bool) -> ConstantProduct:
    if default:
        return ConstantProduct(
            15 * 10**17, 1_073_000_000 * WAD, 793_100_000 * WAD, 206_900_000 * WAD
        )
    supply = rng.randrange(1, 7 * 10**26)
    virtual = supply + rng.randrange(10**26, 10**27)
    return ConstantProduct(_log(rng, 1, 10**24), virtual, supply, TOTAL_SUPPLY - supply)


def _linear(rng: random.Random, *, default: bool) -> Linear:
    if default:
        return Linear(1_400_000_000, 30_000_000, 650_000_000 * WAD, 350_000_000 * WAD)
    supply = rng.randrange(1, 5 * 10**26)
    step = _log(rng, 1, (2**128 - 1) // (4 * supply))
    start = _log(rng, 1, 10**14)
    return Linear(start, step, supply, TOTAL_SUPPLY - supply)


def _fees(rng: random.Random, *, default: bool) -> FeeSchedule:
    if default:
        return FeeSchedule(100, 50, 2_000, 30, 1_000)
    protocol = rng.choice([0, 1, 100, rng.randrange(3_000)])
    creator = rng.choice([0, 1, 50, rng.randrange(3_000)])
    launch = rng.choice([0, 2_000, 2_000, rng.randrange(9_900 - protocol - creator)])
    return FeeSchedule(protocol, creator, launch, rng.choice([0, 1, 30, 30, 65_535]), 1_000)


def _block(fees: FeeSchedule, rng: random.Random) -> int:
    blocks = fees.launch_blocks
    edge = fees.launch_block + rng.choice([-5, 0, 1, blocks - 1, blocks, blocks + 1])
    inside = fees.launch_block + rng.randrange(blocks + 2)
    return max(0, rng.choice([edge, inside, inside, inside, 10**9]))


def _states(world: World, rng: random.Random, count: int) -> list[tuple[int, int]]:
    found = [(0, 0)]
    while len(found) < count:
        sold, raised = found[-1]
        case = Case(world, rng.randrange(4), 1_000, True, sold, raised, 0)
        amount = _amount(case, rng)
        if rng.random() < 0.3:  # to the very end of the curve, all but a little
            left = world.curve.curve_supply - sold
            case, amount = replace(case, kind=BUY_EXACT_OUT), left - _log(rng, 1, max(left, 2))
        try:
            after = quote(replace(case, amount=max(amount, 0)))
        except CurveError:
            after = None
        if after is None or after.sold == world.curve.curve_supply:
            found.append(rng.choice(found))
        else:
            found.append((after.sold, after.raised))
    return found


def _amount(case: Case, rng: random.Random) -> int:
    curve, rates = case.world.curve, case.rates
    left = curve.curve_supply - case.sold
    # The amount at which this trade reaches its end: everything left, everything sold.
    whole = (
        rates.gross(curve.eth_for_tokens(case.sold, case.raised, left)),
        left,
        case.sold,
        rates.net(curve.proceeds_of_tokens(case.sold, case.raised, case.sold)),
    )[case.kind]
    edges = [0, 1, 2, AMOUNT_MAX, AMOUNT_MAX + 1, WORD_MAX]
    choose = rng.random()
    if choose < 0.6:
        return _log(rng, 1, max(whole, 2))
    if choose < 0.75:
        return max(0, whole + rng.randrange(-3, 4))
    if choose < 0.8:
        return min(whole * rng.randrange(1, 50), AMOUNT_MAX)
    if choose < 0.9:
        return rng.randrange(10**4)
    return rng.choice([*edges, rng.randrange(AMOUNT_MAX)])


def _bounded(case: Case, rng: random.Random) -> Case:
    name, given = twin(case)
    if name or rng.random() < 0.4:
        return case
    tokens, eth = given[0], given[1]
    exact = (tokens, eth, eth, tokens)[case.kind]
    near = max(0, exact + rng.choice([-1, 0, 0, 1, 1, 2]))
    bound = rng.choice([near, near, near, _log(rng, 1, AMOUNT_MAX)])
    if case.kind == BUY_EXACT_OUT:
        # msg.value is bounded as an amount; the greatest word stands for no bound.
        bound = rng.choice([bound, AMOUNT_MAX, AMOUNT_MAX + 1])
        least = rng.choice([0, max(0, tokens + rng.choice([-1, 0, 1])), WORD_MAX])
        return replace(case, bound=rng.choice([None, bound]), min_tokens=least)
    if case.kind == BUY_EXACT_IN and given[9]:
        price = tokens * case.amount // max(eth, 1)
        bound = rng.choice([bound, price, price + 1, WORD_MAX])
    return replace(case, bound=rng.choice([bound, bound, bound, WORD_MAX]))


def _log(rng: random.Random, low: int, high: int) -> int:
    bits = rng.uniform(low.bit_length() - 1, high.bit_length())
    top = max(low, min(high, 2 ** int(bits + 1)))
    return rng.randrange(low, top + 1)
