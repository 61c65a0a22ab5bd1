"""People and their documents in MongoDB. Addresses and hashes are 0x and lower-case hex."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo import ASCENDING, AsyncMongoClient, ReturnDocument
from pymongo.errors import ConnectionFailure, DuplicateKeyError, PyMongoError

from engine.errors import TransientError
from engine.text import hex_of

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    Document: TypeAlias = dict[str, Any]
    Database: TypeAlias = AsyncDatabase[Document]

DATABASE = "risecurve"
SESSIONS_KEPT_S = 86_400  # after their end, for questions about a login
METADATA_MAX = 100  # documents in one look-up: a page of a list


def connect(url: str, *, timeout_s: float = 5.0) -> "AsyncMongoClient[Document]":
    """A client whose every call ends within `timeout_s`. Nothing is sent until the first."""
    return AsyncMongoClient(
        url,
        appname="risecurve",
        tz_aware=True,
        timeoutMS=int(timeout_s * 1000),
        serverSelectionTimeoutMS=int(timeout_s * 1000),
        connectTimeoutMS=int(timeout_s * 1000),
        w="majority",
        retryWrites=True,
    )


def database(client: "AsyncMongoClient[Document]") -> "Database":
    """The database that the URL names, else `risecurve`."""
    return client.get_default_database(DATABASE)


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Turns trouble with the server inside it into TransientError (store_unavailable)."""
    try:
        yield
    except PyMongoError as error:
        if not isinstance(error, ConnectionFailure) and not error.timeout:
            raise
        raise TransientError(
            "store_unavailable", f"Expected MongoDB to answer, was {type(error).__name__}"
        ) from error


class Documents:
    """Users, sessions and metadata. All methods raise TransientError (store_unavailable).

    Times are unix seconds in and aware datetimes in the documents.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._metadata = database["metadata"]

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._users.create_index([("createdAt", ASCENDING)])
            await self._sessions.create_index([("address", ASCENDING), ("createdAt", ASCENDING)])
            await self._sessions.create_index(
                [("expiresAt", ASCENDING)], expireAfterSeconds=SESSIONS_KEPT_S
            )
            await self._metadata.create_index([("creator", ASCENDING)])

    async def connect_user(self, address: bytes, now: float) -> "Document":
        """The wallet's user, made at the first login; counts this login.

        Twice at once makes one document and counts both. Fields: `_id` and `walletAddress`,
        `role`, `createdAt`, `updatedAt`, `lastLoginAt`, `logins`.
        """
        try:
            return await self._upsert_user(hex_of(address), _time(now))
        except DuplicateKeyError:
            # Both saw no document and the other was first: now it is there.
            return await self._upsert_user(hex_of(address), _time(now))

    async def _upsert_user(self, wallet: str, now: datetime) -> "Document":
        async with guarded():
            user = await self._users.find_one_and_update(
                {"_id": wallet},
                {
                    "$setOnInsert": {"walletAddress": wallet, "role": "user", "createdAt": now},
                    "$max": {"updatedAt": now, "lastLoginAt": now},
                    "$inc": {"logins": 1},
                },
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert user is not None, "Expected the upserted user, was none"
        return user

    async def user(self, address: bytes) -> "Document | None":
        """The wallet's user; None before its first login."""
        async with guarded():
            return await self._users.find_one({"_id": hex_of(address)})

    async def open_session(self, sid: str, *, address: bytes, now: float, expires: float) -> None:
        """Keeps a login under its id. Repeatable."""
        document = {
            "address": hex_of(address),
            "createdAt": _time(now),
            "expiresAt": _time(expires),
        }
        async with guarded():
            await self._sessions.update_one({"_id": sid}, {"$setOnInsert": document}, upsert=True)

    async def session(self, sid: str) -> "Document | None":
        """The session, perhaps expired: `address`, `createdAt`, `expiresAt`. None: unknown."""
        async with guarded():
            return await self._sessions.find_one({"_id": sid})

    async def store_metadata(
        self, hash: bytes, document: Mapping[str, Any], *, creator: bytes, now: float
    ) -> None:
        """Keeps a token's document under the hash of its canonical JSON. The first stays: one
        hash is one document.
        """
        fields = {
            "document": dict(document),
            "creator": hex_of(creator),
            "createdAt": _time(now),
        }
        async with guarded():
            await self._metadata.update_one(
                {"_id": hex_of(hash)}, {"$setOnInsert": fields}, upsert=True
            )

    async def metadata(self, hashes: Sequence[bytes]) -> dict[str, "Document"]:
        """0x-hash → document, of at most METADATA_MAX hashes; unknown ones have no key."""
        wanted = [hex_of(hash) for hash in hashes[:METADATA_MAX]]
        async with guarded():
            found = await self._metadata.find({"_id": {"$in": wanted}}).to_list(METADATA_MAX)
        return {item["_id"]: item["document"] for item in found}

    async def count_users(self) -> int:
        """Wallets that ever logged in."""
        async with guarded():
            return await self._users.count_documents({})

    async def ping(self) -> None:
        """Returns when MongoDB answers."""
        async with guarded():
            await self._database.command("ping")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
