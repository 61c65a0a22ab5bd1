"""Who brought whom, in MongoDB: a code a wallet, and a referrer a wallet, each for life.

A referrer is always a wallet that joined before the one it brings. So no chain of referrals
ever comes back to where it began, whatever is asked at once, without looking along it.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from engine.errors import CallerError
from engine.text import hex_of
from storage.documents import guarded

if TYPE_CHECKING:
    from storage.documents import Database, Document

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
MADE_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Totals:
    """What a wallet is owed, and how many it brought at level 1 and 2 (counted to `most`)."""

    wei: int
    rows: int
    first: int
    second: int


class Referrals:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database") -> None:
        self._codes = database["referral_codes"]
        self._users = database["users"]
        self._ledger = database["referral_ledger"]
        self._totals = database["referral_totals"]
        self._wallets = database["points_wallets"]

    async def prepare(self) -> None:
        """Makes the indexes; repeatable, also from several processes at once."""
        async with guarded():
            await self._codes.create_index([("owner", ASCENDING)], unique=True)
            await self._users.create_index([("referral.by", ASCENDING)])
            await self._ledger.create_index([("who", ASCENDING), ("time", DESCENDING)])

    async def code_of(self, owner: bytes) -> str | None:
        """The wallet's code; None: it has none yet."""
        async with guarded():
            found = await self._codes.find_one({"owner": hex_of(owner)})
        return None if found is None else str(found["_id"])

    async def owner_of(self, code: str) -> tuple[bytes, float] | None:
        """(wallet, unix seconds since when) of a code; None: nobody has it."""
        async with guarded():
            found = await self._codes.find_one({"_id": code})
        if found is None:
            return None
        return bytes.fromhex(found["owner"][2:]), found["createdAt"].timestamp()

    async def take_code(self, owner: bytes, code: str | None, now: float) -> str:
        """Gives the wallet `code`, or one made up; the one it has if it has one. Of two wallets
        that want one code at once the first has it. Raises CallerError("code_taken").
        """
        for _ in range(10):
            wanted = code or "".join(secrets.choice(_LETTERS) for _ in range(MADE_CHARACTERS))
            document = {
                "_id": wanted,
                "owner": hex_of(owner),
                "createdAt": datetime.fromtimestamp(now, UTC),
            }
            try:
                async with guarded():
                    await self._codes.insert_one(document)
                return wanted
            except DuplicateKeyError:
                kept = await self.code_of(owner)
                if kept is not None:
                    return kept
                if code is not None:
                    break
        raise CallerError("code_taken", "code: Expected one that nobody has")

    async def bind(self, wallet: bytes, code: str, *, now: float, within_s: float) -> bytes:
        """Says for life who brought this wallet; the referrer. Repeatable with the same code.

        Raises CallerError: not_found (no such code or user), already_referred, or
        referral_refused (oneself, one who joined later, or too long after joining).
        """
        async with guarded():
            found = await self._codes.find_one({"_id": code})
            if found is None:
                raise CallerError("not_found", "code: Expected a code that somebody has")
            names = [found["owner"], hex_of(wallet)]
            users = {one["_id"]: one async for one in self._users.find({"_id": {"$in": names}})}
        user, referrer = users.get(hex_of(wallet)), users.get(found["owner"])
        if user is None or referrer is None:
            raise CallerError("not_found", "Expected wallets that have logged in")
        before = (user.get("referral") or {}).get("by")
        if before is None:
            _check(user, referrer, now=now, within_s=within_s)
            before = await self._bind(user["_id"], referrer["_id"], now)
        if before != referrer["_id"]:
            raise CallerError("already_referred", "Expected a wallet without a referrer")
        return bytes.fromhex(before[2:])

    async def totals(self, wallet: bytes, most: int) -> Totals:
        """What is owed to this wallet, and how many it brought."""
        async with guarded():
            owed = await self._totals.find_one({"_id": hex_of(wallet)}) or {}
            first = [
                one["_id"]
                async for one in self._users.find(
                    {"referral.by": hex_of(wallet)}, {"_id": 1}
                ).limit(most)
            ]
            second = await self._users.count_documents({"referral.by": {"$in": first}}, limit=most)
        wei: Any = owed.get("wei", Decimal128("0"))
        return Totals(int(wei.to_decimal()), owed.get("rows", 0), len(first), second)

    async def brought(
        self, wallet: bytes, *, limit: int, after: str | None = None
    ) -> list["Document"]:
        """Wallets of level 1 by address, above `after` (0x-hex): `_id`, `referral`, `volume` and
        `shared` (wei).
        """
        query: dict[str, Any] = {"referral.by": hex_of(wallet)}
        if after is not None:
            query["_id"] = {"$gt": after}
        async with guarded():
            cursor = self._users.find(query, {"referral": 1}).sort("_id", ASCENDING)
            found = await cursor.to_list(limit)
            ids = [one["_id"] for one in found]
            known = {one["_id"]: one async for one in self._wallets.find({"_id": {"$in": ids}})}
        for one in found:
            wallet_state = known.get(one["_id"], {})
            one["volume"] = int(wallet_state.get("volume", 0))
            one["shared"] = int(wallet_state.get("shared", 0))
        return found

    async def earnings(
        self, wallet: bytes, *, limit: int, before: tuple[int, str] | None = None
    ) -> list["Document"]:
        """Rows of the ledger, the newest first; `before` is (time, key) of the last one seen."""
        query: dict[str, Any] = {"who": hex_of(wallet)}
        if before is not None:
            time, key = before
            query["$or"] = [{"time": {"$lt": time}}, {"time": time, "_id": {"$lt": key}}]
        async with guarded():
            cursor = self._ledger.find(query).sort([("time", DESCENDING), ("_id", DESCENDING)])
            return await cursor.to_list(limit)

    async def _bind(self, wallet: str, referrer: str, now: float) -> str:
        at = datetime.fromtimestamp(now, UTC)
        async with guarded():
            await self._users.update_one(
                {"_id": wallet, "referral.by": {"$exists": False}},
                {"$set": {"referral": {"by": referrer, "at": at}}},
            )
            user = await self._users.find_one({"_id": wallet})
        assert user is not None, "users are never taken away"
        return str(user["referral"]["by"])


def _check(user: "Document", referrer: "Document", *, now: float, within_s: float) -> None:
    if user["_id"] == referrer["_id"]:
        raise CallerError("referral_refused", "code: Expected the code of another")
    if now > user["createdAt"].timestamp() + within_s:
        raise CallerError("referral_refused", "Expected to be told sooner after the first login")
    if (referrer["createdAt"], referrer["_id"]) >= (user["createdAt"], user["_id"]):
        raise CallerError("referral_refused", "code: Expected the code of one who joined before")
