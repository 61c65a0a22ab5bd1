"""The cost of what is held: after each write what the trades in their order make it."""

from dataclasses import replace

import pytest

from engine.errors import ConsistencyError
from engine.messages import FeedPosition, Transferred
from storage import postgres
from storage.market_reads import MarketReads
from tests.integration.storage.test_events import TABLES, blocks_of, contents, rows_of
from tests.model.costs import Cost
from tests.support.history import Historian, position_of
from tests.support.scenario import CHAIN_ID, Scenario, address_of

TRADES = """
SELECT token_address, user_address, type, eth_amount, token_amount, held_before, cost_before
FROM transactions WHERE type IN ('BUY', 'SELL')
ORDER BY block_number, tx_index, log_index
"""


@pytest.mark.parametrize("together", [1, 3, 10])
async def test_bases_follow_trades_in_the_order_of_the_chain(pool, events, together):
    blocks = blocks_of(10, trades=12)
    rows, incarnation = rows_of(blocks), await events.claim()
    for start in range(0, 10, together):
        part = rows[start : start + together]
        position = FeedPosition(part[-1].header.number, part[-1].header.hash)
        await events.write(part, incarnation=incarnation, position=position)
    async with postgres.session(pool) as connection:
        trades = await connection.fetch(TRADES)
        held = await connection.fetch("SELECT * FROM balances WHERE bought_tokens > 0")
    expected: dict[tuple[bytes, bytes], Cost] = {}
    for token, user, side, eth, tokens, *before in trades:
        one = expected.setdefault((token, user), Cost())
        assert before == [one.held, one.cost]
        one.trade(side, eth=eth, tokens=tokens)
    assert len(trades) > 80 and any(one.realised for one in expected.values())
    for row in held:
        one = expected.pop((row["token_address"], row["holder"]))
        assert (row["held_tokens"], row["cost_wei"]) == (one.held, one.cost)
        assert row["received_wei"] - row["spent_wei"] + row["cost_wei"] == one.realised
    assert expected == {}


async def test_write_of_known_and_new_blocks_counts_each_trade_once(pool, events):
    blocks = blocks_of(6)
    rows = [replace(one, candles=()) for one in rows_of(blocks)]
    incarnation = await events.claim()
    await events.write(rows[:3], incarnation=incarnation, position=position_of(blocks[2]))
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE cursors SET block_number = -1, block_hash = decode(repeat('00', 32), 'hex')"
        )
    await events.write(rows, incarnation=incarnation, position=position_of(blocks[5]))
    found = await contents(pool)
    async with postgres.session(pool) as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}, cursors CASCADE")
    incarnation = await events.claim()
    await events.write(rows, incarnation=incarnation, position=position_of(blocks[5]))
    assert await contents(pool) == found


async def test_write_of_a_trade_that_another_block_has_is_refused(pool, events):
    blocks = blocks_of(3)
    first, second, third = rows_of(blocks)
    incarnation = await events.claim()
    await events.write([first, second], incarnation=incarnation, position=position_of(blocks[1]))
    before = await contents(pool)
    again = replace(third, transactions=(*third.transactions, second.transactions[0]))
    with pytest.raises(ConsistencyError, match="transactions_pkey"):
        await events.write([again], incarnation=incarnation, position=position_of(blocks[2]))
    assert await contents(pool) == before


async def first_buy_of(pool, token: bytes, who: str) -> int | None:
    holders = await MarketReads(pool, CHAIN_ID).holders(token, page=1, limit=10)
    return {one.holder: one.first_buy for one in holders}[address_of(who)]


async def test_first_buy_is_of_the_first_that_stands(pool, events):
    scenario, historian, blocks = Scenario(), Historian(), []
    incarnation = await events.claim()

    async def sealed() -> int:
        blocks.append(scenario.seal())
        rows, position = [historian.rows(blocks[-1])], position_of(blocks[-1])
        assert await events.write(rows, incarnation=incarnation, position=position)
        return blocks[-1].header.timestamp

    token = scenario.launch("first")
    scenario.buy(token, 10**16, "bob")
    await sealed()
    at = replace(scenario._next_tx(), emitter=token)
    scenario._events.append(Transferred(at, token, address_of("bob"), address_of("alice"), 10**18))
    await sealed()
    assert await first_buy_of(pool, token, "alice") is None
    scenario.buy(token, 10**16, "alice")
    first = await sealed()
    scenario.buy(token, 10**16, "alice")
    assert await sealed() > first
    assert await first_buy_of(pool, token, "alice") == first
    assert await events.rewind(position_of(blocks[2]), incarnation=incarnation)
    assert await first_buy_of(pool, token, "alice") == first
    assert await events.rewind(position_of(blocks[1]), incarnation=incarnation)
    assert await first_buy_of(pool, token, "alice") is None
