"""Transfers that ended for good, numbered without a gap, for consumers with cursors of their own.

A row is written in the transaction that ends the transfer. It is taken away once every consumer
has told that it is past it, and it was there for a while. What is gone can still be read: it says
nothing that the request does not, so a consumer that begins anew, or whose own store was put back
to an older day, reads its past from there. Numbers go on: none is given twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from engine.bridge.requests import Key
from engine.limits import OUTBOX_SWEEP_ROWS
from storage import postgres, queries

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Connection, Pool

POINTS = "points"
CONSUMERS = frozenset({POINTS})
"""Nothing is taken away until each of these has told how far it is."""

_CONSUMER = "consumer/"
_SQL = queries.load("bridge_outbox")


@dataclass(frozen=True, slots=True)
class Ended:
    """A transfer that ended for good; `seq` counts them without a gap. `payload` has `message`,
    `user`, `recipient` and hashes as hex, amounts as decimal strings of wei, `paidAt` in seconds of
    the paying chain."""

    seq: int
    key: Key
    status: str
    payload: Mapping[str, Any]


class BridgeOutbox:
    """Of all chains. All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def ended_after(self, seq: int, limit: int) -> list[Ended]:
        """Transfers that ended after number `seq`, in order; perhaps fewer than `limit` of more."""
        # One snapshot: what is swept meanwhile is in it, with the floor of that instant.
        async with (
            postgres.session(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            floor = await connection.fetchval(_SQL["floor"])
            if seq < floor:
                rows = await connection.fetch(_SQL["history"], seq, floor, limit)
                return [_ended(row, payload_of(row)) for row in rows]
            rows = await connection.fetch(_SQL["ended_after"], seq, limit)
        return [_ended(row, orjson.loads(row["payload"])) for row in rows]

    async def told(self, consumer: str, seq: int) -> None:
        """A consumer needs nothing up to number `seq` any more; it says so after its own store has
        it. Repeatable; a lower number than before counts too.
        """
        async with postgres.session(self._pool) as connection:
            await connection.execute(_SQL["told"], _CONSUMER + consumer, seq)

    async def sweep(self, *, kept_s: int, rows_max: int = OUTBOX_SWEEP_ROWS) -> int:
        """Takes away at most `rows_max` rows that all consumers are past and that were there for
        `kept_s`; how many. Rows and floor change in one transaction.
        """
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(_SQL["lock_floor"])
            lowest = await _lowest(connection)
            rows = await connection.fetch(_SQL["oldest"], lowest, rows_max, kept_s)
            target = _last_old([(row["seq"], row["old"]) for row in rows])
            if target is None:
                return 0
            tag = await connection.execute(_SQL["take_away"], target)
            await connection.execute(_SQL["raise_floor"], target)
        return int(tag.rsplit(" ", 1)[1])


async def lock(connection: "Connection") -> None:
    """One who ends a transfer at a time, so that the numbers become visible in their order."""
    await connection.execute("LOCK TABLE bridge_outbox IN SHARE ROW EXCLUSIVE MODE")


async def add(connection: "Connection", key: Key, status: str, *, row: "Record") -> None:
    """The next number, for the request of this row, in the caller's transaction; after `lock`."""
    await connection.execute(_SQL["add"], *key, status, orjson.dumps(payload_of(row)).decode())


def payload_of(row: "Record") -> dict[str, Any]:
    """What consumers are told of a request that has ended."""
    return {
        "message": row["message_id"].hex(),
        "targetChain": row["target_chain"],
        "user": row["user_address"].hex(),
        "recipient": row["recipient"].hex(),
        "amount": str(row["amount"]),
        "fee": str(row["fee"]),
        "paidAt": row["paid_at"],
        "sourceTx": row["source_tx_hash"].hex(),
        "targetTx": row["target_tx_hash"].hex() if row["target_tx_hash"] else None,
        "refundTx": row["refund_tx_hash"].hex() if row["refund_tx_hash"] else None,
    }


async def _lowest(connection: "Connection") -> int:
    rows = await connection.fetch(_SQL["consumers"], _CONSUMER)
    told = {row["name"].removeprefix(_CONSUMER): row["seq"] for row in rows}
    return min(told.values()) if told.keys() >= CONSUMERS else -1


def _last_old(rows: Sequence[tuple[int, bool]]) -> int | None:
    # Of rows in their order; None: the first is young, or there is none.
    young = next((seq for seq, old in rows if not old), None)
    return max((seq for seq, _ in rows if young is None or seq < young), default=None)


def _ended(row: "Record", payload: Mapping[str, Any]) -> Ended:
    key = (row["source_chain"], row["version"], row["request_id"])
    return Ended(row["seq"], key, row["status"], payload)
