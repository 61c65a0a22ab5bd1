"""A whole recorded history as lines of text, to be compared with another one."""

from typing import Any

from storage import postgres

TABLES = (
    "tokens",
    "markets",
    "events",
    "transactions",
    "transfers",
    "price_history",
    "outbox",
    "blocks",
    "cursors",
)
CLOCKS = "'{chain_id,created_at,updated_at,visible_at,incarnation,revision}'::text[]"
DUMP = f"""
SELECT ((to_jsonb(one) - {CLOCKS}) || jsonb_build_object(
    'submission', nullif(to_jsonb(one) -> 'submission', 'null') - {CLOCKS}, 'visible',
    to_jsonb(one) ->> 'visible_at' IS NOT NULL
))::text AS line
FROM only_table AS one WHERE chain_id = $1 ORDER BY line
"""
# A row of nothing but zeros says as much as none.
BALANCES = """
SELECT (to_jsonb(one) - '{chain_id,updated_at,changed_block}'::text[])::text AS line
FROM balances AS one
WHERE chain_id = $1 AND (balance, bought_tokens, sold_tokens, spent_wei, received_wei)
    IS DISTINCT FROM (0, 0, 0, 0, 0)
ORDER BY line
"""


async def dump(pool: Any, chain_id: int) -> dict[str, list[str]]:
    async with postgres.session(pool) as connection:
        found = {"balances": [row[0] for row in await connection.fetch(BALANCES, chain_id)]}
        for table in TABLES:
            rows = await connection.fetch(DUMP.replace("only_table", table), chain_id)
            found[table] = [row[0] for row in rows]
    return found
