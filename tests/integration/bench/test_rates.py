"""The bench of the recorder writes what it counts."""

import asyncpg

from bench import rates
from storage import postgres
from storage.events import EventStore
from tests.support.scenario import CHAIN_ID


async def test_every_trade_that_is_counted_is_in_the_database(postgres_url: str) -> None:
    found = await rates.record_rates(postgres_url, 2, tell=lambda text: None, blocks=2)
    assert len(found) == 2 and min(found) > 0
    connection = await asyncpg.connect(postgres_url)
    try:
        trades = await connection.fetchval(
            "SELECT count(*) FROM transactions WHERE type <> 'CREATE'"
        )
    finally:
        await connection.close()
    assert trades == 2 * 2 * rates.TRADES_A_BLOCK
    pool = await postgres.connect(postgres_url, size=1)
    assert (await EventStore(pool, CHAIN_ID).position()).number == 1 + 2 * 2
    await pool.close()
