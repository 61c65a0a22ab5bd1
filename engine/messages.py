"""The messages between rooms: events of the chain, the feed, requests and replies.

Frozen and slotted. Addresses are 20 raw bytes, hashes 32; amounts are base units.
"""

from dataclasses import dataclass, field

from curves.values import value
from engine.bridge.events import TransferEvent
from engine.headers import EventHeader as EventHeader  # noqa: PLC0414 (said here too)

VENUE_CURVE = 0
VENUE_POOL = 1

PRECONFIRMED = "preconfirmed"
SEALED = "sealed"
FINALISED = "finalised"

FAMILY_CONSTANT_PRODUCT = 0
FAMILY_LINEAR = 1


@dataclass(frozen=True, slots=True)
class CurveNumbers:
    """A curve configuration as the contract stores it; see `ILaunchpad.CurveConfig`."""

    family: int
    a: int
    b: int
    curve_supply: int
    pool_supply: int

    def __hash__(self) -> int:
        # Looked up with every trade, among few: of all fields it costs more than the look-up.
        return hash(self.a)


@dataclass(frozen=True, slots=True)
class FeeNumbers:
    """A fee configuration as the contract stores it, basis points and blocks."""

    protocol_bps: int
    creator_bps: int
    launch_bps: int
    launch_blocks: int
    pool_protocol_bps: int
    pool_creator_bps: int

    def __hash__(self) -> int:
        return self.launch_bps  # as above


# ------------------------------------------------------------------ events, past tense


@dataclass(frozen=True, slots=True)
class CurveAdded:
    """A curve configuration was added; it never changes."""

    at: EventHeader
    event_seq: int
    curve_id: int
    curve: CurveNumbers


@dataclass(frozen=True, slots=True)
class TokenCreated:
    """Text is decoded with replacement and without NUL: chain text is hostile."""

    at: EventHeader
    event_seq: int
    seq: int
    token: bytes
    creator: bytes
    pair: bytes
    pair_preexisted: bool
    curve_id: int
    curve: CurveNumbers
    fees: FeeNumbers
    metadata_hash: bytes
    name: str
    symbol: str


@value
class Traded:
    """One buy or sell; `sold` and `raised` are the market's state after it: on the curve
    what it sold and raised, on the pool (`venue`) the pair's token and WETH reserves."""

    at: EventHeader
    event_seq: int
    seq: int
    token: bytes
    trader: bytes
    recipient: bytes
    is_buy: bool
    exact_out: bool
    venue: int
    tag: bytes
    requested: int
    tokens: int
    curve_eth: int
    protocol_fee: int
    creator_fee: int
    launch_fee: int
    refund: int
    sold: int
    raised: int
    clipped: bool

    @property
    def eth(self) -> int:
        """Wei the trader paid in all (buy) or received after fees (sell)."""
        fee = self.protocol_fee + self.creator_fee + self.launch_fee
        return self.curve_eth + fee if self.is_buy else self.curve_eth - fee


@dataclass(frozen=True, slots=True)
class Completed:
    """The curve is sold out; the market is `graduating`."""

    at: EventHeader
    event_seq: int
    seq: int
    token: bytes
    sold: int
    raised: int


@dataclass(frozen=True, slots=True)
class Reopened:
    """Graduation did not come in time: sells of the curve resume, buys do not."""

    at: EventHeader
    event_seq: int
    seq: int
    token: bytes


@dataclass(frozen=True, slots=True)
class Graduated:
    """The pair holds the liquidity now; `reserve_token` and `reserve_weth` are its reserves.

    `donated_weth` is what the pair's reserves held before: it raises the opening price.
    """

    at: EventHeader
    event_seq: int
    seq: int
    token: bytes
    pair: bytes
    eth_to_pool: int
    tokens_to_pool: int
    burned: int
    liquidity: int
    donated_weth: int
    reserve_token: int
    reserve_weth: int


@value
class PoolSynced:
    """The pair's `Sync`: its reserves after whatever came. Anyone can cause one, also before
    the graduation, where it says nothing about the market."""

    at: EventHeader
    token: bytes
    reserve_token: int
    reserve_weth: int


@value
class PoolSwapped:
    """A swap on the pair that did not come from the launchpad, which says `Trade` of its own.

    `trader` is who gave the tokens (sell) or got them (buy); `eth` is WETH into the pair
    (buy) or out of it (sell). Its `PoolSynced` stands before it.
    """

    at: EventHeader
    token: bytes
    trader: bytes
    recipient: bytes
    is_buy: bool
    tokens: int
    eth: int


@dataclass(frozen=True, slots=True)
class Administered:
    """Claims of fees and changes of parameters or roles; `name` is the Solidity event's."""

    at: EventHeader
    event_seq: int
    name: str
    arguments: tuple[tuple[str, str], ...]


@value
class Transferred:
    """An ERC-20 transfer of one of our tokens; zero `sender` is the mint."""

    at: EventHeader
    token: bytes
    sender: bytes
    recipient: bytes
    amount: int


PoolEvent = PoolSynced | PoolSwapped
MarketEvent = TokenCreated | Traded | Completed | Reopened | Graduated | PoolSynced | PoolSwapped
ChainEvent = CurveAdded | MarketEvent | Administered | Transferred | TransferEvent


# ------------------------------------------------------------------------------- feed


@value
class BlockHeader:
    """What links a block to its parent; `timestamp` is unix seconds."""

    chain_id: int
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int


@value
class Preconfirmed:
    """Market events of the open block, in order, before it is sealed."""

    chain_id: int
    block_number: int
    events: tuple[MarketEvent, ...]
    received_ns: int = 0


@value
class Block:
    """A sealed block with all our events in it, in order.

    `received_ns` is the listener's wall clock when the first frame of this block arrived;
    0 for back-filled blocks. While back-filling below the window, blocks without events
    are left out, so `number` may jump; inside the window every block is sent.
    """

    header: BlockHeader
    events: tuple[ChainEvent, ...]
    received_ns: int = 0


@dataclass(frozen=True, slots=True)
class Reorg:
    """Blocks above `ancestor_number` are void. New ones follow as `Block`."""

    chain_id: int
    ancestor_number: int
    ancestor_hash: bytes


@value
class Finalised:
    """Everything up to `number` is final."""

    chain_id: int
    number: int


FeedMessage = Preconfirmed | Block | Reorg | Finalised


@value
class FeedPosition:
    """The last sealed block that a consumer has applied. Number -1: none."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Messages that follow `after`, in order. `head` is the listener's tip, sealed there at
    `head_at_ns` of the wall clock (0: just now).

    A consumer at another position applies nothing and answers with its own; the listener
    goes on from there. So a batch may be sent twice, late or to a successor.
    """

    chain_id: int
    after: FeedPosition
    messages: tuple[FeedMessage, ...]
    head: int
    head_at_ns: int = 0

    @property
    def back_to(self) -> FeedPosition | None:
        """The lowest block that its reorgs go back to."""
        found = [
            FeedPosition(one.ancestor_number, one.ancestor_hash)
            for one in self.messages
            if isinstance(one, Reorg)
        ]
        return min(found, key=lambda one: one.number, default=None)


# ---------------------------------------------------------------- quotes and views


@value
class QuoteRequest:
    """`for_block` None: the open block, head + 1. `sealed` asks for the lower state.

    `slippage_bps` gives `bound` in the reply.
    """

    token: bytes
    is_buy: bool
    exact_out: bool
    amount: int
    slippage_bps: int = 100
    for_block: int | None = None
    sealed: bool = False


@value
class AsOf:
    """The state an answer is about. `status`: preconfirmed, sealed or finalised.

    `version` is (incarnation of the bucket, count of visible changes), compared in order.
    `block_number` is the shard's head, on which the market stands, or the open block of the
    last preconfirmed event, then without a hash; `log_index` is that of the market's last
    event (-1 before any).
    """

    block_number: int
    block_hash: bytes | None
    log_index: int
    status: str
    version: tuple[int, int]


@value
class QuoteReply:
    """Amounts as in `curves.curve.Quote`; prices are wei per whole token times 1e18.

    `bound` is minOut (exact-in) or maxIn (exact-out) under the asked slippage.
    `exact_until_block` None: the rates never change again.
    """

    token: bytes
    is_buy: bool
    exact_out: bool
    amount_in: int
    amount_out: int
    tokens: int
    eth: int
    curve_eth: int
    protocol_fee: int
    creator_fee: int
    launch_fee: int
    refund: int
    clipped: bool
    spot_price_e18: int
    execution_price_e18: int
    price_impact_bps: int
    bound: int
    for_block: int
    exact_until_block: int | None
    phase: str
    as_of: AsOf
    bucket: int
    launchpad: bytes = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as a value: nothing is raised over an actor call for a caller's mistake."""

    code: str
    message: str
    bucket: int = -1
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class MarketView:
    """A market for lists and pages. `market_cap_wei` is spot times the total supply; the
    reserves are the pair's, 0 before the graduation."""

    token: bytes
    phase: str
    family: int
    sold: int
    raised: int
    curve_supply: int
    price_e18: int
    market_cap_wei: int
    progress_bps: int
    as_of: AsOf
    bucket: int
    creator: bytes = b""
    fees: FeeNumbers | None = None
    launch_block: int = 0
    launchpad: bytes = b""
    reserve_token: int = 0
    reserve_weth: int = 0


# ------------------------------------------------------------------------------ ticks


@value
class Tick:
    """What is published after a change.

    `event` is the Socket.IO event name (`price`, `transaction`, `graduation`,
    `retracted`, `status`); `seq` counts without a gap in (`topic`, `generation`).
    `data` is JSON-ready: decimal strings, EIP-55 addresses.
    """

    topic: str
    event: str
    seq: int
    generation: str
    data: dict[str, object] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ListedRow:
    """What the list of tokens is to show of one market; a later one takes its place. `row` is
    JSON-ready. `launch` says what a new token is called, and is kept until it was sent.
    """

    token: bytes
    bucket: int
    incarnation: int
    row: dict[str, object] = field(hash=False)
    launch: dict[str, object] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of rows for the list: `refused` are (bucket, incarnation) of an owner that was
    overtaken; `waiting` rows are still to be sent, the next ones in `due_s` seconds.
    """

    refused: tuple[tuple[int, int], ...]
    waiting: int
    due_s: float


# ------------------------------------------------------------------------- ownership


@dataclass(frozen=True, slots=True)
class BucketOwner:
    """An instance owns a bucket under an incarnation."""

    bucket: int
    owner: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Routing:
    """Which shard answers for each bucket; replies of a lower incarnation are refused."""

    owners: tuple[BucketOwner, ...]
