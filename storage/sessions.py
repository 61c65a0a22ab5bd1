"""Logins in MongoDB, each with the one refresh token that is good now; who was logged out in
Redis, for as long as an access token may live.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, DESCENDING

from engine.text import hex_of
from storage import valkey
from storage.documents import guarded

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from storage.documents import Database, Document

KEPT_S = 86_400  # after their end, for questions about a login
LISTED_MAX = 100


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A login. `family` is the key that all its refresh tokens are marked with; times are unix
    seconds; `ended_at` None while it is open.
    """

    sid: str
    address: bytes
    family: bytes
    created_at: float
    used_at: float
    expires_at: float
    ended_at: float | None
    client: str


class Sessions:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(
        self, database: "Database", redis: "Redis", *, namespace: str = valkey.NAMESPACE
    ) -> None:
        self._sessions = database["sessions"]
        self._redis = redis
        self._namespace = namespace

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._sessions.create_index([("address", ASCENDING), ("createdAt", ASCENDING)])
            await self._sessions.create_index([("expiresAt", ASCENDING)], expireAfterSeconds=KEPT_S)

    async def open(
        self,
        sid: str,
        *,
        address: bytes,
        family: bytes,
        refresh_hash: bytes,
        now: float,
        expires: float,
        client: str = "",
    ) -> None:
        """Keeps a login under its id, with the hash of its first refresh token. Repeatable."""
        document = {
            "address": hex_of(address),
            "family": family,
            "refreshHash": refresh_hash,
            "createdAt": _time(now),
            "usedAt": _time(now),
            "expiresAt": _time(expires),
            "endedAt": None,
            "client": client,
        }
        async with guarded():
            await self._sessions.update_one({"_id": sid}, {"$setOnInsert": document}, upsert=True)

    async def find(self, sid: str) -> StoredSession | None:
        """The session, perhaps ended or expired; None: unknown."""
        async with guarded():
            found = await self._sessions.find_one({"_id": sid})
        return None if found is None else _session(found)

    async def rotate(self, sid: str, *, old: bytes, new: bytes, now: float, grace_s: float) -> bool:
        """Puts the hash `new` in the place of `old`. True also where that was done already, at
        most `grace_s` ago. False for any other hash, and an ended or expired session.
        """
        open_ = {"_id": sid, "endedAt": None, "expiresAt": {"$gt": _time(now)}}
        async with guarded():
            done = await self._sessions.update_one(
                open_ | {"refreshHash": old},
                {"$set": {"refreshHash": new, "usedAt": _time(now)}},
            )
            if done.matched_count:
                return True
            again = open_ | {"refreshHash": new, "usedAt": {"$gt": _time(now - grace_s)}}
            return await self._sessions.find_one(again, {"_id": 1}) is not None

    async def of(self, address: bytes, now: float) -> list[StoredSession]:
        """The wallet's open sessions, newest first."""
        query = {
            "address": hex_of(address),
            "endedAt": None,
            "expiresAt": {"$gt": _time(now)},
        }
        async with guarded():
            cursor = self._sessions.find(query).sort("createdAt", DESCENDING)
            return [_session(one) for one in await cursor.to_list(LISTED_MAX)]

    async def end(
        self, sids: Sequence[str], *, address: bytes, now: float, remember_s: int
    ) -> list[str]:
        """Ends those of `sids` that are the wallet's; their ids. No access token of them is
        taken any more, for the `remember_s` seconds that one may live. Repeatable; a session is
        among the open ones until all of this is done, so that whoever asks again finds it.
        """
        owned = {"_id": {"$in": list(sids)}, "address": hex_of(address)}
        async with guarded():
            # The refresh token first: of that one no more may come, even if Redis is away.
            await self._sessions.update_many(
                owned | {"endedAt": None}, {"$set": {"refreshHash": b""}}
            )
            found = [one["_id"] async for one in self._sessions.find(owned, {"_id": 1})]
        if found:
            async with valkey.guarded(), self._redis.pipeline(transaction=False) as calls:
                for sid in found:
                    calls.set(self._ended(sid), b"1", ex=remember_s)
                await calls.execute()
            async with guarded():
                await self._sessions.update_many(
                    owned | {"endedAt": None}, {"$set": {"endedAt": _time(now)}}
                )
        return found

    async def ended(self, sid: str) -> bool:
        """Whether it was ended within `remember_s`; memory of Redis only."""
        async with valkey.guarded():
            return bool(await self._redis.exists(self._ended(sid)))

    def _ended(self, sid: str) -> str:
        return f"{self._namespace}:ended:{sid}"


def _session(document: "Document") -> StoredSession:
    ended: Any = document.get("endedAt")
    return StoredSession(
        sid=document["_id"],
        address=bytes.fromhex(document["address"][2:]),
        family=bytes(document.get("family") or b""),
        created_at=document["createdAt"].timestamp(),
        used_at=(document.get("usedAt") or document["createdAt"]).timestamp(),
        expires_at=document["expiresAt"].timestamp(),
        ended_at=None if ended is None else ended.timestamp(),
        client=str(document.get("client", "")),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
