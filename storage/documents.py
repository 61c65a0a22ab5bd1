"""MongoDB: the client, its errors, and token documents. Hashes are 0x and lower-case hex."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo import ASCENDING, AsyncMongoClient
from pymongo.errors import ConnectionFailure, DuplicateKeyError, PyMongoError

from engine.errors import TransientError
from engine.text import hex_of

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    Document: TypeAlias = dict[str, Any]
    Database: TypeAlias = AsyncDatabase[Document]

DATABASE = "risecurve"
_PASSING = ("TransientTransactionError", "UnknownTransactionCommitResult")
_PASSING_CODES = (239, 246)  # a snapshot that is too old, or not to be had yet
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
        conflict = any(error.has_error_label(label) for label in _PASSING)
        passing = conflict or getattr(error, "code", None) in _PASSING_CODES
        if not isinstance(error, ConnectionFailure) and not error.timeout and not passing:
            raise
        raise TransientError(
            "store_unavailable", f"Expected MongoDB to answer, was {type(error).__name__}"
        ) from error


class Documents:
    """Token documents: `_id` the hash, `document`, `creator`, `createdAt`, `image` (of one that
    was uploaded here). `askedAt` while no token is known that was launched with it: from then on
    it is kept for a while; `minedAt` afterwards: it is kept for ever.

    All methods raise TransientError (store_unavailable). Times are unix seconds in and aware
    datetimes in the documents.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._metadata = database["metadata"]
        self._users = database["users"]

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._metadata.create_index([("creator", ASCENDING)])
            for name in ("askedAt", "image"):
                await self._metadata.create_index([(name, ASCENDING)], sparse=True)
            await self._users.create_index([("avatarImage", ASCENDING)], sparse=True)

    async def store_metadata(
        self,
        hash: bytes,
        document: Mapping[str, Any],
        *,
        creator: bytes,
        now: float,
        image: str | None = None,
        mined: bool = False,
    ) -> None:
        """Keeps a token's document under the hash of its canonical JSON. The first stays: one
        hash is one document. It is young again, or `mined`: kept for ever.
        """
        fields = {"document": dict(document), "creator": hex_of(creator), "createdAt": _time(now)}
        fields |= {"image": image} if image else {}
        key: Document = {"_id": hex_of(hash)}
        change: Document = {"$setOnInsert": fields}
        if mined:
            change |= {"$set": {"minedAt": _time(now)}, "$unset": {"askedAt": ""}}
        else:
            key |= {"minedAt": {"$exists": False}}
            change["$max"] = {"askedAt": _time(now)}
        async with guarded():
            try:
                await self._metadata.update_one(key, change, upsert=True)
            except DuplicateKeyError:
                # Mined already, or made by another at this moment: then it is as young as this.
                if mined:
                    await self._metadata.update_one(key, change)

    async def unmined(self, before: float, limit: int) -> list[bytes]:
        """Hashes of documents that were last asked for before, and are not known as mined."""
        old = {"askedAt": {"$lt": _time(before)}}
        async with guarded():
            found = await self._metadata.find(old, {"_id": 1}).to_list(limit)
        return [bytes.fromhex(one["_id"][2:]) for one in found]

    async def settle(
        self, mined: Sequence[bytes], gone: Sequence[bytes], *, before: float, now: float
    ) -> int:
        """Keeps the mined ones for ever and forgets the others, but none that was asked for
        since `before`. How many were forgotten. Repeatable.
        """
        kept = {"_id": {"$in": [hex_of(hash) for hash in mined]}}
        old = {
            "_id": {"$in": [hex_of(hash) for hash in gone]},
            "askedAt": {"$lt": _time(before)},
        }
        change = {"$set": {"minedAt": _time(now)}, "$unset": {"askedAt": ""}}
        async with guarded():
            await self._metadata.update_many(kept, change)
            return (await self._metadata.delete_many(old)).deleted_count

    async def named_images(self, images: Sequence[str]) -> set[str]:
        """Those of these images that a document or a profile names."""
        wanted = list(images)
        async with guarded():
            documents = await self._metadata.distinct("image", {"image": {"$in": wanted}})
            people = await self._users.distinct("avatarImage", {"avatarImage": {"$in": wanted}})
        return {*documents, *people}

    async def metadata(self, hashes: Sequence[bytes]) -> dict[str, "Document"]:
        """0x-hash → document, of at most METADATA_MAX hashes; unknown ones have no key."""
        wanted = [hex_of(hash) for hash in hashes[:METADATA_MAX]]
        async with guarded():
            found = await self._metadata.find({"_id": {"$in": wanted}}).to_list(METADATA_MAX)
        return {item["_id"]: item["document"] for item in found}

    async def ping(self) -> None:
        """Returns when MongoDB answers."""
        async with guarded():
            await self._database.command("ping")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
