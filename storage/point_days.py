"""The daily Merkle roots of the ledger, and the trees that prove a wallet's line in them.

A day is closed when the ledger stands at its last second and nothing later was added; so the
balances are then what they were at the day's end, and closing it again gives the same root.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, DESCENDING, ReplaceOne
from pymongo.errors import DuplicateKeyError

from engine.points import merkle
from engine.text import hex_of
from storage.documents import guarded

if TYPE_CHECKING:
    from storage.documents import Database, Document

CHUNK = 2_048
"""Nodes in one document: 64 KB."""

TREES_KEPT = 7
"""Days whose proofs are given; their roots are kept for ever."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A wallet's line at the end of `day`, and the nodes that lead from it to `root`."""

    season: str
    day: int
    root: bytes
    who: bytes
    micro: int
    chain: bytes
    rows: int
    proof: tuple[bytes, ...]


class PointDays:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database") -> None:
        self._balances = database["points_balances"]
        self._ledger = database["points_ledger"]
        self._roots = database["points_roots"]
        self._trees = database["points_trees"]

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._roots.create_index([("season", ASCENDING), ("day", DESCENDING)])
            await self._trees.create_index([("tree", ASCENDING), ("chunk", ASCENDING)])

    async def closed(self, season: str, day: int) -> bool:
        """Whether this day has its root."""
        async with guarded():
            return await self._roots.find_one({"_id": _tree(season, day)}, {"_id": 1}) is not None

    async def close(self, season: str, day: int) -> bytes:
        """Works out the day's tree from the balances as they stand, keeps it, then its root.
        Repeatable; zero bytes for a ledger without rows.
        """
        async with guarded():
            lines = [
                (bytes.fromhex(one["who"][2:]), one["micro"], bytes(one["chain"]))
                async for one in self._balances.find({"season": season}).sort("_id", ASCENDING)
            ]
        nodes = await asyncio.to_thread(_nodes, lines)
        root = nodes[0] if nodes else bytes(32)
        name = _tree(season, day)
        async with guarded():
            for start in range(0, len(nodes), CHUNK * 16):
                await self._trees.bulk_write(_chunks(name, nodes, start))
            document = {
                "_id": name,
                "season": season,
                "day": day,
                "root": hex_of(root),
                "wallets": len(lines),
                "micro": sum(micro for _, micro, _ in lines),
                "nodes": len(nodes),
                "at": datetime.now(UTC),
            }
            # Another may have closed the same day from the same balances.
            with contextlib.suppress(DuplicateKeyError):
                await self._roots.insert_one(document)
            await self._trees.delete_many({"tree": {"$in": await self._old(season, day)}})
        return root

    async def roots(self, season: str, limit: int) -> list["Document"]:
        """The newest days first."""
        async with guarded():
            cursor = self._roots.find({"season": season}).sort("day", DESCENDING)
            return await cursor.to_list(limit)

    async def prove(self, season: str, who: bytes) -> Proof | None:
        """The wallet's line on the last day that was closed; None: it has none, or no day was."""
        found = await self.roots(season, 1)
        if not found or not found[0]["nodes"]:
            return None
        root = found[0]
        line = await self._line(season, who, root["day"])
        if line is None:
            return None
        micro, chain, rows = line
        wanted = merkle.leaf(who, micro, chain)
        name, count = root["_id"], root["nodes"]
        place = await self._find(name, count, wanted)
        nodes: dict[int, bytes] = {}
        for one in merkle.siblings(place):
            nodes[one] = await self._node(name, one)
        proof = tuple(merkle.proof(place, nodes.__getitem__))
        root_hash = bytes.fromhex(root["root"][2:])
        return Proof(season, root["day"], root_hash, who, micro, chain, rows, proof)

    # -------------------------------------------------------------------- private

    async def _line(self, season: str, who: bytes, day: int) -> tuple[int, bytes, int] | None:
        query = {"season": season, "who": hex_of(who), "day": {"$lte": day}}
        async with guarded():
            last = await self._ledger.find_one(query, sort=[("n", DESCENDING)])
        return None if last is None else (last["total"], bytes(last["chain"]), last["n"])

    async def _find(self, name: str, count: int, leaf: bytes) -> int:
        # The last half of the nodes are the leaves, the largest first.
        low, high = count // 2, count - 1
        while low < high:
            middle = (low + high) // 2
            if await self._node(name, middle) > leaf:
                low = middle + 1
            else:
                high = middle
        return low

    async def _node(self, name: str, place: int) -> bytes:
        async with guarded():
            found = await self._trees.find_one({"_id": f"{name}:{place // CHUNK}"})
        assert found is not None, "a root's tree was kept before it"
        start = place % CHUNK * 32
        return bytes(found["nodes"])[start : start + 32]

    async def _old(self, season: str, day: int) -> list[str]:
        query = {"season": season, "day": {"$lte": day - TREES_KEPT}}
        old = self._roots.find(query, {"_id": 1}).sort("day", DESCENDING)
        return [one["_id"] for one in await old.to_list(TREES_KEPT)]


def _nodes(lines: Sequence[tuple[bytes, int, bytes]]) -> list[bytes]:
    return merkle.tree([merkle.leaf(*line) for line in lines])


def _chunks(name: str, nodes: Sequence[bytes], start: int) -> list[Any]:
    end = min(start + CHUNK * 16, len(nodes))
    return [
        ReplaceOne(
            {"_id": f"{name}:{at // CHUNK}"},
            {"tree": name, "chunk": at // CHUNK, "nodes": b"".join(nodes[at : at + CHUNK])},
            upsert=True,
        )
        for at in range(start, end, CHUNK)
    ]


def _tree(season: str, day: int) -> str:
    return f"{season}:{day}"
