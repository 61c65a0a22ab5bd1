"""A reorganisation in Postgres: everything above the ancestor is taken back, at once.

The cases, in the order of the code: fenced, nothing to take back (the cursor stands at the
ancestor), too deep (below what is final), another ancestor than the one recorded, and the
rewind. Afterwards each table holds what a history of the blocks up to the ancestor holds:
rows of blocks are deleted, sums are lessened by what was deleted, a basis is what the first
deleted trade had before it, and what else only keeps its last value (markets, the candle of the
ancestor's minute) is made again from the remaining events by the code that made it,
`engine.history`.

Two things stay as they are. `users` are wallets that were seen, and others' rows may rest on
them. A balance of a wallet that is all zero is removed, also where an older transfer was its
cause: a row of zeros and no row mean the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from engine import history
from engine.candle import MINUTE_S, minute_of
from engine.errors import ConsistencyError
from engine.messages import (
    Block,
    BlockHeader,
    CurveNumbers,
    FeedPosition,
    Graduated,
    MarketEvent,
    TokenCreated,
)
from engine.rows import BlockRows, CandleRow, MarketRow
from storage import copying, queries, records, write
from storage.statements import Columns

if TYPE_CHECKING:
    from storage.postgres import Connection

_SQL = queries.load("rewind")
_WRITE_SQL = queries.load("write")
_TIME_MAX = 2**62

# Rows of blocks, then tokens with what hangs on them, in the order of foreign keys.
_DELETIONS = (
    "events_of_tokens",
    "other_events",
    "outbox",
    "snapshots",
    "blocks",
    "candles_of_tokens",
    "balances_of_tokens",
    "orders_of_tokens",
    "markets_of_tokens",
    "tokens",
)


async def rewind(
    connection: "Connection",
    chain_id: int,
    ancestor: FeedPosition,
    *,
    incarnation: int,
    name: str,
) -> bool:
    """Takes back the blocks above `ancestor`, inside the caller's transaction.

    False: fenced. Raises ConsistencyError, `reorg_too_deep` when a finalised block would be
    taken back, `reorg_unknown_ancestor` when `ancestor` is not a recorded block.
    """
    cursor = await connection.fetchrow(_WRITE_SQL["lock_cursor"], chain_id, name, incarnation)
    if cursor is None:
        return False
    known = records.position(cursor)
    if known == ancestor:
        return True
    _check_depth(ancestor, cursor["finalised_number"])
    time = await _block_time(connection, chain_id, ancestor=ancestor, known=known)
    undo = _Undo(connection, chain_id, ancestor.number)
    touched = {row["token_address"]: row["block_time"] for row in await undo.fetch("touched")}
    await _take_back(undo)
    await undo.run("receipts", time)
    minute = minute_of(time)
    await undo.run("later_candles", minute)
    await _remake_markets(undo, list(touched))
    cut = [token for token, first in touched.items() if first < minute + MINUTE_S]
    await _remake_candles(undo, cut, minute)
    await undo.run("move_cursor", name, ancestor.number, ancestor.hash, time)
    return True


class _Undo:
    def __init__(self, connection: "Connection", chain_id: int, ancestor: int) -> None:
        self._connection = connection
        self.chain_id = chain_id
        self.ancestor = ancestor

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        values = arguments or (self.ancestor,)
        rows: list[Any] = await self._connection.fetch(_SQL[query], self.chain_id, *values)
        return rows

    async def run(self, query: str, *arguments: Any) -> None:
        values = arguments or (self.ancestor,)
        await self._connection.execute(_SQL[query], self.chain_id, *values)

    async def write(self, statement: str, columns: Columns) -> None:
        if columns:
            arrays = map(copying.array, columns)
            await self._connection.execute(_WRITE_SQL[statement], self.chain_id, *arrays)

    async def events(self, query: str, *arguments: Any) -> list[MarketEvent]:
        rows = await self.fetch(query, *arguments)
        return [records.market_event(row, self.chain_id) for row in rows]


def _check_depth(ancestor: FeedPosition, finalised: int) -> None:
    if ancestor.number < finalised:
        raise ConsistencyError(
            "reorg_too_deep",
            f"Expected an ancestor at or above the final block {finalised}, was {ancestor.number}",
        )


async def _block_time(
    connection: "Connection", chain_id: int, *, ancestor: FeedPosition, known: FeedPosition
) -> int:
    if ancestor == records.NO_POSITION:
        return 0
    row = await connection.fetchrow(_SQL["stored_block"], chain_id, ancestor.number)
    if row is None or row["hash"] != ancestor.hash or ancestor.number > known.number:
        raise ConsistencyError(
            "reorg_unknown_ancestor",
            f"Expected a block recorded up to {known.number}, was {ancestor.number}"
            f" {ancestor.hash.hex()}; recorded is {row['hash'].hex() if row else 'none'}",
        )
    return int(row["block_time"])


async def _take_back(undo: _Undo) -> None:
    holders = [*await undo.fetch("transfers"), *await undo.fetch("transactions")]
    if holders:
        columns = [list(column) for column in zip(*holders, strict=True)]
        await undo.run("empty_balances", *columns)
    for deletion in _DELETIONS:
        await undo.run(deletion)


async def _remake_markets(undo: _Undo, tokens: Sequence[bytes]) -> None:
    # The last event of each kind is enough: a market's state is in its newest trade, its
    # phase in the newest of the others, and a launch makes the token known.
    events = await undo.events("last_of_each_kind", list(tokens), records.KINDS, _TIME_MAX)
    if events:
        markets = _rows(events, {}, {}).markets
        graduated = {
            event.token: event.at.block_time for event in events if isinstance(event, Graduated)
        }
        versions = _versions(events)
        await undo.write("markets", write.market_columns(markets, graduated, versions))


async def _remake_candles(undo: _Undo, tokens: Sequence[bytes], minute: int) -> None:
    await undo.run("partial_candles", minute, list(tokens))
    before = await undo.events("last_of_each_kind", list(tokens), records.KINDS, minute)
    inside = await undo.events("events_since", list(tokens), records.KINDS, minute)
    if not inside:
        return
    curves = {e.token: e.curve for e in (*before, *inside) if isinstance(e, TokenCreated)}
    states: dict[bytes, MarketRow] = {}
    candles: list[CandleRow] = []
    if before:
        states = {row.token: row for row in _rows(before, curves, states).markets}
    for _, block in groupby(inside, lambda event: event.at.block_number):
        rows = _rows(list(block), curves, states)
        states.update({row.token: row for row in rows.markets})
        candles += rows.candles
    await undo.write("candles", write.candle_columns(candles, _versions(inside)))


def _versions(events: Iterable[MarketEvent]) -> dict[bytes, int]:
    return {event.token: event.at.version for event in events}


def _rows(
    events: Sequence[MarketEvent],
    curves: Mapping[bytes, CurveNumbers],
    states: Mapping[bytes, MarketRow],
) -> BlockRows:
    at = events[-1].at
    header = BlockHeader(
        at.chain_id, at.block_number, at.block_hash or bytes(32), bytes(32), at.block_time
    )
    return history.rows_of(Block(header, tuple(events)), curves, states, venues=frozenset())
