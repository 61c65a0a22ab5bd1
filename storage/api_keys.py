"""API keys in MongoDB: what a program of a wallet's owner logs in with. Secrets are hashed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pymongo import ASCENDING, DESCENDING

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
    ) -> ApiKey:
        """Keeps a new key. Repeatable."""
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
            await self._keys.update_one({"_id": id}, {"$setOnInsert": document}, upsert=True)
        return _key(document)

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
            await self._keys.update_one(mine | {"endedAt": None}, {"$set": {"endedAt": _time(now)}})
            return await self._keys.find_one(mine, {"_id": 1}) is not None


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
