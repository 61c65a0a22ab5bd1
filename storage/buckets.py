"""Who owns which bucket. A bucket's incarnation only grows: it is the fence of every writer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.limits import BUCKETS
from engine.messages import BucketOwner
from storage import postgres, queries

if TYPE_CHECKING:
    from storage.postgres import Connection, Pool

_SQL = queries.load("buckets")

INCARNATION_MAX = 2**62


class BucketStore:
    """Ownership of one chain's buckets. All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def take(
        self, owner: str, buckets: Sequence[int], *, overtaken: Mapping[int, int] | None = None
    ) -> dict[int, int]:
        """Makes `owner` the owner of each bucket; bucket → its new incarnation, 1 at first. With
        `overtaken` not of those of which another one has a higher incarnation than it says.

        However many take at once, no two get one incarnation, and the highest is the owner.
        """
        upto = {bucket: INCARNATION_MAX for bucket in buckets}
        if overtaken is not None:
            upto = {bucket: overtaken.get(bucket, 0) for bucket in buckets}
        async with postgres.transaction(self._pool) as connection:
            taken = await self._take(connection, owner, upto)
            left = {bucket: upto[bucket] for bucket in upto.keys() - taken.keys()}
            if left:
                await connection.execute(_SQL["prefill"], self._chain_id, BUCKETS)
                taken |= await self._take(connection, owner, left)
        return taken

    async def _take(
        self, connection: "Connection", owner: str, upto: Mapping[int, int]
    ) -> dict[int, int]:
        buckets, highest = list(upto), list(upto.values())
        rows = await connection.fetch(_SQL["take"], self._chain_id, buckets, owner, highest)
        return {row["bucket"]: row["incarnation"] for row in rows}

    async def owners(self) -> list[BucketOwner]:
        """Every bucket that was ever taken, in order."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(_SQL["owners"], self._chain_id)
        return [BucketOwner(row["bucket"], row["owner"], row["incarnation"]) for row in rows]
