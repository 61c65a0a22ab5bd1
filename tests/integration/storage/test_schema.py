"""What holds for the schema as a whole, and for the plans of the queries on it."""

import asyncpg
import pytest

from storage import postgres, queries, reads
from tests.support.scenario import CHAIN_ID

# A wallet is one person on every chain; ownership, cursors and work are not about a launchpad.
WITHOUT_CHAIN = {"users", "schema_migrations"}
WITHOUT_VERSION = WITHOUT_CHAIN | {
    "analytics_windows",
    "blocks",
    "bucket_owner",
    "cursors",
    "platform_stats",
    "snapshots",
    "trader_stats",
}
MANY = 20_000


async def fetch(pool: asyncpg.Pool, query: str, *arguments):
    async with postgres.session(pool) as connection:
        return await connection.fetch(query, *arguments)


async def test_every_table_is_keyed_by_chain_and_knows_the_version(pool):
    rows = await fetch(
        pool,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public'",
    )
    columns: dict[str, set[str]] = {}
    for row in rows:
        columns.setdefault(row["table_name"], set()).add(row["column_name"])
    keys = await fetch(
        pool,
        "SELECT conrelid::regclass::text AS name, attname FROM pg_constraint"
        " JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) WHERE contype = 'p'",
    )
    keyed = {row["name"] for row in keys if row["attname"] in ("chain_id", "source_chain")}
    assert set(columns) - keyed == WITHOUT_CHAIN
    assert {name for name, has in columns.items() if "version" not in has} == (
        WITHOUT_VERSION - {"schema_migrations"}
    )


async def test_no_column_is_a_float(pool):
    assert not await fetch(
        pool,
        "SELECT 1 FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type IN ('real', 'double precision', 'money')",
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("address", bytes(19)),
        ("address", bytes(21)),
        ("hash", bytes(20)),
        ("hash", b""),
    ],
)
async def test_addresses_and_hashes_have_their_length(pool, kind, value):
    with pytest.raises(asyncpg.CheckViolationError):
        await fetch(pool, f"SELECT $1::bytea::{kind}", value)


@pytest.mark.parametrize("value", [0, 1, 10**18, 2**256 - 1, 10**78 - 1])
async def test_amounts_come_back_as_exact_integers(pool, value):
    [[found]] = await fetch(pool, "SELECT $1::numeric::amount", value)
    assert found == value and type(found) is int


@pytest.mark.parametrize("value", [-1, 10**78])
async def test_amounts_out_of_range_are_refused(pool, value):
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError)):
        await fetch(pool, "SELECT $1::numeric::amount", value)


FILL = """
INSERT INTO users SELECT decode(lpad(to_hex(n), 40, '0'), 'hex') FROM generate_series(1, 50) AS n;
INSERT INTO tokens
SELECT
    {chain}, 1, decode(lpad(to_hex(n), 40, '0'), 'hex'), n % 1024, decode(repeat('11', 20), 'hex'),
    decode(lpad(to_hex(n % 50 + 1), 40, '0'), 'hex'), decode(repeat('22', 20), 'hex'),
    md5(n::text), 'SYM', md5(n::text), 'sym', decode(repeat('33', 32), 'hex'), 'visible',
    decode(lpad(to_hex(n), 64, '0'), 'hex'), n / 10, n % 10, 0, n, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0
FROM generate_series(1, {many}) AS n;
INSERT INTO markets (chain_id, version, token_address, price_e18, market_cap_wei)
SELECT chain_id, version, token_address, 1, block_number * 7 % 1009 FROM tokens;
INSERT INTO balances (chain_id, version, token_address, holder, balance)
SELECT
    chain_id, version, token_address, decode(lpad(to_hex(block_number), 40, '0'), 'hex'), 1
FROM tokens;
INSERT INTO transactions (
    chain_id, tx_hash, position, version, block_number, tx_index, log_index, block_time,
    token_address, user_address, type, status
)
SELECT
    chain_id, tx_hash, 0, 1, block_number, tx_index, 0, 0,
    decode(lpad(to_hex(block_number % 100 + 1), 40, '0'), 'hex'), creator, 'BUY', 'CONFIRMED'
FROM tokens;
INSERT INTO events
SELECT
    chain_id, tx_hash, 0, 1, block_number, metadata_hash, 0, tx_index, 0, launchpad, 'Traded',
    token_address, bucket, row_number() OVER (), '{{}}'
FROM tokens;
INSERT INTO cursors (chain_id, name) VALUES ({chain}, 'recorder');
ANALYZE;
"""


async def test_queries_of_the_doors_never_scan_a_whole_table(pool):
    async with postgres.transaction(pool) as connection:
        # Bulk work of the test alone: the doors' statement timeout is not for it.
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute(FILL.format(chain=CHAIN_ID, many=MANY), timeout=60)
    sql, events = queries.load("reads"), queries.load("events")
    one, listed = bytes(19) + b"\x05", (20, 0)
    plans = {
        "by creation": (reads._list_query("created", "desc", ""), listed),
        "by market cap": (reads._list_query("marketCap", "desc", ""), listed),
        "search": (
            reads._list_query("created", "desc", reads._token_filter("abcdef", None)[0]),
            (*listed, "%abcdef%"),
        ),
        "by address": (
            reads._list_query("created", "desc", reads._token_filter("0x" + "05" * 20, None)[0]),
            (*listed, one),
        ),
        "token": (sql["token"], (one,)),
        "transactions": (sql["token_transactions"], (one, *reads._AFTER_ALL, *listed)),
        "count": (sql["count_token_transactions"], (one, 100)),
        "transaction": (sql["transaction"], (bytes(32),)),
        "candles": (sql["candles"], (one, 0, 600, 60, 10)),
        "wallet": (sql["wallet"], (one,)),
        "holdings": (sql["holdings"], (one, 100, False)),
        "pending": (events["pending"], (10,)),
        "replay": (events["market_events"], ([1, 2, 3], 1900, 0, 0, 2000, 5000)),
        "event seqs": (events["event_seqs"], ()),
        "known": (events["known"], ([one],)),
        "graduating": (events["graduating"], (100,)),
        "curves": (events["token_curves"], ([one],)),
    }
    for name, (query, arguments) in plans.items():
        rows = await fetch(pool, f"EXPLAIN {query}", CHAIN_ID, *arguments)
        plan = "\n".join(row[0] for row in rows)
        for table in ("tokens", "markets", "transactions", "balances", "events"):
            assert f"Seq Scan on {table}" not in plan, f"{name}:\n{plan}"
