"""Rolling figures of tokens, traders and the platform, moved on bit by bit in Postgres.

Minutes that are final are added once when they become so and taken away once when they leave
the day; only what is not final, and the last hour, is summed anew. So the work of a turn
follows what changed, not what there is, and a reorganisation changes nothing that was kept.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage import postgres, queries

if TYPE_CHECKING:
    from storage.postgres import Connection, Pool

_SQL = queries.load("analytics")

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400
TURN_S_MAX = 60.0
STEP_S = 7 * DAY_S
"""Of a long past so much is added in one transaction."""

CREATORS_KEPT = 100


@dataclass(frozen=True, slots=True)
class _Edges:
    number: int
    time: int
    final_number: int
    since: int
    until: int
    old_since: int
    old_until: int
    seen_number: int
    behind: bool


class Analytics:
    """One chain's. Raises TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def turn(self, *, creators: bool = True) -> int:
        """Brings all figures up to what is recorded, in one transaction; the block that they
        are of, -1 before any. Repeatable, and safe beside another. With `creators` all tokens
        are walked: theirs are ranked, and rows of launches that were taken back are dropped.
        """
        while True:
            block = await self._step(creators=creators)
            if block is not None:
                return block

    async def _step(self, *, creators: bool) -> int | None:
        # None: a part of a long past was added, and there is more of it.
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(f"SET LOCAL statement_timeout = {int(TURN_S_MAX * 1000)}")
            await connection.execute("SET LOCAL lock_timeout = 0")
            await self._do(connection, "lock")
            row = await connection.fetchrow(_SQL["edges"], self._chain_id)
            if row is None or row["number"] < 0:
                return -1
            edges = _edges(row)
            await self._roll(connection, edges)
            if edges.behind:
                place = (edges.since, edges.until, edges.seen_number)
                await self._do(connection, "move", *place)
                return None
            await self._refresh(connection, edges)
            await self._traders(connection, edges)
            await self._do(connection, "overview", edges.number, edges.time)
            if creators:
                await self._do(connection, "orphans")
                await self._do(connection, "creators", CREATORS_KEPT)
            place = (edges.since, edges.until, edges.number)
            await self._do(connection, "move", *place)
        return edges.number

    async def _roll(self, connection: "Connection", edges: _Edges) -> None:
        left = (edges.old_since, min(edges.since, edges.old_until))
        if edges.old_until < edges.since:
            # So long away that nothing of the old day is in the new one.
            await self._do(connection, "forget_day")
            left = (0, 0)
        await self._do(connection, "roll", edges.old_until, edges.until, *left, edges.since)

    async def _refresh(self, connection: "Connection", edges: _Edges) -> None:
        hour = _after(edges.time - HOUR_S)
        await self._do(connection, "refresh", edges.until, hour, edges.time - DAY_S, edges.since)

    async def _traders(self, connection: "Connection", edges: _Edges) -> None:
        # Again from the last final block: what was above it may have been taken back.
        above = min(edges.seen_number, edges.final_number)
        await self._do(connection, "traders", above, -1, edges.number)
        await self._do(connection, "settle_traders", edges.final_number)

    async def _do(self, connection: "Connection", query: str, *arguments: Any) -> None:
        await connection.execute(_SQL[query], self._chain_id, *arguments, timeout=TURN_S_MAX)


def _edges(row: Any) -> _Edges:
    since = _after(row["time"] - DAY_S)
    # Whole minutes below the last final block's: nothing more is added to them.
    final = max(row["final_time"] - row["final_time"] % MINUTE_S, row["until"] or 0)
    until = min(final, max(row["until"] or 0, row["first_time"]) + STEP_S)
    return _Edges(
        number=row["number"],
        time=row["time"],
        final_number=row["final_number"],
        since=max(since, row["since"] or 0),
        until=until,
        old_since=row["since"] or 0,
        old_until=row["until"] or 0,
        behind=until < final,
        seen_number=-1 if row["seen_number"] is None else row["seen_number"],
    )


def _after(time: int) -> int:
    # The first minute that begins after this second, as the day and the hour count them.
    return time - time % MINUTE_S + MINUTE_S
