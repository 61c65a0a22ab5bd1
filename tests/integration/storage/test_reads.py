from dataclasses import replace

import pytest

from engine.messages import FeedPosition, Traded
from engine.rows import WalletRecord
from storage import postgres
from storage.events import EventStore
from tests.support.history import Historian, Traders, position_of
from tests.support.scenario import LINEAR, Scenario, address_of

MINUTE = 60


class Written:
    """A scenario whose blocks are recorded as they are sealed."""

    def __init__(self, events: EventStore) -> None:
        self.events = events
        self.scenario = Scenario(seed=4)
        self.traders = Traders(self.scenario)
        self.historian = Historian()
        self.rows = []
        self.incarnation = 0

    async def seal(self, time: int | None = None, **changes):
        block = self.scenario.seal()
        rows = replace(self.historian.rows(block), **changes)
        if time is not None:
            candles = tuple(replace(one, time=time - time % MINUTE) for one in rows.candles)
            header = replace(rows.header, timestamp=time)
            rows = replace(rows, header=header, candles=candles)
        self.incarnation = self.incarnation or await self.events.claim()
        assert await self.events.write(
            [rows], incarnation=self.incarnation, position=position_of(block)
        )
        self.rows.append(rows)
        return block


@pytest.fixture
def written(events):
    return Written(events)


async def names(reads, **options):
    records, total = await reads.tokens(**{"page": 1, "limit": 20, **options})
    return [record.name for record in records], total


async def test_cursor_before_and_after(written, reads):
    assert await reads.cursor() == FeedPosition(-1, bytes(32))
    block = await written.seal()
    assert await reads.cursor() == position_of(block)
    await reads.ping()


async def test_token_says_the_market_after_its_last_event(written, reads, analytics):
    token = written.scenario.launch("Moon", LINEAR)
    created = await written.seal()
    written.traders.trade(5)
    traded = await written.seal()
    record = await reads.token(token)
    market = written.rows[-1].markets[0]
    trades = [event for event in traded.events if isinstance(event, Traded)]
    assert record is not None
    assert (record.name, record.symbol, record.version) == ("Moon", "MOON", 1)
    assert record.curve == LINEAR and record.fees == created.events[0].fees
    assert (record.sold, record.raised) == (trades[-1].sold, trades[-1].raised)
    assert (record.phase, record.price_e18) == ("curve", market.price_e18)
    assert record.market_cap_wei == market.market_cap_wei
    assert record.trades == len(trades) == 5
    assert record.volume_24h == 0, "the analytics role has not been there"
    await analytics.turn()
    record = await reads.token(token)
    assert record.volume_24h == sum(event.curve_eth for event in trades)
    assert record.created_block == 1 and record.created_at == created.header.timestamp
    assert record.holders == sum(held > 0 for held in written.traders.held.values())
    assert await reads.token(bytes(20)) is None


async def test_tokens_sort_by_creation_and_page(written, reads):
    for number in range(5):
        written.scenario.launch(f"coin {number}")
    await written.seal()
    assert await names(reads, limit=2) == (["coin 4", "coin 3"], 5)
    assert await names(reads, limit=2, page=3) == (["coin 0"], 5)
    assert await names(reads, limit=2, page=4) == ([], 5)
    assert await names(reads, limit=2, order="asc") == (["coin 0", "coin 1"], 5)
    assert await names(reads, page=10**15) == ([], 5)


async def test_tokens_sort_by_market_cap(written, reads):
    coins = {name: written.scenario.launch(name) for name in ("low", "high", "middle")}
    await written.seal()
    for name, value in (("high", 10**17), ("middle", 10**16), ("low", 10**15)):
        written.scenario.buy(coins[name], value)
    await written.seal()
    assert await names(reads, sort_by="marketCap") == (["high", "middle", "low"], 3)
    assert await names(reads, sort_by="marketCap", order="asc", limit=1) == (["low"], 3)


async def test_tokens_sort_by_volume_of_the_last_day(written, reads, analytics):
    day = 86_400
    coins = {name: written.scenario.launch(name) for name in ("yesterday", "today", "never")}
    await written.seal(time=1_800_000_000 - 2 * day)
    written.scenario.buy(coins["yesterday"], 10**17)
    await written.seal(time=1_800_000_000 - day - MINUTE)
    written.scenario.buy(coins["today"], 10**15)
    await written.seal(time=1_800_000_000)
    await analytics.turn()
    listed, total = await names(reads, sort_by="volume")
    assert (listed[0], sorted(listed[1:]), total) == ("today", ["never", "yesterday"], 3)
    records, _ = await reads.tokens(page=1, limit=3, sort_by="volume")
    by_name = {record.name: record.volume_24h for record in records}
    assert by_name["yesterday"] == by_name["never"] == 0 < by_name["today"]
    listed, _ = await reads.tokens(page=1, limit=3)
    assert {record.name: record.volume_24h for record in listed} == by_name


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("oon", ["Moonshine", "MoonCat"]),
        ("MOON", ["Moonshine", "MoonCat"]),
        ("cat", ["MoonCat", "Cat_100%"]),
        ("ca", ["Cat_100%"]),
        ("m", ["Moonshine", "MoonCat"]),
        ("100%", ["Cat_100%"]),
        ("t_1", ["Cat_100%"]),
        ("%", []),
        ("_", []),
        ("\\", []),
        ("火箭", ["火箭计划"]),
        ("箭计划", ["火箭计划"]),
        ("STRASSE", ["Große Straße"]),
        ("große", ["Große Straße"]),
        ("nothing", []),
        ("  moonc ", ["MoonCat"]),
        ("\0", ["Große Straße", "火箭计划", "Moonshine", "MoonCat", "Cat_100%"]),
        ("", ["Große Straße", "火箭计划", "Moonshine", "MoonCat", "Cat_100%"]),
        ("'; DROP TABLE tokens; --", []),
    ],
)
async def test_tokens_search(written, reads, search, found):
    for name in ("Cat_100%", "MoonCat", "Moonshine", "火箭计划", "Große Straße"):
        written.scenario.launch(name)
    await written.seal()
    assert await names(reads, search=search) == (found, len(found))
    listed, total = await names(reads, search=search, sort_by="volume")
    assert (sorted(listed), total) == (sorted(found), len(found))


async def test_tokens_search_by_address(written, reads):
    token = written.scenario.launch("found")
    written.scenario.launch("other")
    await written.seal()
    assert await names(reads, search=f"0x{token.hex().upper()}") == (["found"], 1)
    assert await names(reads, search=f"0x{bytes(20).hex()}") == ([], 0)


async def test_search_of_three_letters_uses_the_trigram_index(written, pool):
    written.scenario.launch("Moonshine")
    await written.seal()
    async with postgres.session(pool) as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(
            "EXPLAIN SELECT count(*) FROM tokens"
            " WHERE name_key LIKE '%moon%' OR symbol_key LIKE '%moon%'"
        )
    assert "tokens_search" in "\n".join(row[0] for row in plan)


async def test_tokens_graduated_filter(written, reads, pool):
    first, second = written.scenario.launch("first"), written.scenario.launch("second")
    await written.seal()
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE markets SET phase = 'graduated' WHERE token_address = $1", second
        )
        await connection.execute(
            "UPDATE markets SET phase = 'graduating' WHERE token_address = $1", first
        )
    assert await names(reads, graduated=True) == (["second"], 1)
    assert await names(reads, graduated=False) == (["first"], 1)
    assert await names(reads, graduated=True, search="first", sort_by="volume") == ([], 0)


async def test_tokens_hidden_are_not_shown(written, reads, pool):
    token = written.scenario.launch("hidden")
    written.scenario.launch("shown")
    await written.seal()
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE tokens SET visibility = 'hidden' WHERE token_address = $1", token
        )
    assert await names(reads) == (["shown"], 1)
    assert await reads.token(token) is None


async def test_transactions_newest_first_by_page_and_by_cursor(written, reads):
    token = written.scenario.launch("busy")
    await written.seal()
    for _ in range(3):
        written.traders.trade(4)
        await written.seal()
    everything, total = await reads.transactions(token, page=1, limit=100)
    assert total == len(everything) == 13
    order = [(row.block_number, row.tx_index, row.log_index) for row in everything]
    assert order == sorted(order, reverse=True)
    assert {row.status for row in everything} == {"CONFIRMED"}
    assert everything[-1].type == "CREATE"
    pages = [await reads.transactions(token, page=page, limit=5) for page in (1, 2, 3, 4)]
    assert [row for rows, _ in pages for row in rows] == everything
    seen, before = [], None
    while True:
        rows, counted = await reads.transactions(token, page=1, limit=5, before=before)
        assert counted == 13
        if not rows:
            break
        seen += rows
        before = (rows[-1].block_number, rows[-1].tx_index, rows[-1].log_index)
    assert seen == everything
    assert await reads.transactions(bytes(20), page=1, limit=5) == ([], 0)


async def test_transaction_with_several_trades_lists_each(written, reads):
    token = written.scenario.launch("one")
    written.scenario.buy(token, 10**15)
    written.scenario.buy(token, 10**15, "bob")
    block = written.scenario.seal()
    rows = written.historian.rows(block)
    tx_hash = rows.transactions[1].at.tx_hash
    second = rows.transactions[2]
    same = replace(second, at=replace(second.at, tx_hash=tx_hash, position=4))
    rows = replace(rows, transactions=(*rows.transactions[:2], same))
    await written.events.write(
        [rows], incarnation=await written.events.claim(), position=position_of(block)
    )
    found = await reads.transaction(tx_hash)
    assert [row.position for row in found] == [0, 4]
    assert found[0].user != found[1].user
    assert await reads.count_trades() == 2


async def test_candles_in_wider_steps(written, reads):
    token = written.scenario.launch("chart")
    start = 1_800_000_000
    await written.seal(time=start - 600)
    prices = []
    for minute in (-5, 0, 1, 4, 5, 11):
        written.scenario.buy(token, 10**15 * (minute + 6))
        await written.seal(time=start + MINUTE * minute)
        prices.append(written.rows[-1].candles[0])
    candles, before = await reads.candles(token, start=start, end=start + 900, step_s=300)
    assert [candle.time - start for candle in candles] == [0, 300, 600]
    assert before == prices[0].close
    first = prices[1:4]
    assert candles[0].open == first[0].open and candles[0].close == first[-1].close
    assert candles[0].high == max(one.high for one in first)
    assert candles[0].low == min(one.low for one in first)
    assert candles[0].volume_eth == sum(one.volume_eth for one in first)
    assert candles[0].volume_token == sum(one.volume_token for one in first)
    assert (candles[0].trades, candles[1].trades, candles[2].trades) == (3, 1, 1)
    plain, _ = await reads.candles(token, start=start, end=start + 900, step_s=60)
    assert plain == [replace(one, time=one.time) for one in prices[1:]]
    assert await reads.candles(token, start=0, end=60, step_s=60) == ([], None)
    assert await reads.candles(bytes(20), start=start, end=start + 60, step_s=60) == ([], None)


async def test_holdings_with_what_was_spent_and_received(written, reads):
    small, large = written.scenario.launch("small"), written.scenario.launch("large")
    gone = written.scenario.launch("gone")
    await written.seal()
    written.scenario.buy(small, 10**14)
    written.scenario.buy(large, 10**16)
    bought = written.scenario.buy(gone, 10**15)
    await written.seal()
    sold = written.scenario.sell(gone, bought.tokens)
    part = written.scenario.sell(large, 10**18)
    await written.seal()
    alice = address_of("alice")
    listed = await reads.holdings(alice, 10)
    first, second = listed.holdings
    assert listed.block == written.scenario.number
    assert [first.name, second.name] == ["large", "small"]
    trades = [row for rows in written.rows for row in rows.transactions if row.token == large]
    assert first.balance == first.bought_tokens - first.sold_tokens
    assert first.sold_tokens == part.tokens == 10**18
    assert first.spent_wei == next(row.eth_amount for row in trades if row.type == "BUY")
    assert first.received_wei == next(row.eth_amount for row in trades if row.type == "SELL")
    assert first.held_tokens == first.balance
    assert second.realised_wei == 0 and second.cost_wei == second.spent_wei
    everything = await reads.holdings(alice, 10, closed=True)
    closed = everything.holdings[-1]
    assert (closed.name, closed.balance, closed.sold_tokens) == ("gone", 0, sold.tokens)
    assert (closed.held_tokens, closed.cost_wei) == (0, 0)
    # The wallet's profit is of all tokens, whatever is listed.
    realised = sum(one.realised_wei for one in everything.holdings)
    assert listed.realised_wei == everything.realised_wei == realised
    assert closed.realised_wei == sold.eth - bought.eth < 0 != first.realised_wei
    assert await reads.holdings(alice, 1) == replace(listed, holdings=[first])
    assert await reads.holdings(bytes(20), 10) == WalletRecord([], listed.block, 0)


async def test_holdings_realise_nothing_by_a_later_buy_or_a_gift(written, reads):
    token, alice = written.scenario.launch("one"), address_of("alice")
    await written.seal()
    found = []
    for side, eth, tokens in (
        ("BUY", 1_000, 100),
        ("SELL", 1_000, 100),
        ("BUY", 1_000, 1_000),
        ("SELL", 700, 500),
        ("SELL", 50, 501),  # one of them was given
    ):
        written.scenario.buy(token, 10**15)
        block = written.scenario.seal()
        rows = written.historian.rows(block)
        [row] = rows.transactions
        traded = replace(row, type=side, eth_amount=eth, token_amount=tokens)
        await written.events.write(
            [replace(rows, transactions=(traded,))],
            incarnation=written.incarnation,
            position=position_of(block),
        )
        wallet = await reads.holdings(alice, 10, closed=True)
        [one] = wallet.holdings
        assert wallet.realised_wei == one.realised_wei
        found.append((one.held_tokens, one.cost_wei, one.realised_wei))
    assert found == [(100, 1_000, 0), (0, 0, 0), (1_000, 1_000, 0), (500, 500, 200), (0, 0, -250)]


# ------------------------------------------------------------------ submitted transactions


async def submit(reads, tx_hash: bytes, token: bytes | None, type: str = "BUY") -> None:
    await reads.add_pending(
        tx_hash=tx_hash,
        user=address_of("alice"),
        token=token,
        type=type,
        eth_amount=10**15,
        token_amount=None,
    )


async def test_pending_becomes_confirmed_by_the_recorders_write(written, reads, events):
    token = written.scenario.launch("one")
    await written.seal()
    written.scenario.buy(token, 10**15)
    tx_hash = written.scenario._events[0].at.tx_hash
    await submit(reads, tx_hash, token)
    await submit(reads, tx_hash, token)
    [waiting] = await reads.transaction(tx_hash)
    assert (waiting.status, waiting.position, waiting.block_number) == ("PENDING", -1, None)
    assert await reads.transactions(token, page=1, limit=9) == (
        [row for row in (await reads.transactions(token, page=1, limit=9))[0] if row.block_number],
        1,
    )
    assert [row.tx_hash for row in await events.pending(10)] == [tx_hash]
    block = await written.seal()
    [mined] = await reads.transaction(tx_hash)
    assert (mined.status, mined.position) == ("CONFIRMED", 0)
    assert (mined.block_number, mined.gas_fee) == (block.header.number, None)
    assert [row.status for row in await events.pending(10)] == ["CONFIRMED"]
    await events.settle(tx_hash, status="CONFIRMED", reason=None, gas_fee=123)
    await events.settle(tx_hash, status="CONFIRMED", reason=None, gas_fee=123)
    [settled] = await reads.transaction(tx_hash)
    assert settled == replace(mined, gas_fee=123)
    assert await events.pending(10) == []


async def test_pending_reverted_becomes_failed(reads, events):
    tx_hash = bytes([7] * 32)
    await submit(reads, tx_hash, None)
    await events.settle(tx_hash, status="FAILED", reason="slippage_exceeded", gas_fee=99)
    [row] = await reads.transaction(tx_hash)
    assert (row.status, row.reason, row.gas_fee) == ("FAILED", "slippage_exceeded", 99)
    assert await events.pending(10) == []


async def test_pending_create_of_a_token_that_is_not_there_yet(written, reads):
    token = written.scenario.launch("soon")
    tx_hash = written.scenario._events[0].at.tx_hash
    await submit(reads, tx_hash, token, "CREATE")
    assert [row.status for row in await reads.transaction(tx_hash)] == ["PENDING"]
    await written.seal()
    assert [row.status for row in await reads.transaction(tx_hash)] == ["CONFIRMED"]


async def test_pending_settled_before_it_is_recorded_keeps_its_gas(written, reads, events):
    token = written.scenario.launch("one")
    await written.seal()
    written.scenario.buy(token, 10**15)
    tx_hash = written.scenario._events[0].at.tx_hash
    await submit(reads, tx_hash, token)
    await events.settle(tx_hash, status="CONFIRMED", reason=None, gas_fee=5)
    await written.seal()
    [row] = await reads.transaction(tx_hash)
    assert (row.position, row.gas_fee, row.status) == (0, 5, "CONFIRMED")
    assert await events.pending(10) == []


async def test_pending_added_after_it_was_mined_only_wants_the_gas(written, reads, events):
    token = written.scenario.launch("one")
    written.scenario.buy(token, 10**15)
    block = await written.seal()
    tx_hash = block.events[1].at.tx_hash
    await submit(reads, tx_hash, token)
    assert [row.position for row in await reads.transaction(tx_hash)] == [0]
    assert [row.status for row in await events.pending(10)] == ["CONFIRMED"]


async def test_pending_added_while_being_mined_is_hidden_and_removed(written, reads, events, pool):
    token = written.scenario.launch("one")
    written.scenario.buy(token, 10**15)
    block = await written.seal()
    tx_hash = block.events[1].at.tx_hash
    async with postgres.session(pool) as connection:
        # What a submit leaves that did not yet see the recorder's open transaction.
        await connection.execute(
            "INSERT INTO transactions (chain_id, tx_hash, position, user_address, type, status,"
            " receipt_due) SELECT chain_id, tx_hash, -1, user_address, type, 'PENDING', TRUE"
            " FROM transactions WHERE tx_hash = $1",
            tx_hash,
        )
    assert [row.position for row in await reads.transaction(tx_hash)] == [0]
    await events.settle(tx_hash, status="CONFIRMED", reason=None, gas_fee=1)
    assert [(row.position, row.gas_fee) for row in await reads.transaction(tx_hash)] == [(0, 1)]
    assert await events.pending(10) == []
