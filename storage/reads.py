"""What the doors read, as of the recorder's cursor. Every plan is bounded by a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from engine.limits import CANDLES_MAX, LIST_COUNT_MAX, PAGE_LIMIT_MAX
from engine.messages import FeedPosition
from engine.rows import CandleRow, HoldingRecord, TokenRecord, TransactionRecord, WalletRecord
from storage import copying, postgres, queries, records
from storage.write import fold

if TYPE_CHECKING:
    from storage.postgres import Pool

_SQL = queries.load("reads")
_WRITE_SQL = queries.load("write")

# Trigrams need three letters; a shorter needle is looked for at the beginning.
_TRIGRAM_LETTERS = 3
_AFTER_ALL = (2**62, 2**31 - 1, 2**31 - 1)

# The whole order is turned for `asc`; the last columns make it total, so pages never overlap.
_ORDERS: dict[str, tuple[str, ...]] = {
    "created": ("tokens.block_number", "tokens.tx_index", "tokens.log_index"),
    "marketCap": ("markets.market_cap_wei", "markets.token_address"),
    "volume": ("token_stats.volume_24h", "token_stats.token_address"),
}
SORTS = frozenset(_ORDERS)


@dataclass(frozen=True, slots=True)
class Chart:
    """Candles, the close before them, and what history stood at: the time of the newest block
    (0 before any), and the revision under which rows of older blocks do not change.
    """

    rows: list[CandleRow]
    before: int | None
    recorded_time: int
    revision: str


@dataclass(frozen=True, slots=True)
class Wallet:
    """Rows of a wallet as of `block`. (`revision`, `changed_block`) names all of its rows;
    `realised_wei` is over all of them.
    """

    rows: list[HoldingRecord]
    block: int
    revision: str
    changed_block: int | None
    realised_wei: int


class Reads:
    """One chain's history for lists and pages. All methods raise TransientError
    (store_unavailable). A hidden token is as good as unknown.
    """

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def tokens(
        self,
        *,
        page: int,
        limit: int,
        search: str | None = None,
        sort_by: str = "created",
        order: str = "desc",
        graduated: bool | None = None,
    ) -> tuple[list[TokenRecord], int]:
        """Page `page` (from 1) and the number of all, counted to LIST_COUNT_MAX at most.

        `search` looks for a part of name or symbol, for their beginning below three letters,
        or for a whole address. `sort_by` is one of SORTS, `order` asc or desc.
        """
        where, values = _search(search)
        limit = min(limit, PAGE_LIMIT_MAX)
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(
                _list_query(sort_by, order, where=where + _phase(graduated)),
                self._chain_id,
                *_window(page, limit),
                *values,
            )
            total = await connection.fetchval(
                _count_query(where, graduated),
                self._chain_id,
                LIST_COUNT_MAX,
                0,
                *values,
            )
        return [records.token(row) for row in rows], total

    async def token(self, address: bytes) -> TokenRecord | None:
        """A token with its last recorded state."""
        rows = await self._fetch("token", address)
        return records.token(rows[0]) if rows else None

    async def transactions(
        self,
        token: bytes,
        *,
        page: int,
        limit: int,
        before: tuple[int, int, int] | None = None,
    ) -> tuple[list[TransactionRecord], int]:
        """Mined transactions, newest first, and their number (to LIST_COUNT_MAX at most).

        `before` is the (block_number, tx_index, log_index) of the last one seen; with it
        `page` does not count.
        """
        limit = min(limit, PAGE_LIMIT_MAX)
        take, skip = (limit, 0) if before else _window(page, limit)
        rows = await self._fetch("token_transactions", token, *(before or _AFTER_ALL), take, skip)
        counted = await self._fetch("count_token_transactions", token, LIST_COUNT_MAX)
        return [records.transaction(row) for row in rows], counted[0]["count"]

    async def transaction(self, tx_hash: bytes) -> list[TransactionRecord]:
        """The rows of one transaction in order; or the one that waits; or none."""
        return [records.transaction(row) for row in await self._fetch("transaction", tx_hash)]

    async def candles(
        self, token: bytes, *, start: int, end: int, step_s: int
    ) -> tuple[list[CandleRow], int | None]:
        """Candles of `step_s` seconds (a multiple of 60) in [`start`, `end`), oldest first, at
        most the newest CANDLES_MAX; steps without a trade are left out. Also the close before
        `start`, None when there is none.
        """
        found = await self.chart(token, start=start, end=end, step_s=step_s)
        return found.rows, found.before

    async def chart(self, token: bytes, *, start: int, end: int, step_s: int) -> Chart:
        """As `candles`, with what history stood at."""
        rows = await self._fetch("candles", token, start, end, step_s, CANDLES_MAX)
        first = rows[0]
        candles = [records.candle(row, token) for row in reversed(rows) if row["time"] is not None]
        revision = _revision(first["revision"])
        return Chart(candles, first["close_before"], first["recorded_time"] or 0, revision)

    async def holdings(self, owner: bytes, limit: int, *, closed: bool = False) -> WalletRecord:
        """The wallet's tokens, at most the `limit` most valuable by recorded price; `closed`
        adds those it has sold out of.
        """
        found = await self.wallet(owner, limit, closed=closed)
        return WalletRecord(found.rows, found.block, found.realised_wei)

    async def wallet(self, owner: bytes, limit: int, *, closed: bool) -> Wallet:
        """As `holdings`, with what names the rows."""
        rows = await self._fetch("holdings", owner, limit, closed)
        held = [records.holding(row) for row in rows if row["token_address"] is not None]
        return _wallet(rows[0], held, realised_wei=rows[0]["realised_wei"])

    async def wallet_place(self, owner: bytes) -> Wallet:
        """What would name the wallet's rows now, without them and their profit."""
        rows = await self._fetch("wallet", owner)
        return _wallet(rows[0], [], realised_wei=0)

    async def add_pending(
        self,
        *,
        tx_hash: bytes,
        user: bytes,
        token: bytes | None,
        type: str,
        eth_amount: int | None,
        token_amount: int | None,
    ) -> None:
        """Keeps a submitted transaction as PENDING until the recorder sees it. Repeatable, and
        harmless when it was mined already.
        """
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(_SQL["add_user"], user)
            await connection.execute(
                _SQL["add_pending"],
                self._chain_id,
                tx_hash,
                user,
                token,
                type,
                eth_amount,
                token_amount,
            )
            # Mined before it could be added: only its gas is wanted.
            mined = copying.array([tx_hash])
            await connection.execute(_WRITE_SQL["replace_pending"], self._chain_id, mined)

    async def refuse_pending(self, tx_hash: bytes, reason: str) -> None:
        """The node refused it: FAILED, unless it was mined all the same. Repeatable."""
        await self._fetch("refuse_pending", tx_hash, reason)

    async def ping(self) -> None:
        """Returns when Postgres answers."""
        async with postgres.session(self._pool) as connection:
            await connection.fetchval("SELECT 1")

    async def cursor(self) -> FeedPosition:
        """The block that everything here is as of; number -1 before any."""
        rows = await self._fetch("cursor")
        return records.position(rows[0] if rows else None)

    async def count_trades(self) -> int:
        """Buys and sells on record, counted row by row."""
        rows = await self._fetch("count_trades")
        return int(rows[0]["count"])

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with postgres.session(self._pool) as connection:
            return await connection.fetch(_SQL[query], self._chain_id, *arguments)


def _wallet(row: asyncpg.Record, rows: list[HoldingRecord], *, realised_wei: int) -> Wallet:
    block = -1 if row["block_number"] is None else row["block_number"]
    revision = _revision(row["revision"])
    return Wallet(rows, block, revision, row["changed_block"], realised_wei)


def _revision(value: Any) -> str:
    return "" if value is None else str(value)


def _window(page: int, limit: int) -> tuple[int, int]:
    skip = (page - 1) * limit
    # Past the bound nothing is listed, so that no page costs more than LIST_COUNT_MAX rows.
    return (limit, skip) if skip < LIST_COUNT_MAX else (0, 0)


def _list_query(sort_by: str, order: str, *, where: str = "") -> str:
    columns = _ORDERS[sort_by]
    direction = {"asc": "ASC", "desc": "DESC"}[order]
    query = _SQL["list_tokens"]
    if sort_by == "volume":
        # Every token has its row soon after its launch; so the index gives the order.
        query = query.replace("LEFT JOIN token_stats", "JOIN token_stats")
    return query.replace("{filter}", where).replace("{order}", _order(columns, direction))


def _count_query(where: str, graduated: bool | None) -> str:
    if graduated is None:
        return _SQL["count_tokens"].replace("{filter}", where)
    name = "count_found_of_phase" if where else "count_of_phase"
    return _SQL[name].replace("{filter}", where + _phase(graduated))


def _order(columns: Sequence[str], direction: str) -> str:
    return ", ".join(f"{column} {direction}" for column in columns)


def _search(search: str | None) -> tuple[str, list[Any]]:
    needle = fold(search.replace("\0", "").strip()) if search else ""
    address = _address(needle)
    if address:
        return " AND tokens.token_address = $4", [address]
    if needle:
        return " AND (tokens.name_key LIKE $4 OR tokens.symbol_key LIKE $4)", [_like(needle)]
    return "", []


def _phase(graduated: bool | None) -> str:
    if graduated is None:
        return ""
    phases = "'graduated'" if graduated else "'curve', 'graduating', 'reopened'"
    return f" AND markets.phase IN ({phases})"


def _address(text: str) -> bytes | None:
    if len(text) != 42 or not text.startswith("0x"):
        return None
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return None


def _like(needle: str) -> str:
    escaped = needle.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%" if len(needle) >= _TRIGRAM_LETTERS else f"{escaped}%"
