"""A database of before profits were by moving average: it is filled from its transactions."""

import random

from storage import postgres
from storage.analytics import Analytics
from storage.events import EventStore
from storage.reads import Reads
from tests.model.costs import costs
from tests.support.dumps import dump
from tests.support.history import Historian, Saga, position_of
from tests.support.scenario import CHAIN_ID, address_of

VERSION = 10
BEFORE = f"""
ALTER TABLE transactions DROP COLUMN held_before, DROP COLUMN cost_before;
ALTER TABLE balances DROP COLUMN held_tokens, DROP COLUMN cost_wei;
UPDATE trader_stats SET realised_wei = realised_wei + 77, block_number = -1;
DELETE FROM schema_migrations WHERE version = {VERSION};
"""
TRADES = """
SELECT version, token_address, user_address, type, eth_amount, token_amount
FROM transactions WHERE chain_id = $1 AND type IN ('BUY', 'SELL') AND position >= 0
ORDER BY block_number, tx_index, log_index
"""
BOARD = "SELECT trader, realised_wei FROM trader_stats WHERE chain_id = $1"


async def board(pool) -> dict[bytes, int]:
    async with postgres.session(pool) as connection:
        return dict([tuple(row) for row in await connection.fetch(BOARD, CHAIN_ID)])


async def plain(pool) -> dict[bytes, int]:
    async with postgres.session(pool) as connection:
        trades = [tuple(row) for row in await connection.fetch(TRADES, CHAIN_ID)]
    found: dict[bytes, int] = {}
    for (_, _, trader), one in costs((row[:3], *row[3:]) for row in trades).items():
        found[trader] = found.get(trader, 0) + one.realised
    return found


async def test_migration_makes_the_rows_that_a_recorder_would_have_made(bare_pool):
    pool, dice = bare_pool, random.Random(2)
    await postgres.migrate(pool)
    events, reads, analytics = (kind(pool, CHAIN_ID) for kind in (EventStore, Reads, Analytics))
    saga, historian, blocks = Saga(seed=7), Historian(), []
    incarnation = await events.claim()
    while len(blocks) < 60:
        if dice.random() < 0.3:
            waiting = (saga.coming_hash(40), address_of("alice"), None, "SELL", 5, 6)
            names = ("tx_hash", "user", "token", "type", "eth_amount", "token_amount")
            await reads.add_pending(**dict(zip(names, waiting, strict=True)))
        blocks.append(saga.play())
        position = position_of(blocks[-1])
        rows = [historian.rows(blocks[-1])]
        await events.write(rows, incarnation=incarnation, position=position)
        if len(blocks) == 50:
            # The last of its blocks is final: all that it worked out is settled.
            await events.finalise(50, incarnation)
            await analytics.turn()
    recorded = await dump(pool, CHAIN_ID)
    async with postgres.session(pool) as connection:
        await connection.execute(BEFORE)
    applied = await postgres.migrate(pool)
    assert applied[0].startswith(f"{VERSION:04d}_")
    assert await dump(pool, CHAIN_ID) == recorded
    found, expected = await board(pool), await plain(pool)
    assert len(found) > 3 and len({*found.values()}) > 3
    assert found == {trader: expected[trader] for trader in found}
    # What it took of blocks that are taken back now is worked out anew.
    assert await events.rewind(position_of(blocks[50]), incarnation=incarnation)
    await analytics.turn()
    expected = await plain(pool)
    assert {who: wei for who, wei in (await board(pool)).items() if wei} == {
        who: wei for who, wei in expected.items() if wei
    }
