"""Laws of the moving average cost, for any trades; against a model that keeps each profit."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from engine import basis
from engine.basis import NO_BASIS, Basis
from tests.model.costs import costs

Trade = tuple[str, int, int]
"""BUY or SELL, wei, tokens."""

amounts = st.one_of(st.integers(0, 12), st.integers(0, 10**27))
tokens = st.one_of(st.integers(1, 12), st.integers(1, 10**27))  # no trade is of none
trades = st.lists(st.tuples(st.sampled_from(("BUY", "SELL")), amounts, tokens), max_size=12)
bases = st.builds(Basis, st.integers(1, 10**27), amounts)


def after(done: Sequence[Trade], before: Basis = NO_BASIS) -> Basis:
    for side, eth, tokens in done:
        if side == "BUY":
            before = basis.bought(before, tokens=tokens, spent_wei=eth)
        else:
            before = basis.sold(before, tokens=tokens)
    return before


def realised(done: Sequence[Trade]) -> int:
    return basis.realised_wei(
        received_wei=sum(eth for side, eth, _ in done if side == "SELL"),
        spent_wei=sum(eth for side, eth, _ in done if side == "BUY"),
        cost_wei=after(done).cost_wei,
    )


@given(trades)
def test_sums_give_the_profit_of_each_sell_put_together(done: list[Trade]) -> None:
    if not done:
        return
    [model] = costs((1, *trade) for trade in done).values()
    assert (after(done), realised(done)) == (Basis(model.held, model.cost), model.realised)


@given(trades, trades)
def test_later_trades_do_not_change_what_was_realised(
    earlier: list[Trade], later: list[Trade]
) -> None:
    state, profits = after(earlier), 0
    for trade in later:
        side, eth, _ = trade
        following = after([trade], state)
        if side == "SELL":
            profits += eth - (state.cost_wei - following.cost_wei)
        state = following
    assert realised(earlier + later) == realised(earlier) + profits


def test_later_buy_does_not_make_a_profit_of_nothing() -> None:
    done = [("BUY", 1_000, 100), ("SELL", 1_000, 100)]
    assert realised(done) == 0
    assert realised([*done, ("BUY", 1_000, 1_000)]) == 0


@given(trades)
def test_nothing_below_zero_and_no_cost_without_tokens(done: list[Trade]) -> None:
    state = after([(side, eth, tokens or 1) for side, eth, tokens in done])
    assert state.held >= 0 and state.cost_wei >= 0
    assert state.held or not state.cost_wei


@given(bases, st.lists(st.integers(1, 10**26), max_size=6))
def test_last_token_takes_all_the_rest(before: Basis, parts: list[int]) -> None:
    state = before
    for part in parts:
        state = basis.sold(state, tokens=min(part, state.held))
    assert basis.sold(state, tokens=state.held) == NO_BASIS
    assert basis.sold(before, tokens=before.held + 1) == NO_BASIS


@given(bases, amounts)
def test_sell_takes_its_share_rounded_down(before: Basis, tokens: int) -> None:
    taken = before.cost_wei - basis.sold(before, tokens=tokens).cost_wei
    part = min(tokens, before.held)
    assert taken * before.held <= before.cost_wei * part < (taken + 1) * before.held
    assert basis.cost_of(before, tokens=tokens) == taken


@given(bases, amounts, amounts)
def test_trades_of_one_block_are_in_order(before: Basis, eth: int, tokens: int) -> None:
    buy, sell = ("BUY", eth + 1, tokens + 1), ("SELL", 0, before.held)
    assert after([sell, buy], before) == Basis(tokens + 1, eth + 1)
    assert after([buy, sell], before).held == tokens + 1
    assert after([buy, sell], before).cost_wei >= 0
