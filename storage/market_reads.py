"""What pages beside a token's own read: figures of the analytics role, holders, everybody's
trades. From the read replica, where there is one; each plan is bounded by a limit. While the
replica is away the primary answers; figures say which block they are of, so that a replica that
lags shows it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from engine.errors import TransientError
from engine.limits import LIST_COUNT_MAX, PAGE_LIMIT_MAX
from engine.rows import TokenRecord, TransactionRecord
from storage import postgres, queries, records

if TYPE_CHECKING:
    from storage.postgres import Pool

_SQL = queries.load("market_reads")
_AFTER_ALL = (2**62, 2**31 - 1, 2**31 - 1)

RETRY_S = 5.0
"""A replica that did not answer is not asked for so long."""


@dataclass(frozen=True, slots=True)
class Trending:
    """A token with its figures; `price_before` a day ago, None if it did not trade by then."""

    token: TokenRecord
    volume_1h: int
    trades_24h: int
    price_before: int | None


@dataclass(frozen=True, slots=True)
class Holder:
    """`first_buy` unix seconds; None for a wallet that was only given."""

    holder: bytes
    balance: int
    first_buy: int | None


@dataclass(frozen=True, slots=True)
class Trader:
    """All in wei; `realised` may be negative."""

    trader: bytes
    realised: int
    volume: int
    tokens: int


class MarketReads:
    """One chain's. All methods raise TransientError (store_unavailable): neither `replica` nor
    `primary` (when it is another pool) answers.
    """

    def __init__(
        self,
        replica: "Pool",
        chain_id: int,
        *,
        primary: "Pool | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replica = replica
        self._primary = primary
        self._chain_id = chain_id
        self._clock = clock
        self._asked_again_at = float("-inf")

    async def trending(self, *, page: int, limit: int) -> tuple[list[Trending], int]:
        """By the volume of the last hour, and their number (to LIST_COUNT_MAX at most); tokens
        without any are left out.
        """
        rows = await self._fetch("trending", *_window(page, limit))
        counted = await self._fetch("count_trending", LIST_COUNT_MAX)
        found = [
            Trending(records.token(row), row["volume_1h"], row["trades_24h"], row["price_before"])
            for row in rows
        ]
        return found, counted[0]["count"]

    async def king(self) -> TokenRecord | None:
        """The dearest token that is still on its curve."""
        rows = await self._fetch("king")
        return records.token(rows[0]) if rows else None

    async def of_creator(
        self, creator: bytes, *, page: int, limit: int
    ) -> tuple[list[TokenRecord], int]:
        """A wallet's tokens, newest first, and their number (to LIST_COUNT_MAX at most)."""
        rows = await self._fetch("of_creator", creator, *_window(page, limit))
        counted = await self._fetch("count_of_creator", creator, LIST_COUNT_MAX)
        return [records.token(row) for row in rows], counted[0]["count"]

    async def holders(self, token: bytes, *, page: int, limit: int) -> list[Holder]:
        """The largest first; the launchpad and the pair are not counted."""
        rows = await self._fetch("holders", token, *_window(page, limit))
        return [Holder(row["holder"], row["balance"], row["first_buy"]) for row in rows]

    async def trades(
        self, limit: int, before: tuple[int, int, int] | None = None
    ) -> list[TransactionRecord]:
        """Everybody's buys and sells, newest first; `before` as of `Reads.transactions`."""
        rows = await self._fetch("trades", *(before or _AFTER_ALL), min(limit, PAGE_LIMIT_MAX))
        return [records.transaction(row) for row in rows]

    async def traders(self, *, page: int, limit: int) -> tuple[list[Trader], int]:
        """By realised profit, and their number (to LIST_COUNT_MAX at most)."""
        rows = await self._fetch("traders", *_window(page, limit))
        counted = await self._fetch("count_traders", LIST_COUNT_MAX)
        found = [
            Trader(row["trader"], row["realised_wei"], row["volume_wei"], row["tokens"])
            for row in rows
        ]
        return found, counted[0]["count"]

    async def stats(self, name: str) -> Any:
        """A document of the analytics role (`overview`, `creators`); None before the first."""
        rows = await self._fetch("stats", name)
        return orjson.loads(rows[0]["value"]) if rows else None

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        if self._primary is None:
            return await self._read(self._replica, query, *arguments)
        if self._clock() >= self._asked_again_at:
            try:
                return await self._read(self._replica, query, *arguments)
            except TransientError:
                self._asked_again_at = self._clock() + RETRY_S
        return await self._read(self._primary, query, *arguments)

    async def _read(self, pool: "Pool", query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with postgres.session(pool) as connection:
            return await connection.fetch(_SQL[query], self._chain_id, *arguments)


def _window(page: int, limit: int) -> tuple[int, int]:
    limit = min(limit, PAGE_LIMIT_MAX)
    skip = (page - 1) * limit
    return (limit, skip) if skip < LIST_COUNT_MAX else (0, 0)
