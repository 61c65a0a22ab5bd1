"""Rows of blocks as columns of statements: how `EventStore.write` fills Postgres.

One array a column keeps a block of 500 trades at about ten statements. The order below is
the order of foreign keys: users, tokens, what hangs on them, then the markets' last state.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from engine import codec
from engine.basis import NO_BASIS, Basis
from engine.messages import ChainEvent, EventHeader, Transferred
from engine.rows import BlockRows, CandleRow, MarketRow, TokenRow, TransactionRow
from storage import queries

Columns = list[list[Any]]
_SQL = queries.load("write")
_GRADUATED = "graduated"

MARKET_UNITS = 10**36  # price is wei per whole token * 1e18, a whole token is 1e18 token-wei


@dataclass(frozen=True, slots=True)
class Statement:
    """`columns` may be empty, then nothing is sent. `complete`: every row must find its token,
    or be new.

    `keyed` statements take the chain's id before their columns.
    """

    name: str
    columns: Callable[[Sequence[BlockRows]], Columns]
    complete: bool = False
    keyed: bool = True

    @property
    def sql(self) -> str:
        """Its text in `write.sql`."""
        return _SQL[self.name]


def fold(text: str) -> str:
    """The spelling that search compares: compatibility forms and case folded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def merge_candles(candles: Sequence[CandleRow]) -> list[CandleRow]:
    """One candle per token and minute, of candles in the order of their blocks."""
    merged: dict[tuple[bytes, int], CandleRow] = {}
    for candle in candles:
        known = merged.get((candle.token, candle.time))
        merged[candle.token, candle.time] = _merge(known, candle) if known else candle
    return list(merged.values())


def _merge(first: CandleRow, later: CandleRow) -> CandleRow:
    return replace(
        first,
        high=max(first.high, later.high),
        low=min(first.low, later.low),
        close=later.close,
        volume_eth=first.volume_eth + later.volume_eth,
        volume_token=first.volume_token + later.volume_token,
        trades=first.trades + later.trades,
    )


def event_payload(event: ChainEvent) -> str:
    """The event as JSON without its header, which is kept in columns."""
    return orjson.dumps(
        {name: codec.encode(getattr(event, name)) for name in _payload_fields(type(event))}
    ).decode()


def _payload_fields(kind: type) -> Iterator[str]:
    return (name for name in kind.__slots__ if name != "at")  # type: ignore[attr-defined]


def _columns(rows: Sequence[Sequence[Any]]) -> Columns:
    return [list(column) for column in zip(*rows, strict=True)]


def _blocks(blocks: Sequence[BlockRows]) -> Columns:
    return _columns(
        [
            (header.number, header.hash, header.parent_hash, header.timestamp)
            for header in (block.header for block in blocks)
        ]
    )


def _users(blocks: Sequence[BlockRows]) -> Columns:
    wallets = {wallet for block in blocks for wallet in block.users}
    wallets.update(token.creator for block in blocks for token in block.tokens)
    wallets.update(row.user for block in blocks for row in block.transactions)
    # Sorted: two writers that insert the same wallets must lock them in one order.
    return [sorted(wallets)] if wallets else []


def _tokens(blocks: Sequence[BlockRows]) -> Columns:
    return _columns([_token(token) for block in blocks for token in block.tokens])


def _token(row: TokenRow) -> tuple[Any, ...]:
    at, curve, fees = row.at, row.curve, row.fees
    supply = curve.curve_supply + curve.pool_supply
    return (
        row.version,
        row.token,
        row.bucket,
        row.launchpad,
        row.creator,
        row.pair,
        row.name,
        row.symbol,
        fold(row.name),
        fold(row.symbol),
        row.metadata_hash,
        *(at.tx_hash, at.block_number, at.tx_index, at.log_index, at.block_time),
        *(row.curve_id, curve.family, curve.a, curve.b, curve.curve_supply, curve.pool_supply),
        *(fees.protocol_bps, fees.creator_bps, fees.launch_bps, fees.launch_blocks),
        *(fees.pool_protocol_bps, fees.pool_creator_bps),
        row.initial_price_e18,
        row.initial_price_e18 * supply // MARKET_UNITS,
    )


def _events(blocks: Sequence[BlockRows]) -> Columns:
    return _columns(
        [
            _event(event)
            for block in blocks
            for event in block.events
            if not isinstance(event, Transferred)
        ]
    )


def _event(event: Any) -> tuple[Any, ...]:
    at: EventHeader = event.at
    return (
        *(at.tx_hash, at.position, at.version, at.block_number, at.block_hash, at.block_time),
        *(at.tx_index, at.log_index, at.emitter),
        type(event).__name__,
        getattr(event, "token", None),
        getattr(event, "event_seq", None),
        event_payload(event),
    )


def _transactions(blocks: Sequence[BlockRows]) -> Columns:
    return _columns([_transaction(row) for block in blocks for row in block.transactions])


def _transaction(row: TransactionRow) -> tuple[Any, ...]:
    at = row.at
    return (
        *(at.tx_hash, at.position, at.version, at.block_number, at.tx_index, at.log_index),
        at.block_time,
        *(row.token or None, row.user, row.recipient, row.type),
        *(row.eth_amount, row.token_amount, row.price_e18, row.protocol_fee, row.creator_fee),
        *(row.venue, row.tag or None),
        *((row.before.held, row.before.cost_wei) if row.before else (None, None)),
    )


def _positions(blocks: Sequence[BlockRows]) -> Columns:
    found: dict[tuple[int, bytes, bytes], _Traded] = {}
    for row in (row for block in blocks for row in block.transactions):
        if row.after is None:
            continue
        key = (row.at.version, row.token, row.user)
        traded = found.get(key) or found.setdefault(key, _Traded())
        traded.add(row, row.after)
    return _columns([(*key, *traded.columns()) for key, traded in found.items()])


@dataclass(slots=True)
class _Traded:
    trades: int = 0
    bought_tokens: int = 0
    sold_tokens: int = 0
    spent_wei: int = 0
    received_wei: int = 0
    after: Basis = NO_BASIS
    block: int = -1

    def add(self, row: TransactionRow, after: Basis) -> None:
        eth_wei, tokens = row.eth_amount or 0, row.token_amount or 0
        if row.type == "BUY":
            self.bought_tokens += tokens
            self.spent_wei += eth_wei
        else:
            self.sold_tokens += tokens
            self.received_wei += eth_wei
        self.trades += 1
        self.after, self.block = after, row.at.block_number

    def columns(self) -> tuple[int, ...]:
        return (
            *(self.trades, self.bought_tokens, self.sold_tokens, self.spent_wei),
            *(self.received_wei, self.after.held, self.after.cost_wei, self.block),
        )


def _transaction_hashes(blocks: Sequence[BlockRows]) -> Columns:
    hashes = {row.at.tx_hash for block in blocks for row in block.transactions}
    return [list(hashes)] if hashes else []


def _transfers(blocks: Sequence[BlockRows]) -> Columns:
    return _columns(
        [
            (
                *(row.at.tx_hash, row.at.position, row.at.version, row.at.block_number),
                *(row.at.block_hash, row.at.block_time, row.at.tx_index, row.at.log_index),
                *(row.token, row.sender, row.recipient, row.amount),
            )
            for block in blocks
            for row in block.transfers
        ]
    )


def _candles(blocks: Sequence[BlockRows]) -> Columns:
    return candle_columns([candle for block in blocks for candle in block.candles])


def candle_columns(candles: Sequence[CandleRow]) -> Columns:
    """Columns of the candles statement, of candles in the order of their blocks."""
    return _columns(
        [
            (
                *(row.token, row.time, row.open, row.high, row.low, row.close),
                *(row.volume_eth, row.volume_token, row.trades),
            )
            for row in merge_candles(candles)
        ]
    )


def _markets(blocks: Sequence[BlockRows]) -> Columns:
    last: dict[bytes, MarketRow] = {}
    graduated: dict[bytes, int] = {}
    for block in blocks:
        for row in block.markets:
            last[row.token] = row
            if row.phase == _GRADUATED:
                # The first one counts: later blocks of the pool must not make it younger.
                graduated.setdefault(row.token, block.header.timestamp)
    return market_columns(last.values(), graduated)


def market_columns(rows: Iterable[MarketRow], graduated: Mapping[bytes, int]) -> Columns:
    """Columns of the markets statement; `graduated` is token → time of its graduation."""
    return _columns(
        [
            (
                *(row.token, row.phase, row.sold, row.raised, row.seq, row.price_e18),
                *(row.market_cap_wei, row.reserve_token, row.reserve_weth),
                graduated.get(row.token),
            )
            for row in rows
        ]
    )


def outbox_columns(blocks: Sequence[BlockRows]) -> Columns:
    """Columns of the outbox statement, which also takes the cursor's name."""
    return _columns(
        [
            (
                *(row.key, row.topic, row.token or None, block.header.number),
                orjson.dumps(row.payload).decode(),
            )
            for block in blocks
            for row in block.outbox
        ]
    )


STATEMENTS: tuple[Statement, ...] = (
    Statement("blocks", _blocks, complete=True),
    Statement("users", _users, keyed=False),
    Statement("tokens", _tokens),
    Statement("events", _events),
    Statement("transactions", _transactions, complete=True),
    Statement("positions", _positions, complete=True),
    Statement("replace_pending", _transaction_hashes),
    Statement("transfers", _transfers),
    Statement("candles", _candles, complete=True),
    Statement("markets", _markets, complete=True),
)
