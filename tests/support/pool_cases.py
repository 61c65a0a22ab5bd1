"""Generated trades on a pair for the differential test: reserves, fees, amounts, bounds.

Answers are compared as in `trade_cases`: `("", ten numbers)` or `(error name, zeros)`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from curves import pool_trade
from curves.curve import AMOUNT_MAX, CurveError, Quote
from curves.fees import FeeRates
from curves.uniswap_v2 import Pool
from tests.support.trade_cases import (
    BUY_EXACT_IN,
    BUY_EXACT_OUT,
    SELL_EXACT_IN,
    WORD_MAX,
    Outcome,
    numbers,
)


@dataclass(frozen=True, slots=True)
class PoolCase:
    """One trade on one state. `bound` None: unbounded, in the sense of its kind."""

    pool: Pool
    rates: FeeRates
    kind: int
    amount: int
    bound: int | None = None
    min_tokens: int = 0


def quote(case: PoolCase) -> Quote:
    """The twin's quote. Raises CurveError."""
    pool, rates, amount, bound = case.pool, case.rates, case.amount, case.bound
    if case.kind == BUY_EXACT_IN:
        return pool_trade.buy_exact_in(pool, rates=rates, value=amount, min_tokens=bound or 0)
    if case.kind == BUY_EXACT_OUT:
        least = case.min_tokens
        return pool_trade.buy_exact_out(
            pool, rates=rates, tokens=amount, max_value=bound, min_tokens=least
        )
    if case.kind == SELL_EXACT_IN:
        return pool_trade.sell_exact_in(pool, rates=rates, tokens=amount, min_eth=bound or 0)
    return pool_trade.sell_exact_out(pool, rates=rates, eth=amount, max_tokens=bound)


def twin(case: PoolCase) -> Outcome:
    """What the twin says of `case`; an assertion of the twin counts as an answer too."""
    try:
        return "", numbers(quote(case))
    except (CurveError, AssertionError, ZeroDivisionError) as error:
        return type(error).__name__, (0,) * 10


def pools(rng: random.Random, count: int) -> Iterator[Pool]:
    """What a graduation leaves first, then reserves of every size that a pair can hold."""
    for index in range(count):
        if index % 4 == 0:
            raised = rng.randrange(10**15, 10**20)
            yield Pool(rng.randrange(10**25, 3 * 10**26), raised)
        elif index % 4 == 2:
            # What goes in divides without a rest near the end: floor + 1 is no ceiling there.
            yield Pool(997 * _log(rng, 1, 10**24), 997 * _log(rng, 1, 10**18))
        else:
            top = AMOUNT_MAX if index % 4 == 1 else 10**27
            yield Pool(_log(rng, 1, top), _log(rng, 1, top))


def fees(rng: random.Random) -> FeeRates:
    """Pool fees; none half of the time."""
    protocol = rng.choice([0, 0, 1, 70, rng.randrange(5_000)])
    return FeeRates(protocol, rng.choice([0, 0, 1, 30, rng.randrange(4_900)]), 0)


def amount(pool: Pool, rates: FeeRates, kind: int, rng: random.Random) -> int:
    """Of every size, often near the end of what the pool can do."""
    in_eth = kind in (BUY_EXACT_IN, 3)
    reserve = pool.reserve_weth if in_eth else pool.reserve_token
    # Exact-out trades end at the whole reserve, exact-in trades where the pair's bits do.
    whole = rates.net(reserve) if kind == 3 else reserve
    if kind in (BUY_EXACT_IN, SELL_EXACT_IN) and rng.random() < 0.2:
        whole = AMOUNT_MAX - reserve
    choose = rng.random()
    if choose < 0.5:
        return _log(rng, 1, max(whole, 2))
    if choose < 0.7:
        return max(0, whole + rng.randrange(-3, 4))
    if choose < 0.9:
        return rng.choice([0, 0, 1, 2, 3, rng.randrange(10**4)])
    return rng.choice([AMOUNT_MAX, AMOUNT_MAX + 1, WORD_MAX, rng.randrange(AMOUNT_MAX)])


def cases(rng: random.Random, *, states: int, per_state: int) -> Iterator[PoolCase]:
    """Trades with bounds at, below and above what they give."""
    for pool in pools(rng, states):
        rates = fees(rng)
        for _ in range(per_state):
            kind = rng.randrange(4)
            yield _bounded(PoolCase(pool, rates, kind, amount(pool, rates, kind, rng)), rng)


def _bounded(case: PoolCase, rng: random.Random) -> PoolCase:
    name, given = twin(case)
    if name or rng.random() < 0.5:
        return case
    tokens, eth = given[0], given[1]
    exact = (tokens, eth, eth, tokens)[case.kind]
    bound = max(0, exact + rng.choice([-1, 0, 0, 1]))
    if case.kind == BUY_EXACT_OUT:
        bound = rng.choice([bound, bound, AMOUNT_MAX, AMOUNT_MAX + 1])
        least = rng.choice([0, 0, tokens, tokens + 1, WORD_MAX])
        return replace(case, bound=rng.choice([None, bound, bound]), min_tokens=least)
    return replace(case, bound=rng.choice([bound, bound, WORD_MAX]))


def _log(rng: random.Random, low: int, high: int) -> int:
    bits = rng.uniform(low.bit_length() - 1, high.bit_length())
    return rng.randrange(low, max(low, min(high, 2 ** int(bits + 1))) + 1)
