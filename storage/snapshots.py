"""Snapshots of buckets: the start of recovery, never the truth. A bad one is left out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage import postgres, queries

if TYPE_CHECKING:
    from storage.postgres import Pool

_SQL = queries.load("snapshots")
_LOAD_BUCKETS = 64  # buckets in one query: bounds the rows that are in memory twice


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A bucket's markets at a block, as the shard encoded them under `schema`."""

    bucket: int
    incarnation: int
    block_number: int
    block_hash: bytes
    schema: int
    payload: bytes


class SnapshotStore:
    """One chain's snapshots. All methods raise TransientError (store_unavailable).

    `bad` counts snapshots that `load` left out for their checksum.
    """

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self.bad = 0

    async def save(
        self,
        *,
        bucket: int,
        incarnation: int,
        block_number: int,
        block_hash: bytes,
        schema: int,
        payload: bytes,
    ) -> bool:
        """Keeps it and the one before. False: the bucket has another incarnation, nothing
        was written. Saving the same block again replaces it.
        """
        snapshot = Snapshot(bucket, incarnation, block_number, block_hash, schema, payload)
        async with postgres.session(self._pool) as connection:
            stored = await connection.fetchval(
                _SQL["save"],
                self._chain_id,
                bucket,
                incarnation,
                block_number,
                block_hash,
                schema,
                payload,
                _checksum(self._chain_id, snapshot),
            )
        return bool(stored)

    async def load(self, buckets: Sequence[int]) -> dict[int, list[Snapshot]]:
        """Bucket → its snapshots, newest first, at most two or three; none: no key."""
        found: dict[int, list[Snapshot]] = {}
        for start in range(0, len(buckets), _LOAD_BUCKETS):
            part = list(buckets[start : start + _LOAD_BUCKETS])
            async with postgres.session(self._pool) as connection:
                rows = await connection.fetch(_SQL["load"], self._chain_id, part)
            for row in rows:
                self._keep(found, row)
        return found

    def _keep(self, found: dict[int, list[Snapshot]], row: Any) -> None:
        snapshot = Snapshot(*(row[name] for name in Snapshot.__slots__))
        if _checksum(self._chain_id, snapshot) == row["checksum"]:
            found.setdefault(snapshot.bucket, []).append(snapshot)
        else:
            self.bad += 1


def _checksum(chain_id: int, snapshot: Snapshot) -> bytes:
    # The key is part of it: a payload under another bucket or block is as bad as a flipped bit.
    head = (chain_id, snapshot.bucket, snapshot.block_number, snapshot.schema)
    return hashlib.sha256(repr(head).encode() + snapshot.block_hash + snapshot.payload).digest()
