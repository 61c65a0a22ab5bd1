"""What is pushed on topics, and the answers of calls that REST does not have."""

from typing import Generic, Literal, TypeVar

from gateway.fields import Strict
from gateway.replies.bridge import BridgeStatus, BridgeStep
from gateway.replies.common import AddressText, Decimal, Empty, HashText, Phase
from gateway.replies.markets import AsOfReply

T = TypeVar("T")
Status = Literal["preconfirmed", "sealed", "finalised"]


class Pushed(Strict, Generic[T]):
    """One message. `seq` counts without a gap in (`topic`, `generation`). `fromSeq` to `toSeq`,
    where they are there, are the numbers that it accounts for: a `price` may stand for earlier
    ones, and what stood between them for those before it.
    """

    topic: str
    seq: int
    from_seq: int | None = None
    to_seq: int | None = None
    generation: str
    data: T


class Told(Strict, Generic[T]):
    """A message of the door itself, which has no number."""

    topic: str
    seq: None
    generation: None
    data: T


class PriceData(Strict):
    """A market after a block, or in the open one. `receivedNs`: when we heard of that block."""

    token_address: AddressText
    price: Decimal
    market_cap: Decimal
    sold: Decimal
    raised: Decimal
    progress_bps: int
    phase: Phase
    as_of: AsOfReply
    received_ns: str


class _EventData(Strict):
    tx_hash: HashText
    position: int
    block_number: int
    log_index: int
    token_address: AddressText
    user_address: AddressText
    as_of: AsOfReply


class TradeEventData(_EventData):
    """A trade; (`txHash`, `position`) is its identity, also when it is sealed later."""

    type: Literal["BUY", "SELL"]
    timestamp: int
    status: Status
    recipient: AddressText
    eth_amount: Decimal
    token_amount: Decimal
    price_per_token: Decimal


class LaunchEventData(_EventData):
    """A launch."""

    type: Literal["CREATE"]
    timestamp: int
    status: Status
    name: str
    symbol: str


class RetractedData(_EventData):
    """A transaction that was shown and is not on the chain."""

    type: Literal["BUY", "SELL", "CREATE"]


class StatusData(Strict):
    """The market is not served any more (`code` says why), or is again."""

    token_address: AddressText
    status: Literal["halted", "served"]
    code: Literal["market_halted"] | None
    as_of: AsOfReply


class ListedLaunchData(Strict):
    """Of a token that is new since the last message."""

    name: str
    symbol: str
    creator: AddressText
    block_number: int
    timestamp: int


class ListedData(Strict):
    """A token that changed. Nulls where `unavailable` says why: `market_halted`, or
    `token_not_found` for a launch that was taken back. `eventCount` counts the launchpad's events
    about it: the launch is 1, each trade one more.
    """

    token_address: AddressText
    as_of: AsOfReply
    price: Decimal | None
    market_cap: Decimal | None
    sold: Decimal | None
    raised: Decimal | None
    progress_bps: int | None
    phase: Phase | None
    event_count: int | None
    unavailable: Literal["market_halted", "token_not_found"] | None
    launch: ListedLaunchData | None


class ListData(Strict):
    """Tokens that changed since the last message, about once a second. `waiting` more come with
    the next ones; `leftOut` were too many: then read the list anew.
    """

    items: list[ListedData]
    waiting: int
    left_out: int


class UserTradeData(TradeEventData):
    """A trade of the wallet."""

    event: Literal["transaction"]


class UserLaunchData(LaunchEventData):
    """A launch of the wallet."""

    event: Literal["transaction"]


class UserRetractedData(RetractedData):
    """A transaction of the wallet that is not on the chain after all."""

    event: Literal["retracted"]


class UserBridgeData(Strict):
    """A step of one of the wallet's transfers between the chains. `number` counts the transfer's
    steps; one may come twice.
    """

    event: Literal["bridge"]
    id: HashText
    number: int
    status: BridgeStatus
    step: BridgeStep
    reason: str | None
    at: int
    source_chain: int
    target_chain: int
    user_address: AddressText
    target_address: AddressText
    amount: Decimal
    message_id: HashText | None
    source_tx_hash: HashText | None
    target_tx_hash: HashText | None
    refund_tx_hash: HashText | None


class SignedOutData(Strict):
    """The login that this topic hangs on has ended."""

    event: Literal["signed_out"]


class AuthenticatedData(Strict):
    """Who is logged in on this socket now."""

    address: AddressText
    role: Literal["user", "moderator", "admin"]


TransactionEvent = TradeEventData | LaunchEventData
UserEvent = UserTradeData | UserLaunchData | UserRetractedData | UserBridgeData
Gap = Told[Empty]
SignedOut = Told[SignedOutData]
