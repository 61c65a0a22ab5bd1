"""Work that is final, read in the order of the chain by consumers with a cursor of their own.

A row is taken away once every consumer has told that it is past it, and it was visible for a
while. What is gone can still be read: it says nothing that `events` does not, so a consumer
that begins anew, or whose own store was put back to an older day, reads its past from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.limits import OUTBOX_SWEEP_ROWS
from engine.messages import MarketEvent
from storage import postgres, queries, records
from storage.events import RECORDER

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Connection, Pool

POINTS = "points"
CONSUMERS = frozenset({POINTS})
"""Nothing is taken away until each of these has told how far it is."""

FLOOR = "outbox"
_CONSUMER = "outbox/"

_SQL = queries.load("outbox")
_ALL = 2**31 - 1
_KINDS = [kind for kind in records.KINDS if kind != "PoolSynced"]  # no deed: it has no row


@dataclass(frozen=True, slots=True)
class Due:
    """Final events of whole blocks, each with its token's creator. Everything up to `block` is
    in it or was before; `time` is the chain's time there, None when no block is known.
    """

    events: tuple[tuple[MarketEvent, bytes], ...]
    block: int
    time: int | None


class Outbox:
    """One chain's. Raises TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def due(self, after: int, limit: int) -> Due:
        """What is final above block `after`: about `limit` events, but whole blocks."""
        # One snapshot: what is swept meanwhile is in it, with the floor of that instant.
        async with (
            postgres.session(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            edge = await connection.fetchrow(_SQL["horizon"], self._chain_id, RECORDER, FLOOR)
            if edge is None or edge["number"] <= after:
                return Due((), after, None)
            gone = after < edge["floor"]
            number, time = edge["floor" if gone else "number"], edge["block_time"]
            rows = await self._read(connection, after, number, limit=limit, gone=gone)
            if len(rows) < limit and not gone:
                return Due(self._events(rows), number, time)
            if len(rows) < limit:
                # The floor is the block of a row, so its event is the last.
                return Due(self._events(rows), number, rows[-1]["block_time"])
            last = rows[-1]["block_number"]
            whole = [row for row in rows if row["block_number"] < last]
            if not whole:
                whole = await self._read(connection, after, last, limit=_ALL, gone=gone)
        return Due(self._events(whole), whole[-1]["block_number"], whole[-1]["block_time"])

    async def told(self, consumer: str, block: int) -> None:
        """A consumer needs nothing at or below `block` any more; it says so after its own
        store has it. Repeatable; a lower block than before counts too.
        """
        async with postgres.session(self._pool) as connection:
            await connection.execute(_SQL["told"], self._chain_id, _CONSUMER + consumer, block)

    async def sweep(self, *, kept_s: int, rows_max: int = OUTBOX_SWEEP_ROWS) -> int:
        """Takes away `rows_max` rows, and what else is of the last one's block, that all
        consumers are past and that were visible for `kept_s`; how many. Rows and floor change in
        one transaction.
        """
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(_SQL["lock_floor"], self._chain_id, FLOOR)
            lowest = await self._lowest(connection)
            rows = await connection.fetch(_SQL["oldest"], self._chain_id, lowest, rows_max, kept_s)
            target = _last_old_block([(row["block_number"], row["old"]) for row in rows])
            if target is None:
                return 0
            tag = await connection.execute(_SQL["take_away"], self._chain_id, target)
            await connection.execute(_SQL["raise_floor"], self._chain_id, FLOOR, target)
        return int(tag.rsplit(" ", 1)[1])

    # -------------------------------------------------------------------- private

    async def _read(
        self, connection: "Connection", after: int, upto: int, *, limit: int, gone: bool
    ) -> "list[Record]":
        place = (self._chain_id, after, upto, limit)
        if gone:
            return await connection.fetch(_SQL["history"], *place, _KINDS)
        return await connection.fetch(_SQL["due"], *place)

    async def _lowest(self, connection: "Connection") -> int:
        rows = await connection.fetch(_SQL["consumers"], self._chain_id, _CONSUMER)
        told = {row["name"].removeprefix(_CONSUMER): row["block_number"] for row in rows}
        return min(told.values()) if told.keys() >= CONSUMERS else -1

    def _events(self, rows: "list[Record]") -> tuple[tuple[MarketEvent, bytes], ...]:
        return tuple(
            (records.market_event(row, self._chain_id), bytes(row["creator"])) for row in rows
        )


def _last_old_block(rows: Sequence[tuple[int, bool]]) -> int | None:
    # Of rows in the order of blocks; None: the first is young, or there is none.
    young = next((block for block, old in rows if not old), None)
    return max((block for block, _ in rows if young is None or block < young), default=None)
