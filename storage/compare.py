"""Two recorded histories in one database held against each other, table by table.

A row is compared as text without what only this run of the system knows: clocks, receipts,
submissions, what was consumed. So a history that was rebuilt from the chain has equal rows.
Candles that may have been thinned (`storage.thinning`) are compared as they are when they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage import postgres, thinning

if TYPE_CHECKING:
    from storage.postgres import Pool

TIMEOUT_S = 600.0
SHOWN = 3

_CLOCKS = "created_at,updated_at,visible_at,consumed_at,changed_block"
_OWN = "gas_fee,reason,receipt_due,submission,submitted,visibility"
_ROW = f"(to_jsonb(one) - '{{{_CLOCKS},{_OWN}}}'::text[])::text"
_HASH = f"('x' || substr(md5({_ROW}), 1, 15))::bit(60)::bigint::numeric"
_SOME = (
    "(balance, bought_tokens, sold_tokens, spent_wei, received_wei)"
    " IS DISTINCT FROM (0, 0, 0, 0, 0)"
)
TABLES: dict[str, str] = {
    "tokens": "TRUE",
    "markets": "TRUE",
    "events": "TRUE",
    "transactions": "position >= 0",
    "transfers": "TRUE",
    "balances": _SOME,  # a row of nothing but zeros says as much as none
    "price_history": "TRUE",
    "outbox": "block_number > {floor}",  # below, rows were taken away
}

_THINNED = """(
    SELECT
        chain_id, version, token_address, step.time,
        (array_agg(open ORDER BY candle.time))[1] AS open, max(high) AS high, min(low) AS low,
        (array_agg(close ORDER BY candle.time DESC))[1] AS close,
        sum(volume_eth) AS volume_eth, sum(volume_token) AS volume_token, sum(trades) AS trades
    FROM {schema}.price_history AS candle
    CROSS JOIN LATERAL (
        SELECT candle.time - candle.time % CASE {steps} ELSE 1 END AS time
    ) AS step
    WHERE chain_id = $1
    GROUP BY chain_id, version, token_address, step.time
)"""


@dataclass(frozen=True, slots=True)
class Digest:
    """Of one table: how many rows, and a sum over their hashes that no order changes."""

    rows: int
    sum: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What housekeeping has left: the outbox above block `floor`, -1 if all of it, and candles
    that are thinned below `thinning.edges`.
    """

    floor: int
    edges: Mapping[int, int]


async def kept(connection: Any, chain_id: int) -> Kept:
    """Of the running system, as `connection` sees it."""
    floor = await connection.fetchval(
        "SELECT block_number FROM public.cursors WHERE chain_id = $1 AND name = 'outbox'",
        chain_id,
    )
    edges = await thinning.edges(connection, chain_id)
    return Kept(-1 if floor is None else int(floor), edges)


async def digests(connection: Any, chain_id: int, *, schema: str, kept: Kept) -> dict[str, Digest]:
    """Of every table, as `connection` sees them."""
    found = {}
    for table, text in TABLES.items():
        condition = text.format(floor=kept.floor)
        row = await connection.fetchrow(
            f"SELECT count(*) AS rows, coalesce(sum({_HASH}), 0) AS sum"  # noqa: S608
            f" FROM {_rows(schema, table, kept.edges)} AS one WHERE chain_id = $1 AND {condition}",
            chain_id,
            timeout=TIMEOUT_S,
        )
        found[table] = Digest(row["rows"], int(row["sum"]))
    return found


async def differing(
    pool: "Pool", chain_id: int, *, table: str, schemas: Sequence[str], kept: Kept
) -> list[str]:
    """Some rows of `table` that only one of the two schemas has, with a sign of which."""
    lines, condition = [], TABLES[table].format(floor=kept.floor)
    ours, theirs = (_rows(schema, table, kept.edges) for schema in schemas)
    for sign, first, second in (("-", ours, theirs), ("+", theirs, ours)):
        async with postgres.transaction(pool) as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            rows = await connection.fetch(
                f"SELECT {_ROW} AS line FROM {first} AS one"  # noqa: S608
                f" WHERE chain_id = $1 AND {condition} EXCEPT"
                f" SELECT {_ROW} FROM {second} AS one WHERE chain_id = $1 LIMIT {SHOWN}",
                chain_id,
                timeout=TIMEOUT_S,
            )
        lines += [f"{sign} {row['line']}" for row in rows]
    return lines


def _rows(schema: str, table: str, edges: Mapping[int, int]) -> str:
    if table != "price_history" or not edges:
        return f"{schema}.{table}"
    coarsest_first = sorted(edges.items(), reverse=True)
    steps = " ".join(f"WHEN candle.time < {edge} THEN {step}" for step, edge in coarsest_first)
    return _THINNED.format(schema=schema, steps=steps)
