"""What was launched, asked by the hash of a token's document."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storage import postgres, queries

if TYPE_CHECKING:
    from storage.postgres import Pool

_SQL = queries.load("launched")


class Launched:
    """One chain's. Raises TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def time(self) -> int | None:
        """The chain's time, unix seconds, up to which launches are recorded; None: none yet."""
        async with postgres.session(self._pool) as connection:
            found = await connection.fetchval(_SQL["recorded_time"], self._chain_id)
        return None if found is None else int(found)

    async def hashes(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Those of these that a recorded token was launched with."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(_SQL["hashes"], self._chain_id, list(hashes))
        return {bytes(row["metadata_hash"]) for row in rows}
