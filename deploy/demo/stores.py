"""What the stores hold of the demo, read straight from them: nothing may be missing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from storage.people import People

WAIT_S = 15.0

_TRADES = """
SELECT t.tx_hash FROM transactions t
WHERE t.chain_id = $1 AND t.type IN ('BUY', 'SELL') AND t.status = 'CONFIRMED'
  AND NOT EXISTS (SELECT 1 FROM transactions c
                  WHERE c.chain_id = t.chain_id AND c.tx_hash = t.tx_hash AND c.type = 'CREATE')
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """`trades`: rows of buys and sells, first buys and the `foreign` ones on the pools not
    counted; `missing`, `doubled`: of ours.
    """

    trades: int
    foreign: int
    missing: int
    doubled: int
    users: int


async def stored(
    pool: "asyncpg.Pool[asyncpg.Record]",
    people: People,
    *,
    chain_id: int,
    trade_hashes: Sequence[str],
    foreign_hashes: Sequence[str] = (),
) -> Stored:
    """Wait (15 s at most) until every trade is recorded, then count."""
    strangers = {bytes.fromhex(tx_hash[2:]) for tx_hash in foreign_hashes}
    wanted = {bytes.fromhex(tx_hash[2:]) for tx_hash in trade_hashes} | strangers
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while True:
        rows = [bytes(row["tx_hash"]) for row in await pool.fetch(_TRADES, chain_id)]
        missing = len(wanted - set(rows))
        if not missing or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.25)
    users = await people.count()
    foreign = sum(row in strangers for row in rows)
    doubled = len(rows) - len(set(rows))
    return Stored(len(rows) - foreign, foreign, missing, doubled, users)
