"""What the doors are handed: the actors' client, the stores, the node, the signature check."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engine.messages import FeedPosition, MarketView, QuoteReply, QuoteRequest, Refusal
from engine.points.entries import Deed
from engine.points.state import Known
from engine.rows import CandleRow, TokenRecord, TransactionRecord, WalletRecord

if TYPE_CHECKING:
    from gateway.bridge_ports import BridgePorts
    from gateway.replica_ports import Replicas


class Log(Protocol):
    """A structlog logger: a constant event name plus fields."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Markets(Protocol):
    """`actors.markets`: memory only. A refusal is a value, not an exception. `begin` answers by
    a callback, once, at once or in a bounded time."""

    def begin(
        self, request: QuoteRequest, done: Callable[[QuoteReply | Refusal], None]
    ) -> None: ...
    async def quote(self, request: QuoteRequest) -> QuoteReply | Refusal: ...
    async def quotes(self, requests: Sequence[QuoteRequest]) -> list[QuoteReply | Refusal]: ...
    async def views(self, tokens: Sequence[bytes]) -> list[MarketView | Refusal]: ...
    async def status(self) -> dict[str, Any]: ...


class Reads(Protocol):
    """`storage.reads`: history as of the recorder's cursor."""

    async def tokens(
        self,
        *,
        page: int,
        limit: int,
        search: str | None = None,
        sort_by: str = "created",
        order: str = "desc",
        graduated: bool | None = None,
    ) -> tuple[list[TokenRecord], int]: ...
    async def token(self, address: bytes) -> TokenRecord | None: ...
    async def transactions(
        self,
        token: bytes,
        *,
        page: int,
        limit: int,
        before: tuple[int, int, int] | None = None,
    ) -> tuple[list[TransactionRecord], int]: ...
    async def transaction(self, tx_hash: bytes) -> list[TransactionRecord]: ...
    async def candles(
        self, token: bytes, *, start: int, end: int, step_s: int
    ) -> tuple[list[CandleRow], int | None]: ...
    async def holdings(self, owner: bytes, limit: int, *, closed: bool = False) -> WalletRecord: ...
    async def add_pending(
        self,
        *,
        tx_hash: bytes,
        user: bytes,
        token: bytes | None,
        type: str,
        eth_amount: int | None,
        token_amount: int | None,
    ) -> None: ...
    async def refuse_pending(self, tx_hash: bytes, reason: str) -> None: ...
    async def cursor(self) -> FeedPosition: ...
    async def ping(self) -> None: ...


class TrendingToken(Protocol):
    """Of `storage.market_reads.Trending`."""

    @property
    def token(self) -> TokenRecord: ...
    @property
    def volume_1h(self) -> int: ...
    @property
    def trades_24h(self) -> int: ...
    @property
    def price_before(self) -> int | None: ...


class Holder(Protocol):
    """Of `storage.market_reads.Holder`."""

    @property
    def holder(self) -> bytes: ...
    @property
    def balance(self) -> int: ...
    @property
    def first_buy(self) -> int | None: ...


class Trader(Protocol):
    """Of `storage.market_reads.Trader`."""

    @property
    def trader(self) -> bytes: ...
    @property
    def realised(self) -> int: ...
    @property
    def volume(self) -> int: ...
    @property
    def tokens(self) -> int: ...


class MarketReads(Protocol):
    """`storage.market_reads`: figures of the whole platform, from the read replica."""

    async def trending(self, *, page: int, limit: int) -> tuple[Sequence[TrendingToken], int]: ...
    async def king(self) -> TokenRecord | None: ...
    async def of_creator(
        self, creator: bytes, *, page: int, limit: int
    ) -> tuple[list[TokenRecord], int]: ...
    async def holders(self, token: bytes, *, page: int, limit: int) -> Sequence[Holder]: ...
    async def trades(
        self, limit: int, before: tuple[int, int, int] | None = None
    ) -> list[TransactionRecord]: ...
    async def traders(self, *, page: int, limit: int) -> tuple[Sequence[Trader], int]: ...
    async def stats(self, name: str) -> Any: ...


class Documents(Protocol):
    """`storage.documents`: token documents."""

    async def store_metadata(
        self,
        hash: bytes,
        document: Mapping[str, Any],
        *,
        creator: bytes,
        now: float,
        image: str | None = None,
        mined: bool = False,
    ) -> None: ...
    async def metadata(self, hashes: Sequence[bytes]) -> dict[str, dict[str, Any]]: ...
    async def ping(self) -> None: ...


class Media(Protocol):
    """`storage.media_disk` or `storage.media_s3`: files under the names of their content. A
    TransientError is `store_unavailable`, or `storage_full`.
    """

    async def put(self, name: str, content: bytes) -> None: ...
    async def get(self, name: str) -> bytes | None: ...


class People(Protocol):
    """`storage.people`: a document a wallet."""

    async def connect(self, address: bytes, now: float) -> dict[str, Any]: ...
    async def seen(self, address: bytes, now: float) -> dict[str, Any]: ...
    async def find(self, address: bytes) -> dict[str, Any] | None: ...
    async def about(self) -> int: ...
    async def change(
        self, address: bytes, fields: Mapping[str, Any], now: float
    ) -> dict[str, Any] | None: ...


class StoredSession(Protocol):
    """Of `storage.sessions.StoredSession`; times are unix seconds."""

    @property
    def sid(self) -> str: ...
    @property
    def address(self) -> bytes: ...
    @property
    def family(self) -> bytes: ...
    @property
    def created_at(self) -> float: ...
    @property
    def used_at(self) -> float: ...
    @property
    def expires_at(self) -> float: ...
    @property
    def ended_at(self) -> float | None: ...
    @property
    def client(self) -> str: ...


class Sessions(Protocol):
    """`storage.sessions`: logins, and who was logged out."""

    async def open(
        self,
        sid: str,
        *,
        address: bytes,
        family: bytes,
        refresh_hash: bytes,
        now: float,
        expires: float,
        client: str = "",
    ) -> None: ...
    async def find(self, sid: str) -> StoredSession | None: ...
    async def rotate(
        self, sid: str, *, old: bytes, new: bytes, now: float, grace_s: float
    ) -> bool: ...
    async def of(self, address: bytes, now: float) -> Sequence[StoredSession]: ...
    async def end(
        self, sids: Sequence[str], *, address: bytes, now: float, remember_s: int
    ) -> list[str]: ...
    async def ended(self, sid: str) -> bool: ...


class ApiKey(Protocol):
    """Of `storage.api_keys.ApiKey`; times are unix seconds."""

    @property
    def id(self) -> str: ...
    @property
    def owner(self) -> bytes: ...
    @property
    def name(self) -> str: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def hash(self) -> bytes: ...
    @property
    def created_at(self) -> float: ...
    @property
    def expires_at(self) -> float: ...
    @property
    def ended_at(self) -> float | None: ...


class ApiKeys(Protocol):
    """`storage.api_keys`."""

    async def make(
        self,
        *,
        id: str,
        owner: bytes,
        name: str,
        scopes: tuple[str, ...],
        hash: bytes,
        now: float,
        expires: float,
        most: int,
    ) -> ApiKey | None: ...
    async def find(self, id: str) -> ApiKey | None: ...
    async def of(self, owner: bytes, now: float, most: int) -> Sequence[ApiKey]: ...
    async def end(self, id: str, *, owner: bytes, now: float) -> bool: ...


class ReferralTotals(Protocol):
    """Of `storage.referrals.Totals`."""

    @property
    def wei(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def second(self) -> int: ...


class Referrals(Protocol):
    """`storage.referrals`: who brought whom, and what is owed for it."""

    async def code_of(self, owner: bytes) -> str | None: ...
    async def owner_of(self, code: str) -> tuple[bytes, float] | None: ...
    async def take_code(self, owner: bytes, code: str | None, now: float) -> str: ...
    async def bind(self, wallet: bytes, code: str, *, now: float, within_s: float) -> bytes: ...
    async def totals(self, wallet: bytes, most: int) -> ReferralTotals: ...
    async def brought(
        self, wallet: bytes, *, limit: int, after: str | None = None
    ) -> list[dict[str, Any]]: ...
    async def earnings(
        self, wallet: bytes, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[dict[str, Any]]: ...


class Counted(Protocol):
    """Of `storage.points.Counted`."""

    @property
    def block(self) -> int: ...
    @property
    def time(self) -> int: ...


class Points(Protocol):
    """`storage.point_reads`: what is shown of the ledger."""

    async def counted(self) -> Counted: ...
    async def rank(self, season: str, micro: int, most: int) -> int | None: ...
    async def total(self, season: str) -> int: ...
    async def leaders(self, season: str, *, skip: int, limit: int) -> list[dict[str, Any]]: ...
    async def wallets(self, season: str, most: int) -> int: ...
    async def rows(
        self, season: str, who: bytes, *, limit: int, before: int | None = None
    ) -> list[dict[str, Any]]: ...
    async def streak(self, who: bytes) -> tuple[int, int]: ...


class Uncounted(Protocol):
    """Of `storage.uncounted.Uncounted`."""

    @property
    def counted(self) -> Counted: ...
    @property
    def balance(self) -> dict[str, Any]: ...
    @property
    def known(self) -> Known: ...
    @property
    def deeds(self) -> Sequence[Deed]: ...
    @property
    def tip(self) -> int: ...
    @property
    def whole(self) -> bool: ...


class UncountedReads(Protocol):
    """`storage.uncounted`: what the ledger has, and what is recorded above it."""

    async def of(self, who: bytes, season: str) -> Uncounted: ...


class PointProof(Protocol):
    """Of `storage.point_days.Proof`."""

    @property
    def day(self) -> int: ...
    @property
    def root(self) -> bytes: ...
    @property
    def micro(self) -> int: ...
    @property
    def chain(self) -> bytes: ...
    @property
    def rows(self) -> int: ...
    @property
    def proof(self) -> tuple[bytes, ...]: ...


class PointDays(Protocol):
    """`storage.point_days`: daily roots and proofs."""

    async def roots(self, season: str, limit: int) -> list[dict[str, Any]]: ...
    async def prove(self, season: str, who: bytes) -> PointProof | None: ...


class Audit(Protocol):
    """`storage.audit`: what administrators did."""

    async def write(
        self,
        *,
        actor: bytes,
        action: str,
        target: str,
        change: Mapping[str, Any],
        request: Mapping[str, str],
        now: float,
    ) -> None: ...
    async def entries(self, *, limit: int, before: str | None = None) -> list[dict[str, Any]]: ...


class Nonces(Protocol):
    """`storage.nonces`: each is consumed once, atomically."""

    async def issue(self, nonce: str, ttl_s: int) -> None: ...
    async def consume(self, nonce: str) -> bool: ...


class Replays(Protocol):
    """`storage.replays`: answers to be given again."""

    async def begin(self, key: str, *, lease_s: int) -> tuple[bytes, bytes | None]: ...
    async def finish(self, key: str, ticket: bytes, answer: bytes, *, keep_s: int) -> None: ...
    async def abandon(self, key: str, ticket: bytes) -> None: ...


class RateLimits(Protocol):
    """`storage.rates`: (allowed or how many, remaining, seconds until the next is free, and what
    gives a lease back).
    """

    async def take(self, key: str, limit: int, window_s: float) -> tuple[bool, int, float]: ...
    async def lease(
        self, key: str, limit: int, *, window_s: float, wanted: int, hold_s: float = 0.0
    ) -> tuple[int, int, float, int]: ...
    async def give_back(self, key: str, moment: int, count: int) -> None: ...


class Ticks(Protocol):
    """`storage.ticks`: every message published, for ever; reconnects by itself. The last ones of
    a topic are kept for a while.
    """

    async def last(self, topic: str) -> tuple[int, str] | None: ...
    async def replay(
        self, topic: str, *, generation: str, after_seq: int
    ) -> list[bytes] | None: ...

    def listen(self, on_subscribed: Callable[[], None] | None = None) -> AsyncIterator[bytes]: ...


class EventLog(Protocol):
    """Of `chain.decode.RawLog`, what is read here."""

    @property
    def address(self) -> bytes: ...
    @property
    def topics(self) -> tuple[bytes, ...]: ...
    @property
    def data(self) -> bytes: ...


class Receipt(Protocol):
    """Of `chain.sender.Receipt`, what is read here. `status` 1 success, 0 reverted."""

    @property
    def tx_hash(self) -> bytes: ...
    @property
    def status(self) -> int: ...
    @property
    def block_number(self) -> int: ...
    @property
    def gas_used(self) -> int: ...
    @property
    def effective_gas_price(self) -> int: ...
    @property
    def logs(self) -> Sequence[EventLog]: ...


class Node(Protocol):
    """`chain.sender.Node`. CallerError: refused; TransientError: the node is away."""

    async def call(
        self,
        *,
        to: bytes,
        data: bytes,
        sender: bytes | None = None,
        value: int = 0,
        block: int | str = "latest",
        timeout_s: float | None = None,
    ) -> bytes: ...
    async def balances(
        self, owner: bytes, tokens: Sequence[bytes], *, block: int, timeout_s: float | None = None
    ) -> list[int | None]: ...
    async def code(self, address: bytes, *, timeout_s: float | None = None) -> bytes: ...
    async def fees(self) -> tuple[int, int]: ...
    async def nonce(self, address: bytes) -> int: ...
    async def send_raw_sync(self, raw: bytes, timeout_s: float) -> Receipt | None: ...
    async def receipt(self, tx_hash: bytes) -> Receipt | None: ...
    async def revert_reason(self, tx_hash: bytes) -> str: ...


class VerifyMessage(Protocol):
    """`chain.signatures.verify_message` with its accounts bound."""

    async def __call__(self, *, address: bytes, message: str, signature: bytes) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that is handed in; `gateway.context` keeps what handlers reach."""

    markets: Markets
    reads: Reads
    market_reads: MarketReads
    documents: Documents
    media: Media
    people: People
    sessions: Sessions
    audit: Audit
    referrals: Referrals
    api_keys: ApiKeys
    points: Points
    point_days: PointDays
    uncounted: UncountedReads
    nonces: Nonces
    replays: Replays
    rates: RateLimits
    ticks: Ticks
    node: Node
    verify_message: VerifyMessage
    bridge: "BridgePorts | None" = None
    replicas: "Replicas | None" = None
