"""What was said of sealed trades on the topics that many buckets share, and what is still to say.

A topic of a token is numbered anew by each owner. The topic of all trades and those of wallets
go on under every owner: there each sealed trade is to be said once. So a bucket has a mark, kept
with the messages: the block up to which all its sealed trades were said. Whoever takes the
bucket, or was not heard for a while, goes on from there. The cases, in the order of `following`:
  1. the mark, or a preconfirmed trade that was said, is ahead of where we stand: wait until we
     are there; one that is further ahead than a block can be open is a gap;
  2. its block is not one that we stood on: what it said was taken back and nobody said so, a gap;
  3. a trade after it is older than what is remembered here, or a market was halted after it, whose
     trades nobody says: a gap;
  4. preconfirmed ones that are not after it were not sealed: they are taken back;
  5. what is remembered after it is said.
A gap is a new generation of those topics, which whoever reads them sees.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curves.values import value
from engine import text
from engine.buckets import bucket_of
from engine.limits import SAID_BLOCKS
from engine.messages import (
    FINALISED,
    SEALED,
    AsOf,
    FeedPosition,
    PoolSwapped,
    TokenCreated,
    Traded,
)

if TYPE_CHECKING:
    from engine.group import Group

Sayable = Traded | PoolSwapped | TokenCreated


@value
class Telling:
    """One message. `sealed_in` None: it is preconfirmed, or takes something back, and goes out in
    any case; else only where the mark is below that block. `only_open`: if it is open, for it may
    be asked for twice.
    """

    event: str
    data: dict[str, object] = field(hash=False)
    sealed_in: FeedPosition | None = None
    only_open: bool = False


@dataclass(frozen=True, slots=True)
class Back:
    """Blocks above this one were taken back: the mark is here, if it was above."""

    to: FeedPosition


@dataclass(frozen=True, slots=True)
class Gap:
    """It is not known what was said up to here."""

    at: FeedPosition


@dataclass(frozen=True, slots=True)
class Lift:
    """All of the bucket up to this block was said: so is the mark there, for others to compare."""

    to: FeedPosition


Item = Telling | Back | Gap | Lift

SAID, OVERTAKEN, UNCLAIMED = "said", "overtaken", "unclaimed"


@dataclass(frozen=True, slots=True)
class ToSay:
    """Of one bucket, under the claim of that number: one that was given up and comes later than the
    next claim is not said.
    """

    bucket: int
    incarnation: int
    claim: int
    items: tuple[Item, ...] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """To say what is of this bucket, by who stands on the block `at`; `number` grows with each
    claim in an incarnation that is not a repetition.
    """

    bucket: int
    incarnation: int
    number: int
    at: FeedPosition


@dataclass(frozen=True, slots=True)
class Mark:
    """Of a bucket. `open`: preconfirmed trades that were said and are neither sealed nor taken
    back, as they were said; not all of them if not `whole`.
    """

    at: FeedPosition
    open: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Following:
    """What a bucket has to say after its mark, in order; or that nobody knows."""

    taken_back: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    events: tuple[Sayable, ...] = ()
    gap: bool = False


@dataclass(slots=True)
class Recent:
    """Trades and launches of the newest blocks of a group: all of those `above` a block."""

    above: int = -1
    _blocks: OrderedDict[int, list[Sayable]] = field(default_factory=OrderedDict)

    def keep(self, number: int, events: Iterable[object]) -> None:
        """Of a block, as far as they were applied."""
        mine = [event for event in events if isinstance(event, Sayable)]
        if mine:
            self._blocks.setdefault(number, []).extend(mine)

    def hash_of(self, number: int) -> bytes | None:
        """Of a block with something of these."""
        return next((event.at.block_hash for event in self._blocks.get(number, ())), None)

    def lack(self, number: int) -> None:
        """Those up to this block are not here."""
        self.above = max(self.above, number)

    def pop_above(self, number: int) -> None:
        """Those blocks were taken back."""
        self.above = min(self.above, number)
        for one in [one for one in self._blocks if one > number]:
            del self._blocks[one]

    def trim(self, number: int) -> None:
        """The group stands on this block."""
        self.lack(number - SAID_BLOCKS)
        for one in [one for one in self._blocks if one <= self.above]:
            del self._blocks[one]

    def after(self, marks: Mapping[int, int]) -> dict[int, list[Sayable]]:
        """By bucket, those after its block, in the order of the chain."""
        found: dict[int, list[Sayable]] = {bucket: [] for bucket in marks}
        for number in sorted(self._blocks):
            for event in self._blocks[number]:
                bucket = bucket_of(event.token)
                if bucket in marks and number > marks[bucket]:
                    found[bucket].append(event)
        for events in found.values():
            events.sort(key=lambda event: event.at.order)
        return found


def following(group: "Group", marks: Mapping[int, Mark]) -> dict[int, Following]:
    """By bucket; one that has to wait is not in it."""
    here = group.position.number
    due = {bucket: mark for bucket, mark in marks.items() if _is_due(mark, here)}
    numbers = {bucket: mark.at.number for bucket, mark in due.items()}
    lost = {b for b, mark in due.items() if not mark.whole or not group.stood_on(mark.at)}
    lost |= {bucket for bucket, mark in due.items() if _newest(mark) > here}
    lost |= _forgotten(group, numbers) | _halted(group, numbers)
    return {
        bucket: Following(gap=True)
        if bucket in lost
        else Following(_untrue(due[bucket], events), tuple(events))
        for bucket, events in group.recent.after(numbers).items()
    }


def as_of_now(group: "Group", token: bytes) -> AsOf:
    """The state by which something of this market was taken back."""
    bucket, timeline = bucket_of(token), group.timelines.get(token)
    if timeline is not None:
        return group.as_of(timeline, bucket, sealed=True)
    here, version = group.position, (group.incarnations[bucket], 0)
    return AsOf(here.number, here.hash, -1, SEALED, version)


def as_of(group: "Group", event: Sayable) -> AsOf:
    """The block of a sealed event, with the market's version by now."""
    at, timeline = event.at, group.timelines.get(event.token)
    version = (group.incarnations[bucket_of(event.token)], timeline.changes if timeline else 0)
    status = FINALISED if at.block_number <= group.finalised else SEALED
    return AsOf(at.block_number, at.block_hash, at.log_index, status, version)


def _is_due(mark: Mark, here: int) -> bool:
    return mark.at.number <= here and not here < _newest(mark) <= here + SAID_BLOCKS


def _newest(mark: Mark) -> int:
    return max((int(one["blockNumber"]) for one in mark.open), default=-1)


def _untrue(mark: Mark, events: Iterable[Sayable]) -> tuple[dict[str, Any], ...]:
    # What was sealed up to the mark is not open any more.
    true = {(text.hex_of(event.at.tx_hash), event.at.position) for event in events}
    return tuple(one for one in mark.open if (one["txHash"], one["position"]) not in true)


def _halted(group: "Group", numbers: Mapping[int, int]) -> set[int]:
    found = [(bucket_of(token), block) for token, block in group.stopped.items()]
    return {bucket for bucket, block in found if bucket in numbers and block > numbers[bucket]}


def _forgotten(group: "Group", numbers: Mapping[int, int]) -> set[int]:
    # Buckets where something happened after the mark, and before what is remembered.
    above = group.recent.above
    old = {bucket: number for bucket, number in numbers.items() if number < above}
    if not old:
        return set()
    found = set()
    for token, timeline in group.timelines.items():
        bucket = bucket_of(token)
        if bucket in old and bucket not in found:
            then = timeline.state_at(above)
            if then is not None and then.block > old[bucket]:
                found.add(bucket)
    return found
