"""API keys in MongoDB: what a program of a wallet's owner logs in with. Secrets are hashed.

A wallet has a number of places for keys, and a key that is good holds one of them: an index keeps
two from one place. So however many are asked for at once, as many are made as there is room for,
and one that dies in the midst of it has made a key or none. A key that was ended gives its place
back at that moment; one that expired, when the next is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from engine.text import hex_of
from storage.documents import guarded

if TYPE_CHECKING:
    from storage.documents import Database, Document

KEPT_S = 86_400 * 30  # after their end, for questions about a program


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`hash` is SHA-256 of the secret. Times are unix seconds; `ended_at` None while it is good."""

    id: str
    owner: bytes
    name: str
    scopes: tuple[str, ...]
    hash: bytes
    created_at: float
    expires_at: float
    ended_at: float | None


class ApiKeys:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database") -> None:
        self._keys = database["api_keys"]

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._keys.create_index([("owner", ASCENDING), ("createdAt", DESCENDING)])
            await self._keys.create_index([("expiresAt", ASCENDING)], expireAfterSeconds=KEPT_S)
            await self._keys.create_index(
                [("owner", ASCENDING), ("place", ASCENDING)],
                unique=True,
                partialFilterExpression={"place": {"$exists": True}},
            )

    async def make(
        self,
        *,
        id: str,
        owner: bytes,
        name: str,
        scopes: tuple[str, ...],
        hash: bytes,
        now: float,
        expires: float,
        most: int,
    ) -> ApiKey | None:
        """Keeps a new key; None: the wallet has `most` good ones. Of those that are asked for at
        once exactly as many are made as there is room for. Repeatable.
        """
        document = {
            "_id": id,
            "owner": hex_of(owner),
            "name": name,
            "scopes": list(scopes),
            "hash": hash,
            "createdAt": _time(now),
            "expiresAt": _time(expires),
            "endedAt": None,
        }
        async with guarded():
            for place in await self._free(hex_of(owner), id, now=now, most=most):
                try:
                    await self._keys.insert_one(document | {"place": place})
                except DuplicateKeyError:
                    continue  # another was quicker, or this key was made before
                return _key(document)
            kept = await self._keys.find_one({"_id": id, "hash": hash})
        return None if kept is None else _key(kept)

    async def find(self, id: str) -> ApiKey | None:
        """The key, perhaps ended or expired; None: unknown."""
        async with guarded():
            found = await self._keys.find_one({"_id": id})
        return None if found is None else _key(found)

    async def of(self, owner: bytes, now: float, most: int) -> Sequence[ApiKey]:
        """The wallet's good keys, newest first."""
        query = {"owner": hex_of(owner), "endedAt": None, "expiresAt": {"$gt": _time(now)}}
        async with guarded():
            found = await self._keys.find(query).sort("createdAt", DESCENDING).to_list(most)
        return [_key(one) for one in found]

    async def end(self, id: str, *, owner: bytes, now: float) -> bool:
        """Ends a key of the wallet; False: it has no such key. Repeatable."""
        mine = {"_id": id, "owner": hex_of(owner)}
        async with guarded():
            change = {"$set": {"endedAt": _time(now)}, "$unset": {"place": ""}}
            await self._keys.update_one(mine | {"endedAt": None}, change)
            return await self._keys.find_one(mine, {"_id": 1}) is not None

    async def _free(self, owner: str, id: str, *, now: float, most: int) -> list[int]:
        # Places that nobody holds, from one that differs from key to key: so those that are made
        # at once seldom want the same. A key without a place, of an earlier version, is one less.
        expired = {"owner": owner, "place": {"$exists": True}, "expiresAt": {"$lte": _time(now)}}
        await self._keys.update_many(expired, {"$unset": {"place": ""}})
        good = {"owner": owner, "endedAt": None, "expiresAt": {"$gt": _time(now)}}
        # More than `most` while another's clock, which took a place back, is ahead of this one.
        held = await self._keys.find(good, {"place": 1}).to_list(2 * most)
        taken = {one["place"] for one in held if "place" in one}
        room = most - (len(held) - len(taken))
        first = int.from_bytes(id.encode()) % most
        places = ((first + step) % most for step in range(most))
        return [place for place in places if place < room and place not in taken]


def _key(document: "Document") -> ApiKey:
    ended = document["endedAt"]
    return ApiKey(
        id=document["_id"],
        owner=bytes.fromhex(document["owner"][2:]),
        name=document["name"],
        scopes=tuple(document["scopes"]),
        hash=bytes(document["hash"]),
        created_at=document["createdAt"].timestamp(),
        expires_at=document["expiresAt"].timestamp(),
        ended_at=None if ended is None else ended.timestamp(),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
