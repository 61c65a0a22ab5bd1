"""What the doors are handed: the actors' client, the stores, the node, the signature check."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from engine.messages import FeedPosition, MarketView, QuoteReply, QuoteRequest, Refusal
from engine.rows import CandleRow, HoldingRecord, TokenRecord, TransactionRecord


class Log(Protocol):
    """A structlog logger: a constant event name plus fields."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Markets(Protocol):
    """`actors.markets`: memory only. A refusal is a value, not an exception."""

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
    async def holdings(self, owner: bytes, limit: int) -> list[HoldingRecord]: ...
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


class Documents(Protocol):
    """`storage.documents`: token documents."""

    async def store_metadata(
        self, hash: bytes, document: Mapping[str, Any], *, creator: bytes, now: float
    ) -> None: ...
    async def metadata(self, hashes: Sequence[bytes]) -> dict[str, dict[str, Any]]: ...
    async def ping(self) -> None: ...


class People(Protocol):
    """`storage.people`: a document a wallet."""

    async def connect(self, address: bytes, now: float) -> dict[str, Any]: ...
    async def seen(self, address: bytes, now: float) -> dict[str, Any]: ...
    async def find(self, address: bytes) -> dict[str, Any] | None: ...
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


class RateLimits(Protocol):
    """`storage.rates`: (allowed, remaining, seconds until the next is free)."""

    async def take(self, key: str, limit: int, window_s: float) -> tuple[bool, int, float]: ...


class Ticks(Protocol):
    """`storage.ticks`: every message published, for ever; reconnects by itself."""

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
    async def code(self, address: bytes, *, timeout_s: float | None = None) -> bytes: ...
    async def fees(self) -> tuple[int, int]: ...
    async def nonce(self, address: bytes) -> int: ...
    async def send_raw_sync(self, raw: bytes, timeout_s: float) -> Receipt | None: ...
    async def receipt(self, tx_hash: bytes) -> Receipt | None: ...
    async def revert_reason(self, tx_hash: bytes) -> str: ...


class VerifyMessage(Protocol):
    """`chain.signatures.verify_message` with its accounts bound."""

    async def __call__(self, *, address: bytes, message: str, signature: bytes) -> bool: ...
