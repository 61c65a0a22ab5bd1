"""Ports of the doors in memory: small, real in what matters, told to fail by a flag."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from eth_hash.auto import keccak

from chain.transactions import SELECTOR_OF, decode_raw
from engine.buckets import bucket_of
from engine.errors import CallerError, TransientError
from engine.market import Market, apply
from engine.messages import (
    AsOf,
    FeedPosition,
    MarketView,
    QuoteReply,
    QuoteRequest,
    Refusal,
    TokenCreated,
    Traded,
)
from engine.quoting import answer, view
from engine.rows import CandleRow, HoldingRecord, TokenRecord, TransactionRecord, WalletRecord
from gateway import fills
from tests.support.callbacks import ByCallback
from tests.support.scenario import CONSTANT_PRODUCT, FEES, LINEAR, Scenario

IMPLEMENTATION = bytes.fromhex("22" * 20)


def healthy_roles() -> dict[str, Any]:
    return {"shard-0": {"beat_age_s": 0.3, "buckets": 1024}, "recorder": {}}


@dataclass
class FakeMarkets(ByCallback):
    """Quotes over `engine.quoting`, so over `curves.trade`, on markets that are put in."""

    markets: dict[bytes, Market] = field(default_factory=dict)
    head: int = 100
    refusal: Refusal | None = None
    delay_s: float = 0.0
    calls: int = 0
    answers: dict[str, Any] = field(default_factory=healthy_roles)

    def take(self, scenario: Scenario) -> None:
        block = scenario.seal()
        self.head = block.header.number
        for event in block.events:
            if isinstance(event, TokenCreated | Traded):
                self.markets[event.token] = apply(self.markets.get(event.token), event)[0]

    async def quote(self, request: QuoteRequest) -> QuoteReply | Refusal:
        self.calls += 1
        await asyncio.sleep(self.delay_s)
        market = self._find(request.token)
        if isinstance(market, Refusal):
            return market
        return answer(market, request, as_of=self.as_of(), bucket=bucket_of(request.token))

    async def quotes(self, requests: Sequence[QuoteRequest]) -> list[QuoteReply | Refusal]:
        return [await self.quote(request) for request in requests]

    async def views(self, tokens: Sequence[bytes]) -> list[MarketView | Refusal]:
        self.calls += 1
        found = [self._find(token) for token in tokens]
        return [
            one if isinstance(one, Refusal) else view(one, as_of=self.as_of(), bucket=0)
            for one in found
        ]

    async def status(self) -> dict[str, Any]:
        return self.answers

    def as_of(self) -> AsOf:
        return AsOf(self.head, bytes(31) + b"\1", 3, "sealed", (1, self.head))

    def _find(self, token: bytes) -> Market | Refusal:
        if self.refusal is not None:
            return self.refusal
        return self.markets.get(token) or Refusal("token_not_found", "Expected a launched token")


@dataclass
class Breakable:
    """`down` makes every call a TransientError."""

    down: bool = False

    def check(self) -> None:
        if self.down:
            raise TransientError("store_unavailable", "Expected the store to answer")


@dataclass
class FakeReads(Breakable):
    records: dict[bytes, TokenRecord] = field(default_factory=dict)
    rows: list[TransactionRecord] = field(default_factory=list)
    candle_rows: list[CandleRow] = field(default_factory=list)
    close_before: int | None = None
    held: list[HoldingRecord] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    refused: list[tuple[bytes, str]] = field(default_factory=list)

    async def tokens(self, **query: Any) -> tuple[list[TokenRecord], int]:
        self.check()
        self.asked = query
        start = (query["page"] - 1) * query["limit"]
        return list(self.records.values())[start : start + query["limit"]], len(self.records)

    async def token(self, address: bytes) -> TokenRecord | None:
        self.check()
        return self.records.get(address)

    async def transactions(self, token: bytes, **query: Any) -> tuple[list[TransactionRecord], int]:
        self.check()
        self.asked = query
        mined = [row for row in self.rows if row.token == token and row.status == "CONFIRMED"]
        return mined[: query["limit"]], len(mined)

    async def transaction(self, tx_hash: bytes) -> list[TransactionRecord]:
        self.check()
        return [row for row in self.rows if row.tx_hash == tx_hash]

    async def candles(
        self, token: bytes, *, start: int, end: int, step_s: int
    ) -> tuple[list[CandleRow], int | None]:
        self.check()
        self.asked = {"start": start, "end": end, "step_s": step_s}
        return [row for row in self.candle_rows if start <= row.time < end], self.close_before

    async def holdings(self, owner: bytes, limit: int, *, closed: bool = False) -> WalletRecord:
        self.check()
        shown = [one for one in self.held if one.balance or closed][:limit]
        return WalletRecord(shown, 100, sum(one.realised_wei for one in self.held))

    async def refuse_pending(self, tx_hash: bytes, reason: str) -> None:
        self.refused.append((tx_hash, reason))

    async def add_pending(self, **row: Any) -> None:
        self.check()
        if not any(known.tx_hash == row["tx_hash"] for known in self.rows):
            self.rows.append(pending_record(**row))

    async def cursor(self) -> FeedPosition:
        return FeedPosition(100, bytes(32))

    async def ping(self) -> None:
        self.check()


@dataclass
class FakeDocuments(Breakable):
    stored: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    async def store_metadata(self, hash: bytes, document: Mapping[str, Any], **rest: Any) -> None:
        self.check()
        self.stored.setdefault(hash, dict(document))

    async def metadata(self, hashes: Sequence[bytes]) -> dict[str, dict[str, Any]]:
        self.check()
        return {f"0x{one.hex()}": self.stored[one] for one in hashes if one in self.stored}

    async def ping(self) -> None:
        self.check()


@dataclass
class FakeMedia(Breakable):
    files: dict[str, bytes] = field(default_factory=dict)

    async def put(self, name: str, content: bytes) -> None:
        self.check()
        self.files[name] = content

    async def get(self, name: str) -> bytes | None:
        self.check()
        return self.files.get(name)


class FakeMarketReads:
    """Of a platform where nothing has happened."""

    async def trending(self, **page: int) -> tuple[list[Any], int]:
        return [], 0

    async def king(self) -> None:
        return None

    async def of_creator(self, creator: bytes, **page: int) -> tuple[list[Any], int]:
        return [], 0

    async def holders(self, token: bytes, **page: int) -> list[Any]:
        return []

    async def trades(self, limit: int, before: Any = None) -> list[Any]:
        return []

    async def traders(self, **page: int) -> tuple[list[Any], int]:
        return [], 0

    async def stats(self, name: str) -> None:
        return None


@dataclass
class FakePeople(Breakable):
    users: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    async def connect(self, address: bytes, now: float) -> dict[str, Any]:
        self.check()
        fresh = {"walletAddress": "0x" + address.hex(), "role": "user"}
        return self.users.setdefault(address, fresh)

    async def seen(self, address: bytes, now: float) -> dict[str, Any]:
        return await self.connect(address, now)

    async def find(self, address: bytes) -> dict[str, Any] | None:
        self.check()
        return self.users.get(address)

    async def about(self) -> int:
        return len(self.users)


@dataclass
class FakeSessions(Breakable):
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def open(self, sid: str, **fields: Any) -> None:
        self.check()
        self.opened[sid] = fields

    async def ended(self, sid: str) -> bool:
        self.check()
        return False


@dataclass
class FakeNonces(Breakable):
    open: set[str] = field(default_factory=set)

    async def issue(self, nonce: str, ttl_s: int) -> None:
        self.check()
        self.open.add(nonce)

    async def consume(self, nonce: str) -> bool:
        self.check()
        known = nonce in self.open
        self.open.discard(nonce)
        return known


@dataclass
class FakeRates(Breakable):
    used: dict[str, int] = field(default_factory=dict)

    async def take(self, key: str, limit: int, window_s: float) -> tuple[bool, int, float]:
        self.check()
        used = self.used.get(key, 0) + 1
        self.used[key] = min(used, limit)
        return used <= limit, max(limit - used, 0), window_s

    async def lease(
        self, key: str, limit: int, *, window_s: float, wanted: int, hold_s: float = 0.0
    ) -> tuple[int, int, float, int]:
        self.check()
        used = self.used.get(key, 0)
        given = max(min(wanted, limit - used), 0)
        self.used[key] = used + given
        return given, limit - used - given, window_s, 0

    async def give_back(self, key: str, moment: int, count: int) -> None:
        self.check()
        self.used[key] -= count


class FakeTicks:
    """What `publish` is given, `listen` yields."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.kept: dict[str, list[dict[str, Any]]] = {}

    def publish(self, **message: Any) -> None:
        defaults = {"bucket": 1, "incarnation": 1, "generation": "g", "event": "price", "data": {}}
        self.keep(**message)
        self._queue.put_nowait(orjson.dumps(defaults | message))

    def keep(self, **message: Any) -> None:
        """As published while this gateway was not there."""
        defaults = {"bucket": 1, "incarnation": 1, "generation": "g", "event": "price", "data": {}}
        self.kept.setdefault(message["topic"], []).append(defaults | message)

    async def last(self, topic: str) -> tuple[int, str] | None:
        kept = self.kept.get(topic)
        return (kept[-1]["seq"], kept[-1]["generation"]) if kept else None

    async def replay(self, topic: str, *, generation: str, after_seq: int) -> list[bytes] | None:
        kept = [one for one in self.kept.get(topic, []) if one["generation"] == generation]
        found = [one for one in kept if one["seq"] > after_seq]
        if not kept or [one["seq"] for one in found] != list(
            range(after_seq + 1, kept[-1]["seq"] + 1)
        ):
            return None
        return [orjson.dumps(one) for one in found]

    async def listen(self, on_subscribed: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
        if on_subscribed:
            on_subscribed()
        while True:
            yield await self._queue.get()


@dataclass(frozen=True)
class FakeLog:
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class FakeReceipt:
    tx_hash: bytes
    status: int = 1
    block_number: int = 101
    gas_used: int = 90_000
    effective_gas_price: int = 10**9
    logs: tuple[FakeLog, ...] = ()


@dataclass
class FakeNode(Breakable):
    """Knows a launchpad's views. `mine` False: what is sent waits for `receipts`."""

    launchpad: bytes = bytes.fromhex("11" * 20)
    mine: bool = True
    revert: CallerError | None = None
    logs: tuple[FakeLog, ...] = ()
    receipts: dict[bytes, FakeReceipt] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    nonces: int = 0
    held: dict[bytes, int] = field(default_factory=dict)

    def check(self) -> None:
        if self.down:
            raise TransientError("stale_chain", "Expected the node to answer")

    async def balances(
        self, owner: bytes, tokens: Sequence[bytes], **rest: Any
    ) -> list[int | None]:
        self.check()
        return [self.held.get(token) for token in tokens]

    async def call(self, *, to: bytes, data: bytes, **rest: Any) -> bytes:
        self.check()
        views = {
            b"fees()": _words(*(getattr(FEES, name) for name in FEES.__slots__)),
            b"curveCount()": _words(2),
            b"curve(uint256)": self._curve(data),
            b"tokenImplementation()": IMPLEMENTATION.rjust(32, b"\0"),
        }
        for signature, found in views.items():
            if data[:4] == keccak(signature)[:4]:
                return found
        if data[:4] in SELECTOR_OF.values() and self.revert is not None:
            raise self.revert
        return bytes(32)

    def _curve(self, data: bytes) -> bytes:
        numbers = (CONSTANT_PRODUCT, LINEAR)[int.from_bytes(data[4:36], "big") % 2]
        return _words(*(getattr(numbers, name) for name in numbers.__slots__))

    async def code(self, address: bytes, *, timeout_s: float | None = None) -> bytes:
        self.check()
        return b""

    async def fees(self) -> tuple[int, int]:
        self.check()
        return 2_000_000_000, 1_000_000

    async def nonce(self, address: bytes) -> int:
        return self.nonces

    async def send_raw_sync(self, raw: bytes, timeout_s: float) -> FakeReceipt | None:
        self.check()
        self.sent.append(raw)
        tx_hash = decode_raw(raw).hash
        if self.mine:
            self.receipts[tx_hash] = FakeReceipt(tx_hash, logs=self.logs)
        return self.receipts.get(tx_hash)

    async def receipt(self, tx_hash: bytes) -> FakeReceipt | None:
        self.check()
        return self.receipts.get(tx_hash)

    async def revert_reason(self, tx_hash: bytes) -> str:
        return "SlippageExceeded"


class FakeSink:
    """A structlog logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))

    @property
    def errors(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [line for line in self.lines if line[0] == "error"]


def trade_log(*, launchpad: bytes, token: bytes, trader: bytes, tokens: int, eth: int) -> FakeLog:
    """A `Trade` of a buy without fees."""
    words = _words(9, 2, 1, 0, 0, 0, eth, tokens, eth, 0, 0, 0, 0, tokens, eth, 0)
    topics = (fills.TRADE, *(word.rjust(32, b"\0") for word in (token, trader, trader)))
    return FakeLog(launchpad, topics, words)


def token_record(token: bytes, name: str = "Morning Tide", **fields: Any) -> TokenRecord:
    """A token as history has it; anything can be replaced."""
    values: dict[str, Any] = {
        "token": token,
        "name": name,
        "symbol": "TIDE",
        "creator": hashlib.sha256(b"creator").digest()[:20],
        "pair": hashlib.sha256(b"pair" + token).digest()[:20],
        "chain_id": 11155931,
        "version": 1,
        "curve": CONSTANT_PRODUCT,
        "fees": FEES,
        "metadata_hash": hashlib.sha256(token).digest(),
        "phase": "curve",
        "sold": 0,
        "raised": 0,
        "price_e18": 1,
        "market_cap_wei": 1,
        "volume_24h": 5 * 10**17,
        "trades": 3,
        "holders": 2,
        "created_at": 1_700_000_000,
        "created_block": 1,
        "updated_at": 1_700_000_100,
    }
    return TokenRecord(**(values | fields))


def transaction_record(token: bytes, number: int = 1, **fields: Any) -> TransactionRecord:
    """A mined buy."""
    values: dict[str, Any] = {
        "tx_hash": hashlib.sha256(number.to_bytes(4, "big")).digest(),
        "position": 0,
        "block_number": number,
        "tx_index": 0,
        "log_index": 2,
        "token": token,
        "user": hashlib.sha256(b"user").digest()[:20],
        "type": "BUY",
        "eth_amount": 10**18,
        "token_amount": 5 * 10**18,
        "price_e18": 2 * 10**35,
        "gas_fee": 21_000,
        "status": "CONFIRMED",
        "reason": None,
        "time": 1_700_000_000 + number,
    }
    return TransactionRecord(**(values | fields))


def pending_record(**row: Any) -> TransactionRecord:
    """What `add_pending` leaves."""
    return TransactionRecord(
        position=-1,
        block_number=None,
        tx_index=None,
        log_index=None,
        price_e18=None,
        gas_fee=None,
        status="PENDING",
        reason=None,
        time=1_700_000_000,
        **row,
    )


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)
