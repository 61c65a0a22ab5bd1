"""Steps of transfers that no socket was told of yet: each is told at least once, in order."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.bridge.requests import Key
from storage import postgres
from storage.bridge import SQL

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A step that a transfer took; `number` counts the transfer's from 1, `at` is unix seconds.
    Hashes and the message are as they are by now."""

    key: Key
    number: int
    status: str
    step: str
    reason: str
    at: float
    target_chain: int
    message: bytes | None
    user: bytes
    recipient: bytes
    amount: int
    source_tx: bytes | None
    target_tx: bytes | None
    refund_tx: bytes | None


class BridgeNotices:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def tell(self, publish: Callable[[Sequence[Notice]], Awaitable[None]], limit: int) -> int:
        """Hands at most `limit` to `publish`, and remembers that it was done; how many. Another
        one who tells leaves these out meanwhile. What `publish` raises leaves them untold.
        """
        async with postgres.transaction(self._pool) as connection:
            rows = await connection.fetch(SQL["untold"], limit)
            if not rows:
                return 0
            await publish([_notice(row) for row in rows])
            names = ("source_chain", "version", "request_id", "number")
            await connection.execute(SQL["tell"], *([row[one] for row in rows] for one in names))
        return len(rows)

    async def forget_intents(self, *, kept_s: float, limit: int) -> int:
        """Takes away requests that were closed for want of a deposit so long ago; how many."""
        async with postgres.session(self._pool) as connection:
            done = await connection.execute(SQL["forget_intents"], kept_s, limit)
        return int(done.rsplit(" ", 1)[1])

    async def forget_events(self, *, kept_s: float, limit: int) -> int:
        """Takes away what vaults said of transfers that ended so long ago; how many events. What is
        shown of those transfers stands with their requests.
        """
        async with postgres.session(self._pool) as connection:
            done = await connection.execute(SQL["forget_events"], kept_s, limit)
        return int(done.rsplit(" ", 1)[1])


def _notice(row: "Record") -> Notice:
    return Notice(
        key=(row["source_chain"], row["version"], row["request_id"]),
        number=row["number"],
        status=row["status"],
        step=row["step"],
        reason=row["reason"],
        at=row["at"],
        target_chain=row["target_chain"],
        message=row["message_id"],
        user=row["user_address"],
        recipient=row["recipient"],
        amount=row["amount"],
        source_tx=row["source_tx_hash"],
        target_tx=row["target_tx_hash"],
        refund_tx=row["refund_tx_hash"],
    )
