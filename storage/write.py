"""Rows of blocks as columns of statements: how `EventStore.write` fills Postgres.

Rows that are new for certain are copied in; what is merged with rows that are there goes as one
array a column. So a block of 500 trades is about ten statements, and each row of a market or of
a position is changed once. The order below is that of who refers to whom: users, tokens, what
hangs on them, then the markets' last state.

Tables of trades have no foreign keys: checked row by row they cost a third of a write. `Group`
holds every token that its rows name instead, and is not made without one of them.
"""

import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, islice
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from curves.values import names_of
from engine import codec
from engine.errors import ConsistencyError
from engine.messages import ChainEvent, EventHeader, Transferred
from engine.positions import Change
from engine.rows import BlockRows, CandleRow, Launched, MarketRow, TokenRow, TransactionRow
from storage import copying, queries

if TYPE_CHECKING:
    from storage.postgres import Connection

Columns = list[list[Any]]
_SQL = queries.load("write")
_GRADUATED = "graduated"

COPY_ROWS = 100
"""In one message of a copy: enough that a message costs nothing beside its rows."""

MARKET_UNITS = 10**36  # price is wei per whole token * 1e18, a whole token is 1e18 token-wei


@dataclass(frozen=True, slots=True)
class Group:
    """What is written at once: blocks, what they change in positions, and the tokens of both."""

    blocks: Sequence[BlockRows]
    changes: Sequence[Change] = ()
    launched: Mapping[bytes, Launched] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """`columns` may be empty, then nothing is sent. `complete`: every row must find its token,
    or be new.

    `keyed` statements take the chain's id before their columns.
    """

    name: str
    columns: Callable[[Group], Columns]
    complete: bool = False
    keyed: bool = True

    @property
    def sql(self) -> str:
        """Its text in `write.sql`."""
        return _SQL[self.name]

    async def run(self, connection: "Connection", chain_id: int, group: Group) -> None:
        """Raises ConsistencyError when rows do not fit what is stored."""
        columns = self.columns(group)
        if columns:
            key = (chain_id,) if self.keyed else ()
            tag = await connection.execute(self.sql, *key, *map(copying.array, columns))
            written, expected = int(tag.rsplit(" ", 1)[1]), len(columns[0])
            if self.complete and written != expected:
                raise ConsistencyError(
                    "inconsistent_history",
                    f"Expected {expected} {self.name} that fit what is stored, was {written}",
                )


@dataclass(frozen=True, slots=True)
class Copy:
    """New rows of table `name`, whose `fields` are the chain's id and then what `rows` gives. One
    that is there already is an error.
    """

    name: str
    fields: str
    rows: Callable[[Group], Iterator[Sequence[Any]]]

    async def run(self, connection: "Connection", chain_id: int, group: Group) -> None:
        """Raises IntegrityConstraintViolationError."""
        rows = self.rows(group)
        first = next(rows, None)
        if first is not None:
            rows = chain((first,), rows)
            await connection.copy_to_table(
                self.name, source=_chunks(chain_id, rows), columns=self.fields.split()
            )


async def _chunks(chain_id: int, rows: Iterable[Sequence[Any]]) -> AsyncIterator[bytes]:
    # Postgres takes in one part while the next is spelled: the two are on processors of their own.
    waiting = iter(rows)
    while part := [(chain_id, *row) for row in islice(waiting, COPY_ROWS)]:
        yield copying.text(part)


def named(blocks: Iterable[BlockRows]) -> Iterator[tuple[bytes, int]]:
    """(token, version of its launchpad) as often as rows of the blocks name it."""
    for block in blocks:
        for row in (*block.transactions, *block.transfers, *block.events):
            token = getattr(row, "token", b"")
            if token:
                yield token, row.at.version


def tokens_of(blocks: Sequence[BlockRows]) -> set[bytes]:
    """The tokens that rows of the blocks name, those of markets and candles too."""
    tokens = {token for token, _ in named(blocks)}
    for block in blocks:
        tokens.update(row.token for row in block.markets)
        tokens.update(row.token for row in block.candles)
    return tokens


def group_of(
    blocks: Sequence[BlockRows], changes: Sequence[Change], known: Mapping[bytes, Launched]
) -> Group:
    """Raises ConsistencyError when a row names a token that is neither `known` nor launched in
    these blocks, or names another launchpad's.
    """
    launched = dict(known)
    for row in (row for block in blocks for row in block.tokens):
        launched[row.token] = Launched(row.version, row.bucket, row.launchpad, row.pair)
    for token, version in named(blocks):
        if token not in launched or launched[token].version != version:
            raise ConsistencyError(
                "inconsistent_history",
                f"Expected token {token.hex()} of version {version} to be recorded",
            )
    for token in tokens_of(blocks) - launched.keys():
        raise ConsistencyError(
            "inconsistent_history", f"Expected token {token.hex()} to be recorded"
        )
    return Group(blocks, changes, launched)


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
    kind: Any = type(event)
    names, values_of = _payload_fields(kind)
    # Fields are plain but for a few: without a call of `encode` for each, in a third of the time.
    plain, encode = codec.PLAIN.get, codec.encode
    spelled = [plain(type(value), encode)(value) for value in values_of(event)]
    return orjson.dumps(dict(zip(names, spelled, strict=True))).decode()


@cache
def _payload_fields(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(name for name in names_of(kind) if name != "at")
    return names, attrgetter(*names)


def _columns(rows: Sequence[Sequence[Any]]) -> Columns:
    return [list(column) for column in zip(*rows, strict=True)]


def _blocks(group: Group) -> Columns:
    return _columns(
        [
            (header.number, header.hash, header.parent_hash, header.timestamp)
            for header in (block.header for block in group.blocks)
        ]
    )


def _users(group: Group) -> Columns:
    blocks = group.blocks
    wallets = {wallet for block in blocks for wallet in block.users}
    wallets.update(token.creator for block in blocks for token in block.tokens)
    wallets.update(row.user for block in blocks for row in block.transactions)
    # Sorted: two writers that insert the same wallets must lock them in one order.
    return [sorted(wallets)] if wallets else []


def _tokens(group: Group) -> Columns:
    return _columns([_token(token) for block in group.blocks for token in block.tokens])


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


_EVENT_FIELDS = """
chain_id tx_hash position version block_number block_hash block_time tx_index log_index emitter
kind token_address event_seq payload bucket
"""


def _events(group: Group) -> Iterator[tuple[Any, ...]]:
    return (
        (*_event(event), _bucket(group, event))
        for block in group.blocks
        for event in block.events
        if not isinstance(event, Transferred)
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


def _bucket(group: Group, event: Any) -> int | None:
    token = getattr(event, "token", None)
    return group.launched[token].bucket if token else None


_TRANSACTION_FIELDS = """
chain_id tx_hash position version block_number tx_index log_index block_time token_address
user_address recipient type eth_amount token_amount price_e18 protocol_fee creator_fee venue tag
held_before cost_before status
"""


def _transactions(group: Group) -> Iterator[tuple[Any, ...]]:
    return (_transaction(row) for block in group.blocks for row in block.transactions)


def _transaction(row: TransactionRow) -> tuple[Any, ...]:
    at = row.at
    return (
        *(at.tx_hash, at.position, at.version, at.block_number, at.tx_index, at.log_index),
        at.block_time,
        *(row.token or None, row.user, row.recipient, row.type),
        *(row.eth_amount, row.token_amount, row.price_e18, row.protocol_fee, row.creator_fee),
        *(row.venue, row.tag or None),
        *((row.before.held, row.before.cost_wei) if row.before else (None, None)),
        "CONFIRMED",
    )


_TRANSFER_FIELDS = """
chain_id tx_hash position version block_number block_hash block_time tx_index log_index
token_address sender recipient amount
"""


def _transfers(group: Group) -> Iterator[tuple[Any, ...]]:
    return (
        (
            *(row.at.tx_hash, row.at.position, row.at.version, row.at.block_number),
            *(row.at.block_hash, row.at.block_time, row.at.tx_index, row.at.log_index),
            *(row.token, row.sender, row.recipient, row.amount),
        )
        for block in group.blocks
        for row in block.transfers
    )


def _transaction_hashes(group: Group) -> Columns:
    hashes = {row.at.tx_hash for block in group.blocks for row in block.transactions}
    return [list(hashes)] if hashes else []


def _balances(group: Group) -> Columns:
    return _columns(
        [
            (
                *one.place,
                *(one.balance, one.bought_tokens, one.sold_tokens, one.spent_wei),
                *(one.received_wei, one.basis.held, one.basis.cost_wei, one.block),
            )
            for one in group.changes
        ]
    )


def _candles(group: Group) -> Columns:
    candles = [candle for block in group.blocks for candle in block.candles]
    return candle_columns(candles, _versions(group))


def _versions(group: Group) -> dict[bytes, int]:
    return {token: one.version for token, one in group.launched.items()}


def candle_columns(candles: Sequence[CandleRow], versions: Mapping[bytes, int]) -> Columns:
    """Columns of the candles statement, of candles in the order of their blocks; `versions` are
    token → version of its launchpad.
    """
    return _columns(
        [
            (
                versions[row.token],
                *(row.token, row.time, row.open, row.high, row.low, row.close),
                *(row.volume_eth, row.volume_token, row.trades),
            )
            for row in merge_candles(candles)
        ]
    )


def _markets(group: Group) -> Columns:
    last: dict[bytes, MarketRow] = {}
    graduated: dict[bytes, int] = {}
    for block in group.blocks:
        for row in block.markets:
            last[row.token] = row
            if row.phase == _GRADUATED:
                # The first one counts: later blocks of the pool must not make it younger.
                graduated.setdefault(row.token, block.header.timestamp)
    return market_columns(last.values(), graduated, _versions(group), counts=_counts(group))


def _holders(group: Group) -> Columns:
    # Of tokens that were moved only: the others' go with their market's state.
    states = {row.token for block in group.blocks for row in block.markets}
    return _columns(
        [
            (group.launched[token].version, token, holders)
            for token, (_, holders) in _counts(group).items()
            if token not in states and holders
        ]
    )


def _counts(group: Group) -> dict[bytes, tuple[int, int]]:
    # Token → (trades, by how much its holders become more). Contracts of the market are none.
    found: dict[bytes, tuple[int, int]] = {}
    for change in group.changes:
        _, token, who = change.place
        launched = group.launched[token]
        joined = 0 if who in (launched.launchpad, launched.pair) else change.joined
        trades, holders = found.get(token, (0, 0))
        found[token] = trades + change.trades, holders + joined
    return found


def market_columns(
    rows: Iterable[MarketRow],
    graduated: Mapping[bytes, int],
    versions: Mapping[bytes, int],
    *,
    counts: Mapping[bytes, tuple[int, int]] = MappingProxyType({}),
) -> Columns:
    """Columns of the markets statement; `graduated` is token → time of its graduation, `versions`
    token → version of its launchpad, `counts` token → (trades, holders) that it has more than
    before.
    """
    return _columns(
        [
            (
                versions[row.token],
                *(row.token, row.phase, row.sold, row.raised, row.seq, row.price_e18),
                *(row.market_cap_wei, row.reserve_token, row.reserve_weth),
                graduated.get(row.token),
                *counts.get(row.token, (0, 0)),
            )
            for row in rows
        ]
    )


def outbox_columns(group: Group) -> Columns:
    """Columns of the outbox statement, which also takes the cursor's name."""
    return _columns(
        [
            (
                _version(group, row.token),
                *(row.key, row.topic, row.token or None, block.header.number),
                orjson.dumps(row.payload).decode(),
            )
            for block in group.blocks
            for row in block.outbox
        ]
    )


def _version(group: Group, token: bytes) -> int | None:
    # Work may be about something else than a token of ours.
    launched = group.launched.get(token)
    return launched.version if launched else None


STATEMENTS: tuple[Statement | Copy, ...] = (
    Statement("blocks", _blocks, complete=True),
    Statement("users", _users, keyed=False),
    Statement("tokens", _tokens),
    Copy("events", _EVENT_FIELDS, _events),
    Copy("transactions", _TRANSACTION_FIELDS, _transactions),
    Statement("replace_pending", _transaction_hashes),
    Copy("transfers", _TRANSFER_FIELDS, _transfers),
    Statement("balances", _balances, complete=True),
    Statement("candles", _candles, complete=True),
    Statement("markets", _markets, complete=True),
    Statement("holders", _holders, complete=True),
)
