"""Answers about tokens, quotes, trades and wallets."""

from typing import Any, Literal

from pydantic import Field

from gateway.fields import Strict
from gateway.replies.common import AddressText, Decimal, HashText, HexText, Page, Phase


class AsOfReply(Strict):
    """The state that an answer is about."""

    block_number: int
    block_hash: HashText | None
    log_index: int
    status: Literal["preconfirmed", "sealed", "finalised"]
    version: list[int] = Field(min_length=2, max_length=2)


class FeesReply(Strict):
    """ETH."""

    protocol: Decimal
    creator: Decimal
    launch: Decimal


class QuoteData(Strict):
    """One of `minOut` and `maxIn`, by `mode`. Block and state are null before a launch."""

    token_address: AddressText
    type: Literal["buy", "sell"]
    mode: Literal["exactIn", "exactOut"]
    amount_in: Decimal
    amount_out: Decimal
    fees: FeesReply
    spot_price: Decimal
    execution_price: Decimal
    price_impact_bps: int
    min_out: Decimal | None = None
    max_in: Decimal | None = None
    clipped: bool
    spent: Decimal
    refund: Decimal
    for_block: int | None
    exact_until_block: int | None
    phase: Phase
    as_of: AsOfReply | None


class TransactionFields(Strict):
    """JSON-RPC hex, for a wallet to sign; the nonce is the wallet's."""

    from_: AddressText = Field(alias="from")
    to: AddressText
    data: HexText
    value: HexText
    chain_id: HexText
    gas: HexText
    max_fee_per_gas: HexText
    max_priority_fee_per_gas: HexText


class TradeData(Strict):
    """Of buy and sell."""

    quote: QuoteData
    transaction: TransactionFields


class CreateData(Strict):
    """Of a launch; `quote` is that of its first buy."""

    token_address: AddressText
    metadata_hash: HashText
    salt: HashText
    transaction: TransactionFields
    quote: QuoteData | None


class DocumentData(Strict):
    """A token's document as it is shown from now on."""

    token_address: AddressText
    metadata_hash: HashText
    metadata: dict[str, str]


class UploadData(Strict):
    """Where an image is kept, in two sizes; pixels and bytes of the large one."""

    image_url: str
    small_url: str
    width: int
    height: int
    bytes: int


class FeeConfigReply(Strict):
    """Basis points and blocks, frozen at launch."""

    protocol_bps: int
    creator_bps: int
    launch_bps: int
    launch_blocks: int


class MarketData(Strict):
    """The live part: all null, and `unavailable` a code, when the market cannot answer."""

    price: Decimal | None
    market_cap: Decimal | None
    sold: Decimal | None
    raised: Decimal | None
    progress_bps: int | None
    phase: Phase | None
    as_of: AsOfReply | None


class TokenData(MarketData):
    """A token. In USD where a feed of ETH's price is configured and fresh, else null."""

    address: AddressText
    name: str
    symbol: str
    creator: AddressText
    pair: AddressText
    chain_id: int
    version: int
    curve: Literal["constant_product", "linear"]
    curve_supply: Decimal
    pool_supply: Decimal
    fees: FeeConfigReply
    metadata_hash: HashText
    metadata: dict[str, str] | None
    unavailable: str | None
    price_usd: Decimal | None
    market_cap_usd: Decimal | None
    graduated: bool
    volume_24h: Decimal = Field(alias="volume24h")
    trades: int
    holders: int
    created_at: int
    created_block: int
    updated_at: int


class TrendingData(TokenData):
    """A token that trades; `priceChange24hBps` null for one without a price a day ago."""

    volume_1h: Decimal = Field(alias="volume1h")
    trades_24h: int = Field(alias="trades24h")
    price_change_24h_bps: int | None = Field(alias="priceChange24hBps")


class OverviewData(Strict):
    """ETH; null as long as nothing was worked out. `ethUsd` is USD a whole ETH, null without a
    fresh price."""

    total_tokens: int
    total_volume_24h: Decimal = Field(alias="totalVolume24h")
    total_users: int
    graduated_tokens: int
    total_trades: int
    total_volume: Decimal
    eth_usd: Decimal | None
    eth_usd_at: str | None
    as_of_block: int | None
    as_of_time: str | None


class CreatorData(Strict):
    """A creator with the volume and the best market cap of its tokens; ETH."""

    rank: int
    creator: AddressText
    tokens: int
    graduated: int
    volume_24h: Decimal = Field(alias="volume24h")
    total_volume: Decimal
    best_market_cap: Decimal


class TraderData(Strict):
    """Realised profit over all tokens, by moving average cost; ETH."""

    rank: int
    address: AddressText
    realised_pnl: Decimal
    volume: Decimal
    tokens: int


class HolderData(Strict):
    """`firstBuyAt` unix seconds; null for a wallet that was only given."""

    address: AddressText
    balance: Decimal
    share_bps: int
    first_buy_at: int | None


class DeploymentData(Strict):
    """One launchpad."""

    address: AddressText
    lens: AddressText
    first_block: int
    version: int


class ChainData(Strict):
    """A chain and what is deployed there."""

    chain_id: int
    launchpads: list[DeploymentData]
    weth: AddressText | None
    factory: AddressText | None
    router: AddressText | None
    explorer: str | None
    faucet: str | None


class BridgeConfigData(Strict):
    """The vaults, and what is moved at least, in ETH."""

    minimum: Decimal
    rise: AddressText
    sepolia: AddressText


class LimitsData(Strict):
    """Bounds of requests."""

    body_bytes: int
    image_bytes: int
    image_pixels: int
    page_limit: int
    candles: int
    socket_message_bytes: int
    socket_topics: int
    transaction_gas: int
    reads_per_minute: int
    writes_per_window: int
    write_window_seconds: int


class ConfigData(Strict):
    """What a client needs to know of us."""

    public_url: str
    rise: ChainData
    sepolia: ChainData | None
    bridge: BridgeConfigData | None
    limits: LimitsData
    languages: list[str]


class SnapshotData(MarketData):
    """The market of a subscribed token."""

    token_address: AddressText


class TransactionData(Strict):
    """A row of a token's history."""

    tx_hash: HashText
    position: int
    block_number: int | None
    log_index: int | None
    token_address: AddressText | None
    user_address: AddressText
    type: Literal["BUY", "SELL", "CREATE", "TRANSFER", "BRIDGE"]
    eth_amount: Decimal | None
    token_amount: Decimal | None
    price_per_token: Decimal | None
    gas_fee: Decimal | None
    status: Literal["PENDING", "CONFIRMED", "FAILED"]
    reason: str | None
    timestamp: int


class FillData(Strict):
    """What a mined trade did."""

    token_address: AddressText | None
    type: Literal["BUY", "SELL"]
    token_amount: Decimal
    eth_amount: Decimal
    price_per_token: Decimal | None


class StateData(Strict):
    """Of submit and tx."""

    tx_hash: HashText
    status: Literal["PENDING", "CONFIRMED", "FAILED"]
    type: Literal["BUY", "SELL", "CREATE", "TRANSFER", "BRIDGE"] | None
    user_address: AddressText | None
    token_address: AddressText | None
    block_number: int | None
    gas_fee: Decimal | None
    reason: str | None
    fill: FillData | None


class CandleData(Strict):
    """`time` is the first second, UTC."""

    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume_eth: Decimal
    volume_token: Decimal
    trades: int


class ChartData(Strict):
    """`resolution` in minutes."""

    token_address: AddressText
    timeframe: Literal["1h", "24h", "7d", "30d"]
    resolution: int
    candles: list[CandleData]


class HoldingData(Strict):
    """A position at the live price."""

    token_address: AddressText
    name: str
    symbol: str
    balance: Decimal
    price: Decimal | None
    value: Decimal | None
    bought_tokens: Decimal
    sold_tokens: Decimal
    spent_eth: Decimal
    received_eth: Decimal
    cost_basis: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal | None
    phase: Phase | None
    as_of: AsOfReply | None
    unavailable: str | None


class PortfolioData(Strict):
    """A wallet; `totalValue` and `unrealisedPnl` are null when a market cannot answer.
    `realisedPnl` is of every token that it ever traded, listed or not.
    `reconciledAtBlock` is the block at which the chain has the same balances; null if it was not
    reached, or has others.
    """

    address: AddressText
    items: list[HoldingData]
    total_value: Decimal | None
    total_value_usd: Decimal | None
    realised_pnl: Decimal
    unrealised_pnl: Decimal | None
    as_of_block: int | None
    reconciled_at_block: int | None


class MissedData(Strict):
    """A message as it was pushed."""

    event: str
    seq: int
    generation: str
    data: dict[str, Any]


class SubscriptionData(Strict):
    """Acknowledgement of subscribe and unsubscribe.

    `seq` and `generation` are those of the topic's last message; null when none is kept, then
    the first message begins the count. Asked `since`: `missed` are the messages after it, or
    `gap` says that they are not to be had.
    """

    topic: str
    seq: int | None
    generation: str | None
    snapshot: SnapshotData | Page[TokenData] | None
    gap: Literal[True] | None = None
    missed: list[MissedData] | None = None
