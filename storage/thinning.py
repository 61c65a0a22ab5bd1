"""Old price history is thinned: minutes become hours, hours become days, nothing is lost but
detail. A merged candle has the open of the first, the close of the last, the extremes and the
sums; so a chart in steps of that width or wider shows the same before and after.

Only what is final and out of the analytics role's windows is touched. Each batch is one
transaction with the mark of how far it came, so a crash leaves whole batches, and a batch that
is done is not done again.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage import postgres, queries

if TYPE_CHECKING:
    from storage.postgres import Connection, Pool

_SQL = queries.load("thinning")

HOUR_S = 3_600
DAY_S = 86_400
TOKENS_A_BATCH = 500
BATCHES_A_TURN = 50
TIMEOUT_S = 60.0
_NOBODY = (-1, b"")


@dataclass(frozen=True, slots=True)
class _Mark:
    until: int
    version: int
    token: bytes


class Thinning:
    """One chain's. Raises TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int, *, minutes_s: int, hours_s: int) -> None:
        """`minutes_s`, `hours_s`: how long candles of a minute and of an hour are kept."""
        self._pool = pool
        self._chain_id = chain_id
        self._kept_s = {HOUR_S: minutes_s, DAY_S: max(minutes_s, hours_s)}

    async def turn(self, batches: int = BATCHES_A_TURN) -> int:
        """Merges at most so many batches of each width; how many fewer candles there are."""
        gone = 0
        for step_s in self._kept_s:
            for _ in range(batches):
                merged = await self._batch(step_s)
                if merged is None:
                    break
                gone += merged
        return gone

    async def _batch(self, step_s: int) -> int | None:
        # None: all that is old enough is merged.
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(f"SET LOCAL statement_timeout = {int(TIMEOUT_S * 1000)}")
            await connection.execute("SET LOCAL lock_timeout = 0")
            await connection.execute(_SQL["lock"], self._chain_id, timeout=TIMEOUT_S)
            mark = await self._mark(connection, step_s)
            edge = await self._edge(connection, step_s)
            if edge is None or mark.until + step_s > edge:
                return None
            return await self._merge(connection, step_s, mark=mark, edge=edge)

    async def _merge(self, connection: "Connection", step_s: int, *, mark: _Mark, edge: int) -> int:
        place = (mark.version, mark.token)
        batch = (mark.until, step_s, *place, TOKENS_A_BATCH)
        row = await connection.fetchrow(_SQL["merge"], self._chain_id, *batch, timeout=TIMEOUT_S)
        if row is not None:
            moved = (mark.until, row["version"], row["token_address"])
            await connection.execute(_SQL["move"], self._chain_id, step_s, *moved)
            return int(row["gone"])
        # This step is done; on to the next one that has candles, none of it beyond the edge.
        first = await connection.fetchval(_SQL["first_from"], self._chain_id, mark.until + step_s)
        until = edge if first is None else min(first - first % step_s, edge)
        await connection.execute(_SQL["move"], self._chain_id, step_s, until, *_NOBODY)
        return 0

    async def _mark(self, connection: "Connection", step_s: int) -> _Mark:
        row = await connection.fetchrow(_SQL["mark"], self._chain_id, step_s)
        if row is not None:
            return _Mark(row["until"], row["version"], row["token_address"])
        first = await connection.fetchval(_SQL["first_from"], self._chain_id, 0) or 0
        return _Mark(first - first % step_s, *_NOBODY)

    async def _edge(self, connection: "Connection", step_s: int) -> int | None:
        row = await connection.fetchrow(_SQL["edges"], self._chain_id)
        if row is None or row["settled"] is None:
            return None
        edge = min(row["time"] - self._kept_s[step_s], row["settled"])
        if step_s == DAY_S:
            # Days are made of hours that are complete.
            edge = min(edge, (await self._mark(connection, HOUR_S)).until)
        return int(edge - edge % step_s)


async def edges(connection: "Connection", chain_id: int) -> dict[int, int]:
    """Step → the time below which candles may have been merged to it."""
    rows = await connection.fetch(_SQL["marks"], chain_id)
    return {row["step_s"]: row["edge"] for row in rows}
