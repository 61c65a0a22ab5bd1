"""What a read replica is fed with: all that a quote is computed from, and where it stands.

A shard numbers, for each bucket in use, the messages about it. One message holds every market
of the bucket that changed at one step of its group, whole, and the place where the group
stands then; so whoever has heard them all without a gap has what the shard has. A beat says
how far each bucket's numbers go, and where its group stands by now: markets that nobody named
since did not change. A number that no message has is a gap on purpose.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.buckets import bucket_of
from engine.group import Group
from engine.market import Market
from engine.messages import FINALISED, PRECONFIRMED, SEALED, AsOf

NO_VALUE = -1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group stands: `step` counts what it applied, under one incarnation it only grows."""

    number: int
    hash: bytes
    finalised: int
    step: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """One market, whole. `newest` is (block, log index) of the newest preconfirmed event, where
    there is a `quoted` value; `changes` is the second part of its version.
    """

    token: bytes
    changes: int = 0
    sealed: Market | None = None
    quoted: Market | None = None
    newest: tuple[int, int] = (NO_VALUE, NO_VALUE)
    halted: bool = False


@dataclass(frozen=True, slots=True)
class BucketStates:
    """Message `seq` of a bucket under an incarnation: the markets that changed at one step.

    `silence_ms` is how old the newest head beat was when this was made, `made_ns` of the wall
    clock.
    """

    bucket: int
    incarnation: int
    seq: int
    place: Place
    silence_ms: int
    made_ns: int
    states: tuple[MarketState, ...]


class Mark(NamedTuple):
    """How far the numbers of a bucket go."""

    bucket: int
    incarnation: int
    seq: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A group in a beat: where it stands, with those of its buckets that are in use."""

    place: Place
    silence_ms: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """A shard lives, and this is where its buckets stand. `made_ns` of the wall clock."""

    made_ns: int
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A market as it is after message `seq` of its bucket: the answer to who asks for it."""

    bucket: int
    incarnation: int
    seq: int
    state: MarketState


@dataclass(frozen=True, slots=True)
class Listening:
    """From now on every message of this bucket comes."""

    bucket: int


@dataclass(frozen=True, slots=True)
class Deaf:
    """Messages of this bucket come no more."""

    bucket: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is gone: no message comes any more."""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of messages: (bucket, incarnation) of an owner that was overtaken, whose messages
    did not go out, and how many doors heard the last beat; None: there was none.
    """

    refused: tuple[tuple[int, int], ...]
    doors: int | None = None


Heard = BucketStates | Beat | Listening | Deaf | Cut
"""What a door hears."""

Told = BucketStates | Mark | Entry
"""What names a number of a bucket under an incarnation."""


class Numbering:
    """The shard's side: which buckets are in use, and how far their numbers go.

    A number is never used for two messages of one incarnation, also where a bucket went out of
    use in between.
    """

    def __init__(self) -> None:
        self._seqs: dict[int, int] = {}
        self._used: set[int] = set()

    def use(self, bucket: int) -> None:
        """Somebody wants to hear of this bucket."""
        if bucket not in self._used:
            # What changed while nobody listened was not numbered: that is a gap.
            self._seqs[bucket] = self._seqs.get(bucket, 0) + 1
            self._used.add(bucket)

    def unused(self) -> None:
        """Nobody listens any more."""
        self._used.clear()

    def drop(self, bucket: int) -> None:
        """Nobody listens to this bucket any more. Who does after all hears no beat of it, and
        asks: then it is in use again, behind a gap.
        """
        self._used.discard(bucket)

    def close(self, bucket: int) -> None:
        """A bucket is not owned any more; taken again it has another incarnation."""
        self._seqs.pop(bucket, None)
        self._used.discard(bucket)

    def skip(self, buckets: Iterable[int]) -> None:
        """Something happened that no message says: whoever listens has to ask again."""
        for bucket in self._used & set(buckets):
            self._seqs[bucket] += 1

    @property
    def used(self) -> bool:
        """Whether anybody listens."""
        return bool(self._used)

    @property
    def buckets(self) -> frozenset[int]:
        """What somebody listens to."""
        return frozenset(self._used)

    def seq(self, bucket: int) -> int:
        """Of the bucket's last message."""
        return self._seqs.get(bucket, 0)

    def changed(
        self,
        group: Group,
        tokens: Iterable[bytes],
        *,
        place: Place,
        silence_ms: int,
        made_ns: int,
    ) -> list[BucketStates]:
        """The messages of one step: one for each bucket in use with any of `tokens`."""
        by_bucket: dict[int, list[MarketState]] = {}
        for token in dict.fromkeys(tokens):
            bucket = bucket_of(token)
            if bucket in self._used:
                by_bucket.setdefault(bucket, []).append(state_of(group, token))
        return [
            BucketStates(
                bucket=bucket,
                incarnation=group.incarnations[bucket],
                seq=self._next(bucket),
                place=place,
                silence_ms=silence_ms,
                made_ns=made_ns,
                states=tuple(states),
            )
            for bucket, states in by_bucket.items()
        ]

    def marks(self, group: Group) -> tuple[Mark, ...]:
        """Of the group's buckets in use."""
        mine = sorted(self._used & group.incarnations.keys())
        return tuple(Mark(one, group.incarnations[one], self._seqs[one]) for one in mine)

    def _next(self, bucket: int) -> int:
        self._seqs[bucket] += 1
        return self._seqs[bucket]


def place_of(group: Group, step: int) -> Place:
    """Where the group stands."""
    return Place(group.position.number, group.position.hash, group.finalised, step)


def state_of(group: Group, token: bytes) -> MarketState:
    """The market as it is in its group, with or without a value."""
    timeline = group.timelines.get(token)
    if timeline is None:
        return MarketState(token, halted=token in group.broken)
    newest = (NO_VALUE, NO_VALUE)
    if timeline.quoted is not None:
        at = timeline.overlay[-1].at
        newest = (at.block_number, at.log_index)
    return MarketState(
        token=token,
        changes=timeline.changes,
        sealed=timeline.sealed,
        quoted=timeline.quoted,
        newest=newest,
        halted=timeline.halted is not None,
    )


def as_of(state: MarketState, place: Place, incarnation: int, *, sealed: bool) -> AsOf:
    """The state that an answer names; equal to `Group.as_of` where the shard stands there."""
    version = (incarnation, state.changes)
    if state.quoted is not None and not sealed:
        return AsOf(state.newest[0], None, state.newest[1], PRECONFIRMED, version)
    status = FINALISED if place.number <= place.finalised else SEALED
    log_index = state.sealed.log_index if state.sealed else NO_VALUE
    return AsOf(place.number, place.hash, log_index, status, version)


def touched(changed: Sequence[bytes], previewed: Iterable[bytes]) -> list[bytes]:
    """Markets whose quote may be another one after a step: those that changed visibly, and those
    that had something preconfirmed before it, which is folded anew without being a change.
    """
    return list(dict.fromkeys([*changed, *previewed]))
