"""What is handed in to the roles: adapters of storage and chain, and calls to other roles."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from engine.adoption import Found
from engine.control import Directory, Instance, Scale, Wanted
from engine.messages import (
    BucketOwner,
    CurveNumbers,
    FeedPosition,
    ListedRow,
    MarketEvent,
    Sampled,
    Tick,
)
from engine.placement import Node
from engine.rows import BlockRows, MarketRow, TransactionRecord
from engine.said import Claim, Mark, ToSay
from engine.states import Beat, BucketStates, Heard, Published


class Log(Protocol):
    """structlog's bound logger, as far as it is used."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Calls(Protocol):
    """Calls to other actors by the name of the instance."""

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        """The answer. Raises TransientError("shard_unavailable") when there is none."""


class Launcher(Calls, Protocol):
    """Starting and ending actors; only the supervisor has it."""

    async def launch(self, slot: str, role: str, placed: Sequence[Instance]) -> Instance:
        """Start an actor in a process of its own, on the node that suits it beside those that
        are `placed`; returns once it is ready."""

    async def kill(self, instance: Instance) -> None:
        """End it, by its pid where it does not answer. Raises TransientError where that is not
        known to be done."""

    def is_busy(self, instance: Instance) -> bool:
        """Whether one that does not answer works meanwhile, or waits for a processor. Where that
        cannot be seen, it does not."""

    async def existing(self) -> Found:
        """Actors of an earlier supervisor that are still there."""

    async def nodes(self) -> Sequence[Node]:
        """The living nodes; those of another build, or that do not answer, are refused."""


class Buckets(Protocol):
    """Ownership of buckets: `storage.buckets`."""

    async def take(
        self, owner: str, buckets: Sequence[int], *, overtaken: Mapping[int, int] | None = None
    ) -> dict[int, int]: ...

    async def owners(self) -> list[BucketOwner]: ...


class WantedNumbers(Protocol):
    """How many of each role: `storage.wanted`."""

    async def read(self) -> Wanted: ...
    async def write(self, change: Scale) -> Wanted: ...


class Snapshot(Protocol):
    """A stored snapshot of one bucket."""

    @property
    def block_number(self) -> int: ...
    @property
    def schema(self) -> int: ...
    @property
    def payload(self) -> bytes: ...


class Snapshots(Protocol):
    """Fenced snapshots, newest first: `storage.snapshots`."""

    async def save(
        self,
        *,
        bucket: int,
        incarnation: int,
        block_number: int,
        block_hash: bytes,
        schema: int,
        payload: bytes,
    ) -> bool: ...

    async def load(self, buckets: Sequence[int]) -> Any: ...


class RecordedEvents(Protocol):
    """What recovery reads: `storage.events`."""

    async def position(self) -> FeedPosition: ...
    async def trail(self, limit: int) -> list[FeedPosition]: ...

    def market_events(
        self, buckets: Sequence[int], *, after_block: int, upto_block: int
    ) -> AsyncIterator[list[MarketEvent]]: ...


class History(RecordedEvents, Protocol):
    """What the recorder writes: `storage.events`."""

    async def claim(self) -> int: ...

    async def write(
        self, rows: Sequence[BlockRows], *, incarnation: int, position: FeedPosition
    ) -> bool: ...

    async def finalise(self, number: int, incarnation: int) -> bool: ...
    async def rewind(self, ancestor: FeedPosition, *, incarnation: int) -> bool: ...
    async def event_seqs(self) -> dict[bytes, int]: ...
    async def last_block_of(self, emitter: bytes) -> int: ...
    async def token_curves(self, tokens: Sequence[bytes]) -> dict[bytes, CurveNumbers]: ...
    async def last_markets(self, tokens: Sequence[bytes]) -> dict[bytes, MarketRow]: ...
    async def checked(self, tx_hashes: Sequence[bytes]) -> None: ...
    async def pending(self, limit: int) -> list[TransactionRecord]: ...

    async def settle(
        self, tx_hash: bytes, *, status: str, reason: str | None, gas_fee: int | None
    ) -> None: ...


class Ticks(Protocol):
    """Fenced publication: `storage.ticks`."""

    async def publish_all(
        self, parcels: Sequence[tuple[int, int, Sequence[Tick]]]
    ) -> list[bool]: ...
    async def say_trades(self, parcels: Sequence[ToSay]) -> list[str]: ...
    async def claim_said(self, claims: Sequence[Claim]) -> list[Mark | None]: ...
    async def sample(self, rows: Sequence[ListedRow], *, left_out: int = 0) -> Sampled: ...
    async def halted(self) -> dict[bytes, str]: ...
    async def note_halted(self, tokens: Mapping[bytes, str]) -> None: ...


class StatesOut(Protocol):
    """What read replicas are told: `storage.states`."""

    async def publish(self, messages: Sequence[BucketStates | Beat]) -> Published: ...
    async def doors(self, buckets: Sequence[int]) -> dict[int, int]: ...


class StatesIn(Protocol):
    """What a read replica hears: `storage.states`."""

    def listen(self, wanted: Callable[[], frozenset[int]]) -> AsyncIterator[Heard]: ...


class Routes(Protocol):
    """Anything that is told of a new directory."""

    def route(self, directory: Directory) -> None: ...
