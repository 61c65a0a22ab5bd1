"""Rows of a block: complete, exact, the same however often they are made."""

from dataclasses import replace

from engine import candle
from engine.basis import NO_BASIS, Basis
from engine.history import rows_of, tokens_needed, traders_of, with_bases
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


def trades_of(*trades):
    """One block in which (trader, side, wei, tokens) happened in this order."""
    scenario = Scenario()
    token = scenario.launch("a")
    for name, *_ in trades:
        scenario.buy(token, ETH // 100, name)
    rows = rows_of(scenario.seal(), {}, {}, venues=VENUES)
    created, *rest = rows.transactions
    made = [
        replace(row, type=side, eth_amount=eth, token_amount=tokens)
        for row, (_, side, eth, tokens) in zip(rest, trades, strict=True)
    ]
    return token, replace(rows, transactions=(created, *made))


def test_bases_follow_the_trades_of_a_block_in_their_order():
    token, block = trades_of(
        ("alice", "BUY", 10, 100),
        ("bob", "SELL", 7, 5),
        ("alice", "SELL", 9, 50),
        ("alice", "BUY", 4, 1),
    )
    alice, bob = (1, token, address_of("alice")), (1, token, address_of("bob"))
    assert traders_of([block]) == {alice, bob}
    [done] = with_bases([block], {bob: Basis(10, 3)}, recorded=())
    assert done.transactions[0] == block.transactions[0]
    assert [(row.before, row.after) for row in done.transactions[1:]] == [
        (NO_BASIS, Basis(100, 10)),
        (Basis(10, 3), Basis(5, 2)),
        (Basis(100, 10), Basis(50, 5)),
        (Basis(50, 5), Basis(51, 9)),
    ]


def test_bases_go_on_from_block_to_block_and_count_recorded_rows_once():
    token, block = trades_of(("alice", "BUY", 10, 100), ("alice", "SELL", 9, 50))
    alice = (1, token, address_of("alice"))
    first, second = with_bases([block, block], {}, recorded=())
    assert [row.before for row in second.transactions[1:]] == [Basis(50, 5), Basis(150, 15)]
    keys = {(row.at.tx_hash, row.at.position) for row in block.transactions}
    bought = block.transactions[1].at
    [rest] = with_bases([block], {alice: Basis(100, 10)}, recorded={(bought.tx_hash, 0)})
    assert [row.type for row in rest.transactions] == ["CREATE", "SELL"]
    assert rest.transactions[1].after == first.transactions[2].after
    [none] = with_bases([block], {}, recorded=keys)
    assert none.transactions == ()
