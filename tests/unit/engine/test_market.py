"""A market equals what the events say, or it is refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import quoting
from engine.errors import ConsistencyError
from engine.market import PHASE_GRADUATING, Market, apply, rates_at, schedule_of
from engine.messages import AsOf, MarketEvent, QuoteRequest, Refusal, Traded
from engine.timeline import fold
from tests.support.history import Saga
from tests.support.scenario import CONSTANT_PRODUCT, LINEAR, Scenario

ETH = 10**18
AS_OF = AsOf(10, bytes(32), 0, "sealed", (1, 1))
AT_BIRTH = replace(AS_OF, block_number=0)


def market_after(scenario: Scenario, token: bytes) -> Market:
    market = None
    for event in scenario.seal().events:
        if getattr(event, "token", None) == token and hasattr(event, "seq"):
            market, _ = apply(market, event)
    assert market is not None
    return market


def traded_market(numbers=CONSTANT_PRODUCT) -> tuple[Market, Traded]:
    scenario = Scenario()
    token = scenario.launch("one", numbers)
    launch = scenario.seal().events[0]
    scenario.buy(token, ETH // 10)
    event = scenario.seal().events[0]
    return apply(None, launch)[0], event


@pytest.mark.parametrize("numbers", [CONSTANT_PRODUCT, LINEAR])
def test_apply_true_trade_moves_reserves(numbers):
    market, event = traded_market(numbers)
    after, effects = apply(market, event)
    assert (after.sold, after.raised, after.seq) == (event.sold, event.raised, 2)
    assert len(effects) == 1
    assert market.launch_tx is not None and after.launch_tx is None


FIELDS = ("tokens", "curve_eth", "protocol_fee", "creator_fee", "launch_fee", "refund", "sold",
          "raised")  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("off", [-1, 1])
def test_apply_any_amount_off_by_one_is_refused(name, off):
    market, event = traded_market()
    with pytest.raises(ConsistencyError, match="arithmetic"):
        apply(market, replace(event, **{name: getattr(event, name) + off}))


def test_apply_clipped_flag_wrong_is_refused():
    market, event = traded_market()
    with pytest.raises(ConsistencyError):
        apply(market, replace(event, clipped=True))


def test_apply_twice_changes_nothing():
    market, event = traded_market()
    once, _ = apply(market, event)
    twice, effects = apply(once, event)
    assert twice is once
    assert effects == ()


def test_apply_gap_in_seq_is_refused():
    market, event = traded_market()
    with pytest.raises(ConsistencyError, match="seq_gap"):
        apply(market, replace(event, seq=3))


def test_apply_first_buy_without_launch_fee_only_in_the_launch_transaction():
    scenario = Scenario()
    token = scenario.launch("one")
    launch = scenario.seal().events[0]
    market, _ = apply(None, launch)
    # The same block, so that the launch fee is at its full 20 %; the exempt buy pays none.
    other = Scenario()
    other.launch("one")
    other.tokens[token].launch_block = -1_000
    other.buy(token, ETH // 10)
    exempt = next(e for e in other.seal().events if isinstance(e, Traded))
    exempt = replace(exempt, at=replace(exempt.at, tx_hash=launch.at.tx_hash))
    assert apply(market, exempt)[0].seq == 2
    with pytest.raises(ConsistencyError):
        apply(market, replace(exempt, at=replace(exempt.at, tx_hash=bytes(32))))


def test_apply_last_buy_makes_the_market_graduating_and_refuses_quotes():
    scenario = Scenario()
    token = scenario.launch("one", LINEAR)
    scenario.seal()
    quote = scenario.buy(token, 20 * ETH)
    assert quote.clipped
    fresh = Scenario()
    fresh.launch("one", LINEAR)
    events = [*fresh.seal().events, *scenario.seal().events]
    market = None
    for event in events:
        if hasattr(event, "seq"):
            market, _ = apply(market, event)
    assert market is not None
    assert market.phase == PHASE_GRADUATING
    request = QuoteRequest(token, True, False, ETH)
    refusal = quoting.answer(market, request, as_of=AS_OF, bucket=0)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "market_graduating"


@settings(max_examples=60, deadline=None)
@given(
    value=st.integers(10**9, 10**18),
    slippage=st.integers(0, 5_000),
    linear=st.booleans(),
    ahead=st.integers(0, 40),
)
def test_quote_bound_holds_for_the_quoted_trade(value, slippage, linear, ahead):
    scenario = Scenario()
    token = scenario.launch("one", LINEAR if linear else CONSTANT_PRODUCT)
    market = market_after(scenario, token)
    request = QuoteRequest(token, True, False, value, slippage, for_block=1 + ahead)
    reply = quoting.answer(market, request, as_of=AT_BIRTH, bucket=3)
    assert not isinstance(reply, Refusal)
    assert reply.amount_in == reply.eth + reply.refund == value
    assert reply.bound <= reply.amount_out
    assert reply.eth == reply.curve_eth + (
        reply.protocol_fee + reply.creator_fee + reply.launch_fee
    )
    back = quoting.answer(
        market,
        replace(request, exact_out=True, amount=reply.tokens),
        as_of=AT_BIRTH,
        bucket=3,
    )
    assert not isinstance(back, Refusal)
    assert back.eth <= value
    assert back.bound >= back.amount_in


def test_quote_exact_until_names_the_last_block_with_this_fee():
    scenario = Scenario()
    token = scenario.launch("one")
    market = market_after(scenario, token)
    for block in range(1, 40):
        request = QuoteRequest(token, True, False, ETH, for_block=block)
        now = quoting.answer(market, request, as_of=AT_BIRTH, bucket=0)
        until = now.exact_until_block
        if until is None:
            assert block >= 31
            continue
        same = quoting.answer(market, replace(request, for_block=until), as_of=AT_BIRTH, bucket=0)
        later = quoting.answer(
            market, replace(request, for_block=until + 1), as_of=AT_BIRTH, bucket=0
        )
        assert same.amount_out == now.amount_out
        assert later.amount_out > now.amount_out


@given(
    launch_bps=st.integers(0, 5_000),
    launch_blocks=st.integers(0, 40),
    age=st.integers(-3, 45),
)
def test_rates_of_any_block_are_those_of_the_schedule(launch_bps, launch_blocks, age):
    market, _ = traded_market()
    fees = replace(market.fees, launch_bps=launch_bps, launch_blocks=launch_blocks)
    market = replace(market, fees=fees)
    block, schedule = market.launch_block + age, schedule_of(fees, market.launch_block)
    assert rates_at(market, block) == (schedule.at(block), schedule.exact_until(block))


def test_quote_for_a_block_that_is_sealed_is_refused_and_the_open_one_is_the_default():
    scenario = Scenario()
    token = scenario.launch("one")
    market = market_after(scenario, token)
    request = QuoteRequest(token, True, False, ETH, for_block=AS_OF.block_number)
    refused = quoting.answer(market, request, as_of=AS_OF, bucket=0)
    assert isinstance(refused, Refusal) and refused.code == "invalid_request"
    given = replace(request, for_block=AS_OF.block_number + 1)
    default = replace(request, for_block=None)
    answers = [quoting.answer(market, one, as_of=AS_OF, bucket=0) for one in (given, default)]
    assert answers[0] == answers[1] and answers[0].for_block == AS_OF.block_number + 1
    open_ = replace(AS_OF, status="preconfirmed")
    assert quoting.answer(market, request, as_of=open_, bucket=0).for_block == AS_OF.block_number


def test_quotes_asked_at_once_are_those_asked_alone():
    launched, event = traded_market()
    values = {True: launched, False: apply(launched, event)[0]}
    unknown = Refusal("token_unknown", "?")
    asked = [
        QuoteRequest(token, is_buy, False, amount, for_block=block, sealed=sealed)
        for token in (launched.token, b"?" * 20)
        for is_buy in (True, False)
        for amount in (0, 10**15, 10**20)
        for block in (None, AS_OF.block_number, AS_OF.block_number + 9)
        for sealed in (True, False)
    ]
    found = []

    def find(token: bytes, sealed: bool) -> quoting.Quotable | Refusal:
        found.append((token, sealed))
        if token != launched.token:
            return unknown
        return quoting.quotable(values[sealed], as_of=AS_OF, bucket=5)

    alone = [
        quoting.answer(values[one.sealed], one, as_of=AS_OF, bucket=5)
        if one.token == launched.token
        else unknown
        for one in asked
    ]
    assert list(quoting.answers(asked, find)) == alone
    assert len(found) == len(set(found)) == 4
    assert len({getattr(one, "code", "good") for one in alone}) == 5


def one_by_one(market: Market | None, events: list[MarketEvent]) -> object:
    effects: list[object] = []
    try:
        for event in events:
            market, came = apply(market, event)
            effects += came
    except ConsistencyError as error:
        return error.code, str(error)
    return market, tuple(effects)


def at_once(market: Market | None, events: list[MarketEvent]) -> object:
    try:
        return fold(market, events)
    except ConsistencyError as error:
        return error.code, str(error)


def spoilt(events: list[MarketEvent], how: str, place: int) -> list[MarketEvent]:
    """With one event too many, too few, or of another amount, place or phase."""
    event = events[place]
    match how:
        case "doubled":
            return [*events[: place + 1], event, *events[place + 1 :]]
        case "dropped":
            return [*events[:place], *events[place + 1 :]]
        case "sold" | "tokens" | "launch_fee" if isinstance(event, Traded):
            other = replace(event, **{how: getattr(event, how) + 1})
            return [*events[:place], other, *events[place + 1 :]]
        case "block":
            other = replace(event, at=replace(event.at, block_number=event.at.block_number + 1))
            return [*events[:place], other, *events[place + 1 :]]
    return events


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 40),
    how=st.sampled_from(["", "doubled", "dropped", "sold", "tokens", "launch_fee", "block"]),
    part=st.integers(1, 60),
    dice=st.randoms(use_true_random=False),
)
def test_fold_of_many_equals_apply_of_each(seed, how, part, dice):
    saga = Saga(seed=seed)
    by_token: dict[bytes, list[MarketEvent]] = {}
    for _ in range(40):
        for event in saga.play().events:
            if isinstance(event, MarketEvent):
                by_token.setdefault(event.token, []).append(event)
    token = dice.choice(sorted(by_token, key=lambda one: len(by_token[one]))[-3:])
    events = by_token[token]
    wrong = spoilt(events, how, dice.randrange(len(events)))
    market: Market | None = None
    for start in range(0, len(wrong), part):
        some = wrong[start : start + part]
        expected = one_by_one(market, some)
        assert at_once(market, some) == expected
        market = expected[0] if isinstance(expected[0], Market) else market


def test_fold_of_nothing_new_is_the_same_market():
    market, event = traded_market()
    after, effects = fold(market, [event])
    again, none = fold(after, [event, event])
    assert again is after and none == () and len(effects) == 1
