"""A database of before a position held its first buy: it is filled from its transactions."""

from storage import postgres
from storage.events import EventStore
from tests.support.dumps import dump
from tests.support.history import Historian, Saga, position_of
from tests.support.scenario import CHAIN_ID

VERSION = 14
BEFORE = f"""
ALTER TABLE balances DROP COLUMN first_buy;
DROP INDEX transactions_others;
CREATE INDEX transactions_buys
    ON transactions (chain_id, token_address, user_address, block_time)
    WHERE type = 'BUY' AND block_number IS NOT NULL;
CREATE INDEX transactions_block ON transactions (chain_id, block_number)
    WHERE block_number IS NOT NULL;
ALTER TABLE transfers DROP CONSTRAINT transfers_pkey;
ALTER TABLE transfers ADD PRIMARY KEY (chain_id, tx_hash, position);
CREATE INDEX transfers_block ON transfers (chain_id, block_number);
ALTER TABLE outbox DROP CONSTRAINT outbox_pkey;
ALTER TABLE outbox ADD PRIMARY KEY (chain_id, key);
CREATE INDEX outbox_waiting ON outbox (chain_id, block_number) WHERE visible_at IS NULL;
CREATE INDEX outbox_due ON outbox (chain_id, topic, block_number)
    WHERE visible_at IS NOT NULL AND consumed_at IS NULL;
CREATE INDEX outbox_visible ON outbox (chain_id, block_number) WHERE visible_at IS NOT NULL;
DELETE FROM schema_migrations WHERE version = {VERSION};
"""
FIRST_BUYS = """
SELECT
    (SELECT array_agg((token_address, holder, first_buy) ORDER BY token_address, holder)
    FROM balances WHERE chain_id = $1 AND first_buy IS NOT NULL)
    = (SELECT array_agg((token_address, user_address, first) ORDER BY token_address, user_address)
    FROM (
        SELECT token_address, user_address, min(block_time) AS first FROM transactions
        WHERE chain_id = $1 AND type = 'BUY' AND block_number IS NOT NULL GROUP BY 1, 2
    ) AS bought)
"""


async def test_migration_makes_the_first_buys_that_a_recorder_would_have_made(bare_pool):
    await postgres.migrate(bare_pool)
    events, saga, historian = EventStore(bare_pool, CHAIN_ID), Saga(seed=7), Historian()
    incarnation, blocks = await events.claim(), []
    for _ in range(40):
        blocks.append(saga.play())
        rows = [historian.rows(blocks[-1])]
        position = position_of(blocks[-1])
        await events.write(rows, incarnation=incarnation, position=position)
    recorded = await dump(bare_pool, CHAIN_ID)
    async with postgres.session(bare_pool) as connection:
        assert await connection.fetchval(FIRST_BUYS, CHAIN_ID)
        await connection.execute(BEFORE)
    applied = await postgres.migrate(bare_pool)
    assert [name[:5] for name in applied] == [f"{VERSION:04d}_"]
    assert await dump(bare_pool, CHAIN_ID) == recorded
    for back_to in (30, 12, 3):
        assert await events.rewind(position_of(blocks[back_to]), incarnation=incarnation)
        async with postgres.session(bare_pool) as connection:
            assert await connection.fetchval(FIRST_BUYS, CHAIN_ID)
