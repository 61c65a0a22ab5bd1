"""Who has logged in, in MongoDB: one document a wallet, with what its owner says of himself."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from engine.text import hex_of
from storage.documents import guarded

if TYPE_CHECKING:
    from storage.documents import Database, Document


class People:
    """Users: `_id` and `walletAddress` (0x and lower-case hex), `role`, `profile`, `settings`,
    `createdAt`, `updatedAt`, `lastSeen`, `logins`; times are aware datetimes.

    All methods raise TransientError (store_unavailable).
    """

    def __init__(self, database: "Database") -> None:
        self._users = database["users"]

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._users.create_index([("createdAt", ASCENDING)])

    async def connect(self, address: bytes, now: float) -> "Document":
        """The wallet's user, made at the first login; counts this login.

        Twice at once makes one document and counts both.
        """
        wallet, time = hex_of(address), _time(now)
        change = {
            "$setOnInsert": _fresh(wallet, time),
            "$max": {"lastSeen": time},
            "$inc": {"logins": 1},
        }
        try:
            return await self._upsert(wallet, change)
        except DuplicateKeyError:
            # Both saw no document and the other was first: now it is there.
            return await self._upsert(wallet, change)

    async def seen(self, address: bytes, now: float) -> "Document":
        """The wallet's user, who is here now."""
        wallet, time = hex_of(address), _time(now)
        return await self._upsert(
            wallet,
            {"$setOnInsert": _fresh(wallet, time) | {"logins": 0}, "$max": {"lastSeen": time}},
        )

    async def find(self, address: bytes) -> "Document | None":
        """The wallet's user; None before its first login."""
        async with guarded():
            return await self._users.find_one({"_id": hex_of(address)})

    async def change(
        self, address: bytes, fields: Mapping[str, Any], now: float
    ) -> "Document | None":
        """Sets fields by dotted name, such as `profile.bio`; None takes one away. The user as
        it is then; None: no such user.
        """
        update: dict[str, Any] = {"$set": {"updatedAt": _time(now)}}
        update["$set"] |= {name: value for name, value in fields.items() if value is not None}
        gone = [name for name, value in fields.items() if value is None]
        if gone:
            update["$unset"] = dict.fromkeys(gone, "")
        async with guarded():
            return await self._users.find_one_and_update(
                {"_id": hex_of(address)}, update, return_document=ReturnDocument.AFTER
            )

    async def about(self) -> int:
        """As `count`, from the collection's own tally: at any size, and off after a crash."""
        async with guarded():
            return await self._users.estimated_document_count()

    async def count(self) -> int:
        """Wallets that ever logged in."""
        async with guarded():
            return await self._users.count_documents({})

    async def _upsert(self, wallet: str, change: Mapping[str, Any]) -> "Document":
        async with guarded():
            user = await self._users.find_one_and_update(
                {"_id": wallet}, change, upsert=True, return_document=ReturnDocument.AFTER
            )
        assert user is not None, "Expected the upserted user, was none"
        return user


def _fresh(wallet: str, time: datetime) -> dict[str, Any]:
    return {
        "walletAddress": wallet,
        "role": "user",
        "profile": {},
        "settings": {},
        "createdAt": time,
        "updatedAt": time,
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
