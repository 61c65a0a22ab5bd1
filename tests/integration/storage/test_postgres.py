import asyncio
import shutil

import asyncpg
import pytest

from engine.errors import ConsistencyError, TransientError
from storage import postgres
from storage.postgres import MIGRATIONS

NAMES = [path.name for path in sorted(MIGRATIONS.glob("*.sql"))]


async def test_migrate_twice_second_applies_nothing(bare_pool):
    assert await postgres.migrate(bare_pool) == NAMES
    assert await postgres.migrate(bare_pool) == []


async def test_migrate_two_at_once_one_applies(bare_pool):
    both = await asyncio.gather(postgres.migrate(bare_pool), postgres.migrate(bare_pool))
    assert sorted(both) == [[], NAMES]


async def test_migrate_changed_file_is_refused(bare_pool, tmp_path):
    files = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    await postgres.migrate(bare_pool, files)
    changed = files / NAMES[0]
    changed.write_text(changed.read_text() + "\n-- one more line\n")
    with pytest.raises(ConsistencyError, match="changed file"):
        await postgres.migrate(bare_pool, files)


async def test_migrate_newer_schema_is_refused(bare_pool, tmp_path):
    files = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    next_file = files / f"{len(NAMES) + 1:04d}_more.sql"
    next_file.write_text("CREATE TABLE more (id INTEGER)")
    assert await postgres.migrate(bare_pool, files) == [*NAMES, next_file.name]
    with pytest.raises(ConsistencyError, match="no such file"):
        await postgres.migrate(bare_pool)


async def test_migrate_failing_file_leaves_nothing(bare_pool, tmp_path):
    files = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (files / f"{len(NAMES) + 1:04d}_bad.sql").write_text("CREATE TABLE half (id INTEGER); nonsense")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await postgres.migrate(bare_pool, files)
    async with postgres.session(bare_pool) as connection:
        tables = await connection.fetchval(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        )
    assert tables == 0


async def test_connect_closed_port_is_store_unavailable():
    with pytest.raises(TransientError) as caught:
        await postgres.connect("postgresql://nobody@127.0.0.1:1/none?sslmode=disable")
    assert caught.value.code == "store_unavailable"


@pytest.mark.parametrize("noticed_s", [0.0, 0.05])
async def test_session_cut_connection_is_store_unavailable_then_heals(
    pool, database_url, noticed_s
):
    other = await asyncpg.connect(database_url)
    try:
        with pytest.raises(TransientError):
            async with postgres.transaction(pool) as connection:
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                await other.execute("SELECT pg_terminate_backend($1)", pid)
                await asyncio.sleep(noticed_s)
                await connection.fetchval("SELECT pg_sleep(1)")
    finally:
        await other.close()
    async with postgres.session(pool) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_session_slow_statement_is_store_unavailable(database_url):
    pool = await postgres.connect(database_url, timeout_s=0.3)
    with pytest.raises(TransientError):
        async with postgres.session(pool) as connection:
            await connection.fetchval("SELECT pg_sleep(5)")
    pool.terminate()


async def test_session_callers_fault_stays_itself(pool):
    with pytest.raises(asyncpg.DataError):
        async with postgres.session(pool) as connection:
            await connection.fetchval("SELECT $1::bytea", "not bytes")


async def test_transaction_of_stopped_process_loses_its_lock(pool, events, monkeypatch):
    assert postgres.IDLE_IN_TRANSACTION_S < postgres.ACQUIRE_TIMEOUT_S
    await events.claim()
    with pytest.raises(TransientError):
        async with postgres.transaction(pool) as connection:
            await connection.fetchval("SELECT 1 FROM cursors FOR UPDATE")
            # Another recorder takes over while this one is stopped and holds the lock.
            assert await events.claim() == 2
            await connection.fetchval("SELECT 1")
