"""Rows of a block: complete, exact, the same however often they are made."""

from engine import candle
from engine.history import rows_of, tokens_needed
from engine.market import price_e18
from engine.messages import Traded
from engine.rows import MarketRow
from tests.support.scenario import CONSTANT_PRODUCT, LAUNCHPAD, Scenario, address_of

ETH = 10**18
VENUES = frozenset({LAUNCHPAD})


def test_rows_of_launch_and_first_trades_in_one_block():
    scenario = Scenario()
    token = scenario.launch("a")
    bought = scenario.buy(token, ETH // 10)
    sold = scenario.sell(token, bought.tokens // 2, "bob")
    block = scenario.seal()
    assert tokens_needed(block) == frozenset()
    rows = rows_of(block, {}, {}, venues=VENUES)
    assert [row.type for row in rows.transactions] == ["CREATE", "BUY", "SELL"]
    assert [row.eth_amount for row in rows.transactions] == [None, bought.eth, sold.eth]
    (market,) = rows.markets
    assert (market.sold, market.raised, market.seq) == (sold.sold, sold.raised, 3)
    (one,) = rows.candles
    assert one.open == price_e18(CONSTANT_PRODUCT, 0, 0)
    assert one.close == market.price_e18
    assert one.high == price_e18(CONSTANT_PRODUCT, bought.sold, bought.raised)
    assert one.trades == 2
    assert one.volume_eth == bought.curve_eth + sold.curve_eth
    assert len(rows.transfers) == 2
    assert {row.topic for row in rows.outbox} == {"token_created", "traded"}
    assert len({row.key for row in rows.outbox}) == 3


def test_rows_of_later_block_open_at_the_close_before():
    scenario = Scenario()
    token = scenario.launch("a")
    scenario.seal()
    scenario.buy(token, ETH // 10)
    block = scenario.seal()
    assert tokens_needed(block) == {token}
    before = {token: MarketRow(token, "curve", 0, 0, 1, 777, 1)}
    rows = rows_of(block, {token: CONSTANT_PRODUCT}, before, venues=VENUES)
    assert rows.candles[0].open == 777


def test_rows_of_sum_of_trades_equals_the_markets_reserves():
    scenario = Scenario(seed=5)
    tokens = [scenario.launch(name) for name in "abc"]
    curves = dict.fromkeys(tokens, CONSTANT_PRODUCT)
    flows = dict.fromkeys(tokens, 0)
    states = {token: MarketRow(token, "curve", 0, 0, 1, 1, 1) for token in tokens}
    scenario.seal()
    for _ in range(20):
        scenario.trade_at_random(6)
        block = scenario.seal()
        rows = rows_of(block, curves, states, venues=VENUES)
        states |= {row.token: row for row in rows.markets}
        for event in block.events:
            if isinstance(event, Traded):
                flows[event.token] += event.curve_eth if event.is_buy else -event.curve_eth
        for market in rows.markets:
            assert market.raised == flows[market.token]


def test_rows_of_plain_transfer_is_a_transfer_of_its_sender():
    scenario = Scenario()
    token = scenario.launch("a")
    scenario.buy(token, ETH // 10)
    block = scenario.seal()
    wallet_to_wallet = [
        type(event)(event.at, event.token, address_of("alice"), address_of("bob"), 5)
        for event in block.events
        if hasattr(event, "sender")
    ]
    moved = type(block)(block.header, (*block.events, *wallet_to_wallet))
    rows = rows_of(moved, {}, {}, venues=VENUES)
    plain = [row for row in rows.transactions if row.type == "TRANSFER"]
    assert [(row.user, row.recipient, row.token_amount) for row in plain] == [
        (address_of("alice"), address_of("bob"), 5)
    ]


def test_minute_of_is_the_utc_minute():
    assert candle.minute_of(120) == candle.minute_of(179) == 120
