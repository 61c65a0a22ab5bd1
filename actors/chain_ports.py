"""What the listener needs of a chain; `chain/` has the adapters, tests have fakes."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from engine.messages import BlockHeader, ChainEvent


class Log(Protocol):
    """One raw log. `block_hash` is None while preconfirmed."""

    @property
    def block_number(self) -> int: ...
    @property
    def block_hash(self) -> bytes | None: ...
    @property
    def tx_hash(self) -> bytes: ...
    @property
    def log_index(self) -> int: ...


class Frame(Protocol):
    """One push of a subscription: `kind` is "head", "log" or "shred".

    Preconfirmed logs come as shreds, or as logs without a block hash where a node has no
    shreds; never as both on one connection.
    """

    @property
    def kind(self) -> str: ...
    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def received_ns(self) -> int: ...


L = TypeVar("L", bound=Log)
L_co = TypeVar("L_co", bound=Log, covariant=True)
LogIn_contra = TypeVar("LogIn_contra", bound=Log, contravariant=True)


class Shred(Protocol[L_co]):
    """A part of the open block; its logs have no block hash. `timestamp` in seconds."""

    @property
    def block_number(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def logs(self) -> Sequence[L_co]: ...


class ShredOrder(Protocol):
    """Says of each shred of a connection where it stands, and remembers it.

    A `gap`: shreds are missing before it; a `duplicate` is to be left alone.
    """

    def place(
        self, block_number: int, index: int
    ) -> Literal["next", "duplicate", "gap", "new_block"]: ...
    def reset(self) -> None: ...


class Source(Protocol[L]):
    """Blocks and logs over HTTP. Trouble is TransientError; a call ends within its timeout."""

    async def head(self) -> BlockHeader: ...
    async def header(self, block: int | bytes) -> BlockHeader | None: ...
    async def headers(self, first: int, last: int) -> list[BlockHeader]: ...
    async def headers_at(self, numbers: Sequence[int]) -> list[BlockHeader]: ...
    async def finalised(self) -> int: ...
    async def blocks_logs(self, headers: Sequence[BlockHeader]) -> list[list[L]]: ...
    async def block_logs(self, header: BlockHeader) -> list[L]: ...
    async def header_and_logs(self, block_hash: bytes) -> tuple[BlockHeader, list[L]] | None: ...
    async def receipt_logs(self, header: BlockHeader) -> list[L]: ...
    async def range_logs(self, first: int, last: int) -> list[L]: ...
    def header_of(self, json: Mapping[str, Any]) -> BlockHeader: ...
    def log_of(self, json: Mapping[str, Any]) -> L: ...
    def place_of(self, json: Mapping[str, Any]) -> Log:
        """Where the log stands, and no more of it."""

    def shred_of(self, json: Mapping[str, Any]) -> Shred[L]: ...
    def shred_order(self) -> ShredOrder:
        """A fresh one, for a new connection."""


class Stream(Protocol):
    """One live connection."""

    async def frames(self) -> AsyncIterator[Frame]:
        """Subscribed from its return on; the iterator ends by raising TransientError."""

    def refuse_shreds(self, reason: str) -> None:
        """One of its shreds cannot be read: later connections ask for logs instead."""

    async def close(self) -> None: ...


class Decoder(Protocol[LogIn_contra]):
    """Logs to events; raises ConsistencyError for what our contracts cannot have written."""

    def ours(self, log: LogIn_contra) -> bool: ...
    def learn(self, logs: Iterable[LogIn_contra]) -> None: ...
    def decode(
        self, logs: Sequence[LogIn_contra], *, block_time: int
    ) -> tuple[ChainEvent, ...]: ...


StreamFactory = Callable[[], Stream]
