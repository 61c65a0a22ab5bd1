"""What relayers say of themselves, for the doors: one row for each name, overwritten."""

from typing import TYPE_CHECKING

from storage import postgres
from storage.bridge import SQL

if TYPE_CHECKING:
    from storage.postgres import Pool

REASON_MAX = 200


class BridgeBeats:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def say(self, name: str, *, closed: str, paused: bool) -> None:
        """Now; whoever said nothing for a day is forgotten."""
        async with postgres.session(self._pool) as connection:
            await connection.execute(SQL["say"], name, closed[:REASON_MAX], paused)
