"""Fills a database with a long history, inside Postgres: minutes for five million trades."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from storage import postgres, queries

CHAIN_ID = 11155931
_SQL = queries.parse((Path(__file__).parent / "history.sql").read_text())
_BULKY = ("transactions", "balances", "price_history")
_KEYS = """
SELECT conname AS name, conrelid::regclass::text AS table, pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype = 'p' AND conrelid::regclass::text = ANY ($1::text[])
"""
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index
JOIN pg_class ON pg_class.oid = indrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = 'public' AND NOT EXISTS (
    SELECT FROM pg_constraint WHERE conindid = indexrelid
)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of each."""

    tokens: int = 100_000
    trades: int = 5_000_000
    wallets: int = 200_000


def address(kind: str, number: int) -> bytes:
    """Of the token (`t`) or wallet (`w`) of this number, as the fill has it."""
    halves = (f"{kind}{number}", f"{chr(ord(kind) + (1 if kind == 't' else -1))}{number}")
    return bytes.fromhex("".join(hashlib.md5(one.encode()).hexdigest() for one in halves)[:40])


def metadata_hash(number: int) -> bytes:
    """Of the token's document."""
    return b"".join(hashlib.md5(f"{letter}{number}".encode()).digest() for letter in "mn")


def drawn(size: int, dice: float, skew: float) -> int:
    """The number that the fill draws with `dice` of [0, 1)."""
    return int(size * dice**skew)


async def fill(url: str, size: Size, *, now: int, say: Callable[[str], None]) -> None:
    """Migrates an empty database and fills it; the newest block's time is `now`."""
    pool = await postgres.connect(url, size=1)
    await postgres.migrate(pool)
    await pool.close()
    connection = await asyncpg.connect(url, command_timeout=3_600)
    try:
        await connection.execute("SET session_replication_role = replica; SET work_mem = '256MB'")
        await connection.execute("SET maintenance_work_mem = '512MB'; SELECT setseed(0.5)")
        indexes = await connection.fetch(_INDEXES)
        keys = await connection.fetch(_KEYS, _BULKY)
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
        for key in keys:
            await connection.execute(f"ALTER TABLE {key['table']} DROP CONSTRAINT {key['name']}")
        numbers: dict[str, Any] = {
            "chain": CHAIN_ID,
            "now": now,
            "tokens": size.tokens,
            "trades": size.trades,
            "wallets": size.wallets,
        }
        for name, query in _SQL.items():
            say(f"filling {name}")
            await connection.execute(query.format(**numbers))
        for index in indexes:
            say(f"indexing {index['name']}")
            await connection.execute(index["definition"])
        for key in keys:
            say(f"indexing {key['name']}")
            await connection.execute(
                f"ALTER TABLE {key['table']} ADD CONSTRAINT {key['name']} {key['definition']}"
            )
        say("vacuuming")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
