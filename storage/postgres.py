"""Postgres: the pool, its errors, and the schema's migrations.

Every transaction is bounded on the server too: a stopped process that holds a row lock loses
it (`idle_in_transaction_session_timeout`), so that its successor can take over.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from engine.errors import ConsistencyError, TransientError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"
ACQUIRE_TIMEOUT_S = 5.0
MIGRATE_TIMEOUT_S = 1_800.0  # a migration may fill a column of all that was ever traded
IDLE_IN_TRANSACTION_S = 2.0
_MIGRATION_LOCK = 0x7269_7365  # "rise": any constant that nobody else uses

# SQLSTATE classes (two letters) and states that pass by themselves: connection, rollback by
# deadlock, resources, shutdown and cancel; read-only after a failover, lock and idle timeouts.
_PASSING = ("08", "40", "53", "57", "25006", "25P03", "55P03")
_GONE = ("closed", "closing", "released back to the pool")


async def connect(
    url: str, *, size: int = 10, timeout_s: float = 5.0, schema: str = "", lazy: bool = False
) -> "Pool":
    """A pool of up to `size` connections; integers come back as `int`, also from NUMERIC.
    With `schema` tables are looked for, and made, there first.

    Raises TransientError (store_unavailable) when the server cannot be reached; `lazy` does
    not look before the first use.
    """
    async with guarded():
        pool: Pool = await asyncpg.create_pool(
            url,
            min_size=0 if lazy else 1,
            max_size=size,
            timeout=timeout_s,
            command_timeout=timeout_s,
            init=_set_codecs,
            reset=_leave,
            server_settings=_server_settings(timeout_s, schema),
        )
        return pool


def _server_settings(timeout_s: float, schema: str) -> dict[str, str]:
    limit_ms, idle_ms = str(int(timeout_s * 1000)), str(int(IDLE_IN_TRANSACTION_S * 1000))
    return {
        "application_name": "risecurve",
        "timezone": "UTC",
        "statement_timeout": limit_ms,
        "lock_timeout": limit_ms,
        "idle_in_transaction_session_timeout": idle_ms,
        "jit": "off",
        **({"search_path": f"{schema}, public"} if schema else {}),
    }


async def _set_codecs(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    # Every NUMERIC here has scale 0, so a fraction would be a fault: int() raises on it.
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=int, format="text"
    )


async def _leave(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    # Settings and locks here are a transaction's, never a session's, so there is nothing to undo
    # (an open transaction is rolled back before this): the driver's own way asks the server each
    # time that a connection is given back, which is a third of what a short read costs.
    del connection


def unavailable(error: BaseException) -> bool:
    """Whether the store is to blame and the same call may succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_PASSING)
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's one class for a connection that is gone and for misuse of its API.
        return not isinstance(error, ValueError) and any(word in str(error) for word in _GONE)
    return isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Turns connection trouble inside it into TransientError (store_unavailable)."""
    try:
        yield
    except Exception as error:
        if unavailable(error):
            raise TransientError(
                "store_unavailable", f"Expected Postgres to answer, was {type(error).__name__}"
            ) from error
        raise


@asynccontextmanager
async def session(pool: "Pool") -> AsyncIterator["Connection"]:
    """A connection for a few statements. Raises TransientError (store_unavailable)."""
    async with guarded(), pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        yield connection


@asynccontextmanager
async def transaction(pool: "Pool") -> AsyncIterator["Connection"]:
    """A connection inside one transaction, committed at the end, rolled back on any error.

    Raises TransientError (store_unavailable). When that comes from the commit itself the
    outcome is unknown: what is written must be safe to write again.
    """
    async with session(pool) as connection, connection.transaction():
        yield connection


async def migrate(pool: "Pool", directory: Path = MIGRATIONS) -> list[str]:
    """Applies the new files of `directory` in order and returns their names.

    All in one transaction under an advisory lock, so two starts at once are safe and a crash
    leaves nothing. Raises ConsistencyError (schema_mismatch) when an applied file was changed
    or is not there, TransientError (store_unavailable).
    """
    files = _migration_files(directory)
    async with transaction(pool) as connection:
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SET LOCAL lock_timeout = 0")
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute(
            "SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK, timeout=MIGRATE_TIMEOUT_S
        )
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY,"
            " name TEXT NOT NULL, checksum BYTEA NOT NULL,"
            " applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
        )
        known = await connection.fetch("SELECT version, name, checksum FROM schema_migrations")
        _check_applied(files, known)
        applied = {row["version"] for row in known}
        return await _apply(connection, [file for file in files if file[0] not in applied])


def _migration_files(directory: Path) -> list[tuple[int, str, bytes]]:
    paths = sorted(directory.glob("[0-9]*.sql"))
    files = [(int(path.name.split("_")[0]), path.name, path.read_bytes()) for path in paths]
    if [version for version, _, _ in files] != list(range(1, len(files) + 1)):
        raise ConsistencyError(
            "schema_mismatch",
            f"Expected migrations 1, 2, 3, …, was {[name for _, name, _ in files]}",
        )
    return files


def _check_applied(
    files: Sequence[tuple[int, str, bytes]], known: Sequence[asyncpg.Record]
) -> None:
    ours = {version: hashlib.sha256(text).digest() for version, _, text in files}
    for row in known:
        if ours.get(row["version"]) != row["checksum"]:
            raise ConsistencyError(
                "schema_mismatch",
                f"Expected migration {row['name']} as it was applied, was"
                f" {'a changed file' if row['version'] in ours else 'no such file'}",
            )


async def _apply(connection: "Connection", files: Sequence[tuple[int, str, bytes]]) -> list[str]:
    for version, name, text in files:
        await connection.execute(text.decode(), timeout=MIGRATE_TIMEOUT_S)
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            version,
            name,
            hashlib.sha256(text).digest(),
        )
    return [name for _, name, _ in files]
