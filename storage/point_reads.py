"""What is shown of the ledger of points."""

from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, DESCENDING

from engine.text import hex_of
from storage.documents import guarded
from storage.points import Counted

if TYPE_CHECKING:
    from storage.documents import Database, Document


class PointReads:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database", chain_id: int) -> None:
        self._chain_id = chain_id
        self._cursors = database["points_cursors"]
        self._ledger = database["points_ledger"]
        self._balances = database["points_balances"]
        self._totals = database["points_totals"]
        self._wallets = database["points_wallets"]

    async def counted(self) -> Counted:
        """Everything up to here is in what is read."""
        async with guarded():
            found = await self._cursors.find_one({"_id": self._chain_id})
        return Counted(found["block"], found["time"]) if found else Counted(-1, 0)

    async def rank(self, season: str, micro: int, most: int) -> int | None:
        """How many have more, plus one; None beyond `most`, or for nothing."""
        if micro <= 0:
            return None
        query = {"season": season, "micro": {"$gt": micro}}
        async with guarded():
            above = await self._balances.count_documents(query, limit=most)
        return above + 1 if above < most else None

    async def total(self, season: str) -> int:
        """All points of the season, in millionths."""
        async with guarded():
            found = await self._totals.find_one({"_id": season})
        return int(found["micro"]) if found else 0

    async def leaders(self, season: str, *, skip: int, limit: int) -> list["Document"]:
        """The most points first; the address decides between equals."""
        order = [("micro", DESCENDING), ("who", ASCENDING)]
        async with guarded():
            cursor = self._balances.find({"season": season}).sort(order).skip(skip)
            return await cursor.to_list(limit)

    async def wallets(self, season: str, most: int) -> int:
        """Wallets with points, counted to `most`."""
        async with guarded():
            return await self._balances.count_documents({"season": season}, limit=most)

    async def rows(
        self, season: str, who: bytes, *, limit: int, before: int | None = None
    ) -> list["Document"]:
        """The wallet's rows, the newest first; `before` is `n` of the last one seen."""
        query: dict[str, Any] = {"season": season, "who": hex_of(who)}
        if before is not None:
            query["n"] = {"$lt": before}
        async with guarded():
            return await self._ledger.find(query).sort("n", DESCENDING).to_list(limit)

    async def streak(self, who: bytes) -> tuple[int, int]:
        """(UTC day since 1970 of the last day that counted, days in a row); (-1, 0) for none."""
        async with guarded():
            found = await self._wallets.find_one({"_id": hex_of(who)})
        return (found["streakDay"], found["streak"]) if found else (-1, 0)
