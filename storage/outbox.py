"""Work that is final, read in the order of the chain by consumers with a cursor of their own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.messages import MarketEvent
from storage import postgres, queries, records
from storage.events import RECORDER

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Pool

_SQL = queries.load("outbox")
_ALL = 2**31 - 1


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
        async with postgres.session(self._pool) as connection:
            edge = await connection.fetchrow(_SQL["horizon"], self._chain_id, RECORDER)
            if edge is None or edge["number"] <= after:
                return Due((), after, None)
            number, time = edge["number"], edge["block_time"]
            rows = await connection.fetch(_SQL["due"], self._chain_id, after, number, limit)
            if len(rows) < limit:
                return Due(self._events(rows), number, time)
            last = rows[-1]["block_number"]
            whole = [row for row in rows if row["block_number"] < last]
            if not whole:
                whole = await connection.fetch(_SQL["due"], self._chain_id, after, last, _ALL)
        return Due(self._events(whole), whole[-1]["block_number"], whole[-1]["block_time"])

    def _events(self, rows: "list[Record]") -> tuple[tuple[MarketEvent, bytes], ...]:
        return tuple(
            (records.market_event(row, self._chain_id), bytes(row["creator"])) for row in rows
        )
