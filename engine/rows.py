"""Rows of history: what the recorder writes for a block, and what the doors read.

Addresses and hashes are raw bytes, amounts integers in base units, prices floor(wei per
whole token * 1e18), times unix seconds.
"""

from dataclasses import dataclass

from curves.values import value
from engine import basis
from engine.basis import Basis
from engine.messages import BlockHeader, ChainEvent, CurveNumbers, EventHeader, FeeNumbers


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A launch, as it was at its creation."""

    at: EventHeader
    token: bytes
    creator: bytes
    pair: bytes
    launchpad: bytes
    version: int
    bucket: int
    curve_id: int
    curve: CurveNumbers
    fees: FeeNumbers
    metadata_hash: bytes
    name: str
    symbol: str
    initial_price_e18: int


@value
class MarketRow:
    """A market's state after the last event of the block about it."""

    token: bytes
    phase: str
    sold: int
    raised: int
    seq: int
    price_e18: int
    market_cap_wei: int
    reserve_token: int = 0
    reserve_weth: int = 0


@value
class TransactionRow:
    """`type` is CREATE, BUY, SELL, TRANSFER or BRIDGE; `eth_amount` what the user paid in
    all or received; `price_e18` the execution price, None where there is none;
    `protocol_fee` counts launch fees too. `before` and `after` are the user's basis of the
    token around a BUY or SELL, once `positions.settled` has put them in.
    """

    at: EventHeader
    token: bytes
    user: bytes
    recipient: bytes
    type: str
    eth_amount: int | None
    token_amount: int | None
    price_e18: int | None
    protocol_fee: int
    creator_fee: int
    venue: int
    tag: bytes
    before: Basis | None = None
    after: Basis | None = None


@value
class TransferRow:
    """One ERC-20 transfer of a token of ours."""

    at: EventHeader
    token: bytes
    sender: bytes
    recipient: bytes
    amount: int


@value
class CandleRow:
    """One minute of one token; `time` is the minute's first second, UTC."""

    token: bytes
    time: int
    open: int
    high: int
    low: int
    close: int
    volume_eth: int
    volume_token: int
    trades: int


@value
class OutboxRow:
    """Work that becomes visible when its block is final. `key` makes it happen once; it is
    recorded with the event `of` (transaction hash, position) or not at all.
    """

    key: str
    topic: str
    token: bytes
    payload: dict[str, object]
    of: tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class BlockRows:
    """All that one sealed block writes, in one transaction."""

    header: BlockHeader
    events: tuple[ChainEvent, ...]
    users: tuple[bytes, ...]
    tokens: tuple[TokenRow, ...]
    markets: tuple[MarketRow, ...]
    transactions: tuple[TransactionRow, ...]
    transfers: tuple[TransferRow, ...]
    candles: tuple[CandleRow, ...]
    outbox: tuple[OutboxRow, ...]


@dataclass(frozen=True, slots=True)
class Launched:
    """What rows of a token need to know of it."""

    version: int
    bucket: int
    launchpad: bytes
    pair: bytes


# ------------------------------------------------------------------ what the doors read


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token with its last recorded state. `volume_24h` is wei."""

    token: bytes
    name: str
    symbol: str
    creator: bytes
    pair: bytes
    chain_id: int
    version: int
    curve: CurveNumbers
    fees: FeeNumbers
    metadata_hash: bytes
    phase: str
    sold: int
    raised: int
    price_e18: int
    market_cap_wei: int
    volume_24h: int
    trades: int
    holders: int
    created_at: int
    created_block: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """`status` is PENDING, CONFIRMED or FAILED. Pending rows have no block."""

    tx_hash: bytes
    position: int
    block_number: int | None
    tx_index: int | None
    log_index: int | None
    token: bytes | None
    user: bytes
    type: str
    eth_amount: int | None
    token_amount: int | None
    price_e18: int | None
    gas_fee: int | None
    status: str
    reason: str | None
    time: int


@dataclass(frozen=True, slots=True)
class HoldingRecord:
    """A wallet's balance of one token, with what it spent and received in trades (wei), and what
    it holds of what it bought at what cost.
    """

    token: bytes
    name: str
    symbol: str
    balance: int
    bought_tokens: int
    sold_tokens: int
    spent_wei: int
    received_wei: int
    held_tokens: int
    cost_wei: int

    @property
    def realised_wei(self) -> int:
        """Of the token's sells until now."""
        return basis.realised_wei(
            received_wei=self.received_wei, spent_wei=self.spent_wei, cost_wei=self.cost_wei
        )


@dataclass(frozen=True, slots=True)
class WalletRecord:
    """A wallet's tokens as of `block` (-1 before any). `realised_wei` is of all that it ever
    traded, also of what is not listed.
    """

    holdings: list[HoldingRecord]
    block: int
    realised_wei: int
