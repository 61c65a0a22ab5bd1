"""How many shards and doors the operator wants: one row a chain, durable over every restart."""

from typing import TYPE_CHECKING, Any

from engine.control import Scale, Wanted
from storage import postgres, queries

if TYPE_CHECKING:
    from storage.postgres import Pool

_SQL = queries.load("wanted")


class WantedStore:
    """`first` is what a system begins with, until somebody scales it.

    All methods raise TransientError (store_unavailable).
    """

    def __init__(self, pool: "Pool", chain_id: int, first: Wanted) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._first = first

    async def read(self) -> Wanted:
        """What is wanted now."""
        async with postgres.session(self._pool) as connection:
            row = await connection.fetchrow(_SQL["read"], self._chain_id)
        return _wanted(row) if row else self._first

    async def write(self, change: Scale) -> Wanted:
        """What is wanted from now on; writing the same again changes nothing.

        Of two writers at once that change different numbers both are heard.
        """
        first = self._first
        async with postgres.transaction(self._pool) as connection:
            row = await connection.fetchrow(
                _SQL["write"],
                self._chain_id,
                change.shards,
                change.gateways,
                change.stream_gateways,
                first.shards,
                first.gateways,
                first.stream_gateways,
            )
        return _wanted(row)


def _wanted(row: Any) -> Wanted:
    return Wanted(row["shards"], row["gateways"], row["stream_gateways"])
