"""Database rows to the records and messages of `engine`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson

from curves.values import names_of
from engine import codec
from engine.basis import Basis
from engine.messages import (
    Completed,
    CurveNumbers,
    EventHeader,
    FeedPosition,
    FeeNumbers,
    Graduated,
    MarketEvent,
    PoolSwapped,
    PoolSynced,
    Reopened,
    TokenCreated,
    Traded,
    Transferred,
)
from engine.positions import Held, Identity, Place, Recorded
from engine.rows import (
    CandleRow,
    HoldingRecord,
    Launched,
    MarketRow,
    TokenRecord,
    TransactionRecord,
)

if TYPE_CHECKING:
    from asyncpg import Record

_MARKET = names_of(MarketRow)[1:]
_CANDLE = names_of(CandleRow)[1:]
NO_POSITION = FeedPosition(number=-1, hash=bytes(32))

_MARKET_EVENTS: dict[str, type[MarketEvent]] = {
    kind.__name__: kind
    for kind in (
        TokenCreated,
        Traded,
        Completed,
        Reopened,
        Graduated,
        PoolSynced,
        PoolSwapped,
    )
}
KINDS: list[str] = sorted(_MARKET_EVENTS)
"""As `events.kind` spells what `market_event` reads."""


def position(row: "Record | None") -> FeedPosition:
    """The cursor's position; none yet is number -1 and a zero hash."""
    return FeedPosition(row["block_number"], row["block_hash"]) if row else NO_POSITION


def recorded(rows: "Iterable[Record]") -> Recorded:
    """Which rows the tables have, by where each was `found_in`."""
    found: dict[str, set[Identity]] = {"events": set(), "transactions": set(), "transfers": set()}
    for row in rows:
        found[row["found_in"]].add((row["tx_hash"], row["position"]))
    return Recorded(**found)


def held(rows: "Iterable[Record]") -> dict[Place, Held]:
    """Positions by whose they are."""
    return {
        (row["version"], row["token_address"], row["holder"]): Held(
            row["balance"], Basis(row["held_tokens"], row["cost_wei"])
        )
        for row in rows
    }


def launched(row: "Record") -> Launched:
    """Of a row of `tokens`."""
    return Launched(row["version"], row["bucket"], row["launchpad"], row["pair"])


def market_event(row: "Record", chain_id: int) -> MarketEvent:
    """The event as it was recorded, its header put together from the key columns."""
    at: dict[str, Any] = {
        "chain_id": chain_id,
        "block_number": row["block_number"],
        "block_hash": row["block_hash"].hex(),
        "block_time": row["block_time"],
        "tx_hash": row["tx_hash"].hex(),
        "tx_index": row["tx_index"],
        "log_index": row["log_index"],
        "position": row["position"],
        "emitter": row["emitter"].hex(),
        "version": row["version"],
    }
    kind = _MARKET_EVENTS[row["kind"]]
    return codec.decode(kind, {**orjson.loads(row["payload"]), "at": at})


def transfer(row: "Record", chain_id: int) -> Transferred:
    """The event of a row of `transfers`; a token's own log is its emitter's."""
    at = EventHeader(
        chain_id=chain_id,
        block_number=row["block_number"],
        block_hash=row["block_hash"],
        block_time=row["block_time"],
        tx_hash=row["tx_hash"],
        tx_index=row["tx_index"],
        log_index=row["log_index"],
        position=row["position"],
        emitter=row["token_address"],
        version=row["version"],
    )
    return Transferred(at, row["token_address"], row["sender"], row["recipient"], row["amount"])


def curve(row: "Record") -> CurveNumbers:
    """The curve columns of `tokens`."""
    return CurveNumbers(
        family=row["curve_family"],
        a=row["curve_a"],
        b=row["curve_b"],
        curve_supply=row["curve_supply"],
        pool_supply=row["pool_supply"],
    )


def market(row: "Record") -> MarketRow:
    """A row of `markets`."""
    return MarketRow(row["token_address"], *(row[name] for name in _MARKET))


def token(row: "Record") -> TokenRecord:
    """A row of the list queries of `reads.sql`."""
    return TokenRecord(
        token=row["token_address"],
        name=row["name"],
        symbol=row["symbol"],
        creator=row["creator"],
        pair=row["pair"],
        chain_id=row["chain_id"],
        version=row["version"],
        curve=curve(row),
        fees=FeeNumbers(*(row[name] for name in FeeNumbers.__slots__)),
        metadata_hash=row["metadata_hash"],
        phase=row["phase"],
        sold=row["sold"],
        raised=row["raised"],
        price_e18=row["price_e18"],
        market_cap_wei=row["market_cap_wei"],
        volume_24h=row["volume_24h"],
        trades=row["trades"],
        holders=row["holders"],
        created_at=row["block_time"],
        created_block=row["block_number"],
        updated_at=row["updated_time"],
    )


def transaction(row: "Record") -> TransactionRecord:
    """A row of `transactions`, its `time` from the block or the submission."""
    return TransactionRecord(
        tx_hash=row["tx_hash"],
        position=row["position"],
        block_number=row["block_number"],
        tx_index=row["tx_index"],
        log_index=row["log_index"],
        token=row["token_address"],
        user=row["user_address"],
        type=row["type"],
        eth_amount=row["eth_amount"],
        token_amount=row["token_amount"],
        price_e18=row["price_e18"],
        gas_fee=row["gas_fee"],
        status=row["status"],
        reason=row["reason"],
        time=row["time"],
    )


def candle(row: "Record", token_address: bytes) -> CandleRow:
    """A row of the candles query, of any step."""
    return CandleRow(token_address, *(row[name] for name in _CANDLE))


def holding(row: "Record") -> HoldingRecord:
    """A row of `balances` with its token and market."""
    return HoldingRecord(row["token_address"], *(row[name] for name in HoldingRecord.__slots__[1:]))
