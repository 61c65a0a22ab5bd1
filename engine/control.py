"""What roles say to each other besides events: commands, questions and their answers.

Every command that changes something carries an identity or a position, so that applying
it twice is a no-op: calls between actors may be repeated and reordered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine import packed, packed_feed
from engine.messages import (
    BucketOwner,
    FeedBatch,
    FeedPosition,
    MarketView,
    QuoteReply,
    QuoteRequest,
    Refusal,
)
from engine.states import Entry


@dataclass(frozen=True, slots=True)
class Instance:
    """One running actor. `slot` ("shard-0") is a place to fill, `name` is unique."""

    slot: str
    role: str
    name: str
    pid: int = 0
    node: str = ""
    """The node of the cluster that it runs on; "" where nobody said."""
    host: str = ""
    """That node's address: nodes of one machine share it, and its ports."""
    port: int = 0
    """Of a door: where it answers."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Who runs and who owns which bucket. A higher `version` replaces a lower one."""

    version: int
    instances: tuple[Instance, ...]
    owners: tuple[BucketOwner, ...]

    def named(self, role: str) -> tuple[Instance, ...]:
        """The running instances of a role."""
        return tuple(one for one in self.instances if one.role == role)

    def __reduce__(self) -> tuple[Any, ...]:
        # A fifth of what pickling each owner costs, and everybody is told at each move.
        owners = tuple((one.bucket, one.owner, one.incarnation) for one in self.owners)
        return _directory, (self.version, self.instances, owners)


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered by every role with `Pong`."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Who answers, in which process."""

    slot: str
    role: str
    name: str
    pid: int
    buckets: tuple[tuple[int, int], ...] = ()
    """Of a shard: (bucket, incarnation) that it owns."""
    node: str = ""
    host: str = ""
    port: int = 0
    build: str = ""
    """Hash of the sources that it runs."""

    started: bool = True
    """Whether its role is built: before that it answers nothing else."""

    @property
    def instance(self) -> Instance:
        """Who answered."""
        return Instance(self.slot, self.role, self.name, self.pid, self.node, self.host, self.port)


@dataclass(frozen=True, slots=True)
class Prepare:
    """Shard: have these buckets ready to be taken, while another one still serves them: load,
    replay and follow, without owning. Answer: `Prepared`, once they stand on the listener's
    head. Renewed by repeating it; given up when it is neither repeated nor taken."""

    buckets: frozenset[int]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The buckets wait here: a `Take` of them is one UPDATE."""

    buckets: frozenset[int]


@dataclass(frozen=True, slots=True)
class Take:
    """Shard: own these buckets. Answer: `Taken`, once they are served. `overtaken` has, by bucket,
    the incarnation that Postgres had when this was commanded: what another shard has taken since
    is left to it. None: all are taken.
    """

    buckets: frozenset[int]
    overtaken: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The buckets are served, with these incarnations."""

    owners: tuple[BucketOwner, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Shard: forget these buckets; another owns them by now."""

    owners: tuple[BucketOwner, ...]
    """The new owners; a bucket held with a higher incarnation is kept."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Listener: feed `group` of `consumer` from `position`. Renewed by repeating it."""

    consumer: str
    group: str
    position: FeedPosition
    buckets: frozenset[int] | None
    trail: tuple[FeedPosition, ...] = ()
    """Earlier positions of the consumer, newest first: after a reorg that nobody saw, the
    first of them that is the listener's too is where to begin again."""


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Listener: feed this group no more."""

    consumer: str
    group: str


@dataclass(frozen=True, slots=True)
class Feed:
    """Consumer: the next messages for `group`. Answer: its `FeedPosition` after them."""

    group: str
    batch: FeedBatch

    def __reduce__(self) -> tuple[Any, ...]:
        return _fed, (self.group, packed_feed.pack(self.batch))


def _fed(group: str, packed: packed_feed.Packed) -> Feed:
    return Feed(group, packed_feed.unpack(packed))


@dataclass(frozen=True, slots=True)
class Quotes:
    """Shard: quotes that waited together, one call."""

    requests: tuple[QuoteRequest, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return _quotes, (packed.pack_requests(self.requests),)


@dataclass(frozen=True, slots=True)
class QuoteReplies:
    """In the order of `Quotes.requests`."""

    replies: tuple[QuoteReply | Refusal, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return _quote_replies, (packed.pack_replies(self.replies),)


@dataclass(frozen=True, slots=True)
class Views:
    """Markets by address; `StatesAt` asks for all at one block."""

    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MarketViews:
    """In the order of `Views.tokens`."""

    views: tuple[MarketView | Refusal, ...]


@dataclass(frozen=True, slots=True)
class EntriesWanted:
    """Shard: these markets, whole, for a read replica; and tell of their buckets from now on."""

    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """Those of the wanted markets whose bucket is owned."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class StatesAt:
    """Shard: the sealed state of every market after `block`, which must be in its window."""

    block: int


@dataclass(frozen=True, slots=True)
class StatesOf:
    """Shard: the sealed states of these markets after `block`, and of up to `changed` others
    that changed inside the window. Halted ones, and those of other owners, are left out."""

    block: int
    tokens: tuple[bytes, ...]
    changed: int = 0


@dataclass(frozen=True, slots=True)
class MarketStates:
    """(token, phase, sold, raised, seq, reserve_token, reserve_weth) of each market that
    existed at `block`; the reserves are 0 before the graduation."""

    block: int
    states: tuple[tuple[bytes, str, int, int, int, int, int], ...]
    halted: tuple[tuple[bytes, str], ...] = ()
    block_hash: bytes = b""
    """Of `block` where the shard stands; empty where its groups do not agree."""


@dataclass(frozen=True, slots=True)
class StateHashes:
    """Shard: a hash of every market's whole state after `block`."""

    block: int


@dataclass(frozen=True, slots=True)
class MarketHashes:
    """(token, sha256 of its canonical bytes); `block_hash` as in `MarketStates`."""

    block: int
    hashes: tuple[tuple[bytes, bytes], ...]
    block_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Halt:
    """Shard: serve this market no more, it was seen to differ from the contract. Answer:
    whether it was served."""

    token: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many of each role that can be several; kept in Postgres."""

    shards: int
    gateways: int
    stream_gateways: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Supervisor: so many from now on; None leaves a number as it is. Answer: `Wanted`."""

    shards: int | None = None
    gateways: int | None = None
    stream_gateways: int | None = None


@dataclass(frozen=True, slots=True)
class StatusWanted:
    """Any role: counters and lags as a flat dict for operators and metrics."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop taking work, finish what is begun, write what must be written."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a value; `blame` is the class name in `engine.errors`."""

    blame: str
    code: str
    message: str


def _directory(
    version: int, instances: tuple[Instance, ...], owners: tuple[tuple[int, str, int], ...]
) -> Directory:
    return Directory(version, instances, tuple(BucketOwner(*one) for one in owners))


def _quotes(requests: tuple[packed.Packed, ...]) -> Quotes:
    return Quotes(packed.unpack_requests(requests))


def _quote_replies(replies: tuple[packed.Packed, ...]) -> QuoteReplies:
    return QuoteReplies(packed.unpack_replies(replies))
