"""The bridge's transfers as they are shown: one, a wallet's, and those that are stuck; and whether
a relayer says that they go through.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.bridge.health import Beat
from engine.bridge.transfers import Cursor, Mined, StepTaken, Transfer, mined
from engine.limits import LIST_COUNT_MAX, PAGE_LIMIT_MAX
from storage import postgres, queries

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Connection, Pool

_SQL = queries.load("bridge_reads")
_PAID = {"Released": "payment", "Refunded": "refund", "Deposited": "deposit"}

Before = tuple[int, bytes]
"""When the last one seen was made, unix microseconds, and its id."""


class BridgeReads:
    """Of these two chains. All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chains: Sequence[int]) -> None:
        self._pool = pool
        self._chains = list(chains)

    async def one(self, id: bytes) -> tuple[Transfer | None, Mapping[int, Cursor]]:
        """By the id that the doors gave out, or by the vault's own; with where both chains are."""
        found, cursors = await self._read("by_id", id, self._chains)
        return (found[0] if found else None), cursors

    async def of_user(
        self,
        user: bytes,
        *,
        page: int,
        limit: int,
        before: Before | None = None,
        deposited_only: bool = False,
    ) -> tuple[list[Transfer], int, Mapping[int, Cursor]]:
        """A wallet's, newest first, and their number (to LIST_COUNT_MAX at most); with `before`
        `page` does not count. `deposited_only` are those that the chain has too.
        """
        limit = min(limit, PAGE_LIMIT_MAX)
        skip = 0 if before else (page - 1) * limit
        time, last = (None, None) if before is None else (_datetime(before[0]), before[1])
        whose = (user, self._chains, deposited_only)
        found, cursors = await self._read("of_user", *whose, limit, skip, time, last)
        async with postgres.session(self._pool) as connection:
            total = await connection.fetchval(_SQL["count_of_user"], *whose, LIST_COUNT_MAX)
        return found, int(total), cursors

    async def stuck(
        self, *, older_than_s: float, limit: int
    ) -> tuple[list[Transfer], Mapping[int, Cursor]]:
        """Deposited, and without a new step for so long; or contradicted. Oldest first."""
        return await self._read("stuck", self._chains, older_than_s, min(limit, PAGE_LIMIT_MAX))

    async def beats(self) -> list[Beat]:
        """What each relayer said last."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(_SQL["beats"])
        return [Beat(row["age_s"], row["closed"], row["paused"]) for row in rows]

    async def _read(
        self, query: str, *arguments: Any
    ) -> tuple[list[Transfer], Mapping[int, Cursor]]:
        async with (
            postgres.session(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = await connection.fetch(_SQL[query], *arguments)
            cursors = {
                row["chain_id"]: _cursor(row)
                for row in await connection.fetch(_SQL["cursors"], self._chains)
            }
            return await _transfers(connection, rows, cursors), cursors


def position_of(transfer: Transfer) -> Before:
    """Where the page after this one begins."""
    return round(transfer.created * 1e6), transfer.key[2]


async def _transfers(
    connection: "Connection", rows: Sequence["Record"], cursors: Mapping[int, Cursor]
) -> list[Transfer]:
    if not rows:
        return []
    messages = [row["message_id"] for row in rows if row["message_id"] is not None]
    seen: dict[bytes, dict[str, Mined]] = {}
    for event in await connection.fetch(_SQL["events_of"], messages):
        name = _PAID.get(event["kind"])
        if name is not None:
            place = (event["tx_hash"], event["block_number"], event["block_time"])
            seen.setdefault(event["message_id"], {})[name] = mined(
                *place, at=cursors.get(event["chain_id"])
            )
    steps: dict[tuple[int, int, bytes], list[StepTaken]] = {}
    for row in await connection.fetch(_SQL["steps_of"], [one["id"] for one in rows]):
        key = (row["source_chain"], row["version"], row["request_id"])
        taken = StepTaken(row["status"], row["step"], row["reason"], row["at"])
        steps.setdefault(key, []).append(taken)
    return [
        _transfer(row, _kept(row, cursors) | seen.get(row["message_id"], {}), steps) for row in rows
    ]


def _kept(row: "Record", cursors: Mapping[int, Cursor]) -> dict[str, Mined]:
    # Of one that ended long ago, whose events are gone.
    found: dict[str, Mined] = {}
    if row["deposit_block"] is not None:
        place = (row["source_tx_hash"], row["deposit_block"], row["deposit_time"])
        found["deposit"] = mined(*place, at=cursors.get(row["source_chain"]))
    if row["paid_block"] is not None:
        back = row["target_tx_hash"] is None
        tx_hash = row["refund_tx_hash"] if back else row["target_tx_hash"]
        at = cursors.get(row["source_chain"] if back else row["target_chain"])
        place = (tx_hash, row["paid_block"], row["paid_at"])
        found["refund" if back else "payment"] = mined(*place, at=at)
    return found


def _transfer(
    row: "Record",
    seen: Mapping[str, Mined],
    steps: Mapping[tuple[int, int, bytes], list[StepTaken]],
) -> Transfer:
    key = (row["source_chain"], row["version"], row["id"])
    return Transfer(
        key=key,
        target_chain=row["target_chain"],
        message=row["message_id"],
        requested=row["requested"],
        user=row["user_address"],
        recipient=row["recipient"],
        amount=row["amount"],
        fee=row["fee"],
        deadline=row["deadline"],
        status=row["status"],
        step=row["step"],
        reason=row["reason"],
        attempts=row["attempts"],
        created=row["created"],
        updated=row["updated"],
        ended=row["ended"],
        deposit=seen.get("deposit"),
        payment=seen.get("payment"),
        refund=seen.get("refund"),
        steps=tuple(steps.get(key, ())),
    )


def _cursor(row: "Record") -> Cursor:
    # What is final may be above what is followed, after a restart.
    final = min(row["finalised_number"], row["block_number"])
    return Cursor(row["block_number"], row["block_time"], final, row["final_time"])


def _datetime(microseconds: int) -> datetime:
    seconds, part = divmod(microseconds, 10**6)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=part)
