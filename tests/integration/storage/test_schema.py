"""What holds for the schema as a whole, and for the plans of the queries on it."""

import asyncpg
import pytest

from bench import history, query_plans
from storage import copying, postgres, queries

# A wallet is one person on every chain; ownership, cursors and work are not about a launchpad.
WITHOUT_CHAIN = {
    "users",
    "schema_migrations",
    "bridge_outbox",
    "bridge_outbox_marks",
    "bridge_beats",
}
WITHOUT_VERSION = {
    "users",
    "schema_migrations",
    "bridge_outbox_marks",
    "bridge_beats",
    "bridge_blocks",
    "bridge_offers",
    "wanted",
    "analytics_windows",
    "blocks",
    "bucket_owner",
    "cursors",
    "platform_stats",
    "snapshots",
    "trader_stats",
}


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


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("numeric", [0, 2**256 - 1, None]),
        ("bytea", [b"", b"\x00\xff\\", None]),
        ("text", ["", "NULL", "null", 'a"b\\c,{d}\n\t ', " \U0001f680", None]),
        ("jsonb", ['{"a": "b\\\\\\"c"}']),
    ],
)
async def test_arrays_as_text_come_back_as_they_were(pool, kind, values):
    found = await fetch(pool, f"SELECT unnest($1::text::{kind}[])", copying.array(values))
    assert [row[0] for row in found] == values


@pytest.mark.parametrize(
    ("name", "key", "arguments"),
    [
        ("held", "balances_pkey", 3),
        ("last_markets", "markets_pkey", 1),
    ],
)
async def test_rows_are_found_by_their_key_before_the_first_analyze(pool, name, key, arguments):
    sql = (queries.load("write") | queries.load("events"))[name]
    async with postgres.session(pool) as connection, connection.transaction():
        # The plan that a connection keeps from when there was nothing.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked AS {sql}")
        lines = await connection.fetch(f"EXPLAIN EXECUTE asked (1{', NULL' * arguments})")
        await connection.execute("DEALLOCATE asked")
    plan = [line[0] for line in lines]
    [at] = [number for number, line in enumerate(plan) if f"using {key} on" in line]
    assert "Index Cond: (ROW(chain_id, version, " in plan[at + 1]  # the whole key, not its chain


async def test_queries_of_the_doors_have_an_index_for_every_large_table(postgres_url):
    now = 1_800_000_000
    size = history.Size(tokens=2_000, trades=8_000, wallets=300)
    await history.fill(postgres_url, size, now=now, say=lambda line: None)
    events, one = queries.load("events"), history.address("t", 5)
    write, wallet = queries.load("write"), history.address("w", 5)
    asked = query_plans.every(token=one, wallet=wallet, now=now) | {
        "held": (write["held"], tuple(copying.array([key]) for key in (1, one, wallet))),
        "launched": (write["launched"], ([one],)),
        "pending": (events["pending"], (10,)),
        "replay": (events["market_events"], ([1, 2, 3], 1900, 0, 0, 2000, 5000)),
        "event seqs": (events["event_seqs"], ()),
        "known": (events["known"], ([one],)),
        "graduating": (events["graduating"], (100,)),
        "curves": (events["token_curves"], ([one],)),
        "documents": (queries.load("launched")["hashes"], ([bytes(32)] * 500,)),
    }
    connection = await asyncpg.connect(postgres_url)
    try:
        # In tables so small a scan would be right: it shows where there is no other way.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            await connection.execute(f"SET enable_{way} = off")
        plans = await query_plans.plans_of(connection, asked)
        found = {name: query_plans.scans(plan) for name, plan in plans.items()}
        assert {name: scans for name, scans in found.items() if scans} == {}
        await connection.execute("DROP INDEX transactions_token")
        plans = await query_plans.plans_of(connection, asked)
        assert query_plans.scans(plans["transactions"])
    finally:
        await connection.close()
