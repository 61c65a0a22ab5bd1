"""Rows of blocks as columns of statements: how `EventStore.write` fills Postgres.

Rows that are new for certain are copied in; what is merged with rows that are there goes as one
array a column. So a block of 500 trades is about ten statements, and each row of a market or of
a position is changed once. The order below is that of who refers to whom: users, tokens, what
hangs on them, then the markets' last state. What needs the positions comes after what does not:
they are settled while Postgres takes that.

Tables of trades have no foreign keys: checked row by row they cost a third of a write. `Group`
holds every token that its rows name instead, and is not made without one of them.
"""

import unicodedata
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from functools import cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import orjson

from curves.values import names_of
from engine import codec
from engine.errors import ConsistencyError
from engine.messages import ChainEvent, EventHeader, Traded, Transferred
from engine.positions import Change, Held, Place
from engine.rows import (
    BlockRows,
    CandleRow,
    Launched,
    MarketRow,
    TokenRow,
    TransactionRow,
    TransferRow,
)
from storage import copying
from storage.statements import Columns, Copy, Group, Statement

_GRADUATED = "graduated"

MARKET_UNITS = 10**36  # price is wei per whole token * 1e18, a whole token is 1e18 token-wei


def named(blocks: Iterable[BlockRows]) -> set[tuple[bytes, int]]:
    """(token, version of its launchpad) that rows of the blocks name."""
    found: set[tuple[bytes, int]] = set()
    for block in blocks:
        found.update([(row.token, row.at.version) for row in block.transactions if row.token])
        found.update([(row.token, row.at.version) for row in block.transfers])
        for event in block.events:
            token = getattr(event, "token", b"")
            if token:
                found.add((token, event.at.version))
    return found


def tokens_of(blocks: Sequence[BlockRows]) -> set[bytes]:
    """The tokens that rows of the blocks name, those of markets and candles too."""
    return {token for token, _ in named(blocks)} | _with_a_state(blocks)


def _with_a_state(blocks: Iterable[BlockRows]) -> set[bytes]:
    markets = {row.token for block in blocks for row in block.markets}
    return markets | {row.token for block in blocks for row in block.candles}


def group_of(
    blocks: Sequence[BlockRows],
    held: Mapping[Place, Held],
    known: Mapping[bytes, Launched],
    *,
    finalised: int,
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
    for token in _with_a_state(blocks) - launched.keys():
        raise ConsistencyError(
            "inconsistent_history", f"Expected token {token.hex()} to be recorded"
        )
    return Group(blocks, held, launched, finalised)


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
    if isinstance(event, Traded):
        return _traded_payload(event)
    kind: Any = type(event)
    names, values_of = _payload_fields(kind)
    # Fields are plain but for a few: without a call of `encode` for each, in a third of the time.
    plain, encode = codec.PLAIN.get, codec.encode
    spelled = [plain(type(value), encode)(value) for value in values_of(event)]
    return orjson.dumps(dict(zip(names, spelled, strict=True))).decode()


def _traded_payload(one: Traded) -> str:
    # Most of what is recorded: as the others, in a third of the time.
    return (
        f'{{"event_seq":"{one.event_seq}","seq":"{one.seq}","token":"{one.token.hex()}",'
        f'"trader":"{one.trader.hex()}","recipient":"{one.recipient.hex()}",'
        f'"is_buy":{_JSON[one.is_buy]},"exact_out":{_JSON[one.exact_out]},"venue":"{one.venue}",'
        f'"tag":"{one.tag.hex()}","requested":"{one.requested}","tokens":"{one.tokens}",'
        f'"curve_eth":"{one.curve_eth}","protocol_fee":"{one.protocol_fee}",'
        f'"creator_fee":"{one.creator_fee}","launch_fee":"{one.launch_fee}",'
        f'"refund":"{one.refund}","sold":"{one.sold}","raised":"{one.raised}",'
        f'"clipped":{_JSON[one.clipped]}}}'
    )


_JSON = {True: "true", False: "false"}


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


def _events(chain_id: int, group: Group) -> Iterator[str]:
    return (
        _event(chain_id, group, event)
        for block in group.blocks
        for event in block.events
        if not isinstance(event, Transferred)
    )


def _event(chain_id: int, group: Group, event: Any) -> str:
    at: EventHeader = event.at
    assert at.block_hash is not None, "Expected a sealed event"
    whose: tuple[Any, ...] = (copying.NULL, copying.NULL)
    token = getattr(event, "token", None)
    if token:
        whose = (rf"\\x{token.hex()}", group.launched[token].bucket)
    seq = getattr(event, "event_seq", copying.NULL)
    payload = event_payload(event)
    if "\\" in payload:  # JSON has no other character that a row would take for its own
        payload = copying.escaped(payload)
    return (
        f"{chain_id}\t\\\\x{at.tx_hash.hex()}\t{at.position}\t{at.version}\t{at.block_number}"
        f"\t\\\\x{at.block_hash.hex()}\t{at.block_time}\t{at.tx_index}\t{at.log_index}"
        f"\t\\\\x{at.emitter.hex()}\t{type(event).__name__}\t{whose[0]}\t{seq}\t{payload}"
        f"\t{whose[1]}"
    )


_TRANSACTION_FIELDS = """
chain_id tx_hash position version block_number tx_index log_index block_time token_address
user_address recipient type eth_amount token_amount price_e18 protocol_fee creator_fee venue tag
held_before cost_before status
"""


def _transactions(chain_id: int, group: Group) -> Iterator[str]:
    blocks, _ = group.settled
    return (_transaction(chain_id, row) for block in blocks for row in block.transactions)


def _transaction(chain_id: int, row: TransactionRow) -> str:
    at, no = row.at, copying.NULL
    token = rf"\\x{row.token.hex()}" if row.token else no
    eth = no if row.eth_amount is None else row.eth_amount
    tokens = no if row.token_amount is None else row.token_amount
    price = no if row.price_e18 is None else row.price_e18
    tag = rf"\\x{row.tag.hex()}" if row.tag else no
    held, cost = (row.before.held, row.before.cost_wei) if row.before else (no, no)
    return (
        f"{chain_id}\t\\\\x{at.tx_hash.hex()}\t{at.position}\t{at.version}\t{at.block_number}"
        f"\t{at.tx_index}\t{at.log_index}\t{at.block_time}\t{token}\t\\\\x{row.user.hex()}"
        f"\t\\\\x{row.recipient.hex()}\t{row.type}\t{eth}\t{tokens}\t{price}"
        f"\t{row.protocol_fee}\t{row.creator_fee}\t{row.venue}\t{tag}\t{held}\t{cost}\tCONFIRMED"
    )


_TRANSFER_FIELDS = """
chain_id tx_hash position version block_number block_hash block_time tx_index log_index
token_address sender recipient amount
"""


def _transfers(chain_id: int, group: Group) -> Iterator[str]:
    return (_transfer(chain_id, row) for block in group.blocks for row in block.transfers)


def _transfer(chain_id: int, row: TransferRow) -> str:
    at = row.at
    assert at.block_hash is not None, "Expected a sealed transfer"
    return (
        f"{chain_id}\t\\\\x{at.tx_hash.hex()}\t{at.position}\t{at.version}\t{at.block_number}"
        f"\t\\\\x{at.block_hash.hex()}\t{at.block_time}\t{at.tx_index}\t{at.log_index}"
        f"\t\\\\x{row.token.hex()}\t\\\\x{row.sender.hex()}\t\\\\x{row.recipient.hex()}"
        f"\t{row.amount}"
    )


def _transaction_hashes(group: Group) -> Columns:
    hashes = {row.at.tx_hash for block in group.blocks for row in block.transactions}
    return [list(hashes)] if hashes else []


_BALANCE_FIELDS = """
chain_id version token_address holder balance bought_tokens sold_tokens spent_wei received_wei
held_tokens cost_wei changed_block first_buy
"""


def _new_balances(chain_id: int, group: Group) -> Iterator[str]:
    _, changes = group.settled
    return (copying.line((chain_id, *_balance(one))) for one in changes if one.is_new)


def _balances(group: Group) -> Columns:
    _, changes = group.settled
    return _columns([_balance(one) for one in changes if not one.is_new])


def _balance(one: Change) -> tuple[Any, ...]:
    return (
        *one.place,
        *(one.balance, one.bought_tokens, one.sold_tokens, one.spent_wei, one.received_wei),
        *(one.basis.held, one.basis.cost_wei, one.block, one.first_buy),
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
    return market_columns(last.values(), graduated, _versions(group), counts=group.counts)


def _holders(group: Group) -> Columns:
    # Of tokens that were moved only: the others' go with their market's state.
    states = {row.token for block in group.blocks for row in block.markets}
    return _columns(
        [
            (group.launched[token].version, token, holders)
            for token, (_, holders) in group.counts.items()
            if token not in states and holders
        ]
    )


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


_OUTBOX_FIELDS = "chain_id version key topic token_address block_number payload visible_at"


def _outbox(chain_id: int, group: Group) -> Iterator[str]:
    return (
        copying.line(
            (
                *(chain_id, _version(group, row.token)),
                *(row.key, row.topic, row.token or None, block.header.number),
                orjson.dumps(row.payload).decode(),
                # A block may be final before it is recorded. Postgres takes the word for its clock.
                "now" if block.header.number <= group.finalised else None,
            )
        )
        for block in group.blocks
        for row in block.outbox
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
    Copy("transfers", _TRANSFER_FIELDS, _transfers),
    Copy("outbox", _OUTBOX_FIELDS, _outbox),
    Copy("transactions", _TRANSACTION_FIELDS, _transactions),
    Statement("replace_pending", _transaction_hashes),
    Copy("balances", _BALANCE_FIELDS, _new_balances),
    Statement("balances", _balances, complete=True),
    Statement("candles", _candles, complete=True),
    Statement("markets", _markets, complete=True),
    Statement("holders", _holders, complete=True),
)
