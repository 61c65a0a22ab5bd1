"""What administrators did, in MongoDB: append-only, written before the deed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import DESCENDING

from engine.text import hex_of
from storage.documents import guarded

if TYPE_CHECKING:
    from storage.documents import Database, Document


class Audit:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database") -> None:
        self._entries = database["audit"]

    async def write(
        self,
        *,
        actor: bytes,
        action: str,
        target: str,
        change: Mapping[str, Any],
        request: Mapping[str, str],
        now: float,
    ) -> None:
        """Keeps that `actor` is about to do this. `request`: its id and where it came from."""
        async with guarded():
            await self._entries.insert_one(
                {
                    "at": datetime.fromtimestamp(now, UTC),
                    "actor": hex_of(actor),
                    "action": action,
                    "target": target,
                    "change": dict(change),
                    "request": dict(request),
                }
            )

    async def entries(self, *, limit: int, before: str | None = None) -> list["Document"]:
        """The newest first; `before` is the `_id` (24 hex digits) of the last one seen."""
        query = {} if before is None else {"_id": {"$lt": ObjectId(before)}}
        async with guarded():
            found = await self._entries.find(query).sort("_id", DESCENDING).to_list(limit)
        return [one | {"_id": str(one["_id"])} for one in found]
