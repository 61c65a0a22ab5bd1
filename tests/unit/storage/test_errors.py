"""Which errors of the drivers are the store's trouble, and which are ours."""

import asyncpg
import pymongo.errors
import pytest
import redis.exceptions

from engine.errors import ConsistencyError, TransientError
from engine.messages import FeedPosition
from storage import documents, events, postgres, reads, snapshots, valkey
from storage.snapshots import Snapshot
from tests.support.history import Historian
from tests.support.scenario import Scenario


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InterfaceError("cannot call: connection has been released back to the pool"),
        asyncpg.AdminShutdownError("restart"),
        asyncpg.CannotConnectNowError("starting"),
        asyncpg.TooManyConnectionsError("full"),
        asyncpg.QueryCanceledError("timeout"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.LockNotAvailableError("lock"),
        asyncpg.IdleInTransactionSessionTimeoutError("idle"),
        asyncpg.ReadOnlySQLTransactionError("replica"),
    ],
)
async def test_postgres_trouble_is_store_unavailable(error):
    with pytest.raises(TransientError) as caught:
        async with postgres.guarded():
            raise error
    assert caught.value.code == "store_unavailable"


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("twice"),
        asyncpg.UndefinedTableError("bug"),
        asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
        asyncpg.InterfaceError("another operation is in progress"),
        asyncpg.DataError("invalid input: closed"),
        KeyError("ours"),
    ],
)
async def test_postgres_our_faults_stay_themselves(error):
    with pytest.raises(type(error)):
        async with postgres.guarded():
            raise error


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ConnectionError("gone"),
        redis.exceptions.TimeoutError("slow"),
        redis.exceptions.BusyLoadingError("loading"),
        redis.exceptions.ReadOnlyError("replica"),
        redis.exceptions.OutOfMemoryError("full"),
    ],
)
async def test_redis_trouble_is_store_unavailable(error):
    assert valkey.unavailable(error)
    with pytest.raises(TransientError):
        async with valkey.guarded():
            raise error


async def test_redis_our_faults_stay_themselves():
    with pytest.raises(redis.exceptions.ResponseError):
        async with valkey.guarded():
            raise redis.exceptions.ResponseError("ERR wrong number of arguments")


@pytest.mark.parametrize(
    "error",
    [
        pymongo.errors.ServerSelectionTimeoutError("nobody"),
        pymongo.errors.NotPrimaryError("election"),
        pymongo.errors.NetworkTimeout("slow"),
        pymongo.errors.WaitQueueTimeoutError("pool"),
        pymongo.errors.ExecutionTimeout("slow", 50),
    ],
)
async def test_mongodb_trouble_is_store_unavailable(error):
    with pytest.raises(TransientError):
        async with documents.guarded():
            raise error


async def test_mongodb_our_faults_stay_themselves():
    with pytest.raises(pymongo.errors.DuplicateKeyError):
        async with documents.guarded():
            raise pymongo.errors.DuplicateKeyError("twice", 11000)


# --------------------------------------------------------------------- pure helpers


@pytest.mark.parametrize(
    ("needle", "pattern"),
    [
        ("moon", "%moon%"),
        ("mo", "mo%"),
        ("100%", "%100\\%%"),
        ("_", "\\_%"),
        ("a\\b", "%a\\\\b%"),
    ],
)
def test_like_escapes_and_looks_inside_from_three_letters(needle, pattern):
    assert reads._like(needle) == pattern


@pytest.mark.parametrize("text", ["0x" + "g" * 40, "0x" + "1" * 39, "1" * 42, ""])
def test_address_of_other_text_is_none(text):
    assert reads._address(text) is None


def test_window_ends_at_the_bound():
    assert reads._window(1, 20) == (20, 0)
    assert reads._window(3, 20) == (20, 40)
    assert reads._window(501, 20) == (0, 0)


def test_checksum_covers_every_field():
    one = Snapshot(1, 1, 10, bytes(32), 1, b"x")
    others = [
        Snapshot(2, 1, 10, bytes(32), 1, b"x"),
        Snapshot(1, 1, 11, bytes(32), 1, b"x"),
        Snapshot(1, 1, 10, bytes([1] * 32), 1, b"x"),
        Snapshot(1, 1, 10, bytes(32), 2, b"x"),
        Snapshot(1, 1, 10, bytes(32), 1, b"y"),
    ]
    sums = {snapshots._checksum(5, other) for other in [one, *others]}
    assert len(sums) == 6
    assert snapshots._checksum(6, one) not in sums


def test_following_checks_the_hashes_that_it_knows():
    scenario, historian = Scenario(), Historian()
    rows = [historian.rows(scenario.seal()) for _ in range(4)]
    at = [FeedPosition(row.header.number, row.header.hash) for row in rows]
    none = FeedPosition(-1, bytes(32))
    assert events._following(none, rows, at[3]) == rows
    assert events._following(at[1], rows, at[3]) == rows[2:]
    assert events._following(at[3], rows[:2], at[1]) == []
    wrong = FeedPosition(2, bytes(32))
    for known, position in ((wrong, at[3]), (none, FeedPosition(4, bytes(32)))):
        with pytest.raises(ConsistencyError):
            events._following(known, rows, position)


def test_groups_are_bounded_and_keep_the_order(monkeypatch):
    monkeypatch.setattr(events, "WRITE_ROWS_MAX", 10)
    scenario, historian = Scenario(), Historian()
    token = scenario.launch("x")
    rows = []
    for count in (0, 1, 5, 0, 9):
        for _ in range(count):
            scenario.buy(token, 10**12)
        rows.append(historian.rows(scenario.seal()))
    groups = list(events._groups(rows))
    assert [row for group in groups for row in group] == rows
    assert len(groups) == 2
