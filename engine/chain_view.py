"""The window of sealed blocks that may still be reorganised, linked by parent hash.

A new header meets one of four cases, looked at in this order:
  1. Duplicate: its number and hash are in the window already;
  2. Reorged: it contradicts the window: another hash at a number we hold, a parent that is
     not our tip, or a number below the base;
  3. Gap: it is further up, numbers are missing in between;
  4. Extended: it is the child of the tip.
The window is bounded: `base` is the tip less the depth, and nothing at or below it is
expected to change. Finality is a marker of its own, possibly lower; what is final never
changes either. Blocks that were taken back are remembered by their parents for as long, so
that a consumer that stands on one can be told where to go back to.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.bridge.events import TransferEvent
from engine.errors import ConsistencyError
from engine.messages import (
    Administered,
    Block,
    BlockHeader,
    ChainEvent,
    Completed,
    CurveAdded,
    FeedPosition,
    Graduated,
    Reopened,
    TokenCreated,
    Traded,
)


@dataclass(frozen=True, slots=True)
class Extended:
    """The header is a child of the tip."""

    header: BlockHeader


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The header is in the window already."""

    header: BlockHeader


@dataclass(frozen=True, slots=True)
class Gap:
    """Blocks `first` to `last` are missing before `header`."""

    header: BlockHeader
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Reorged:
    """`header` contradicts ours. `ancestor` is the last common block where this header alone
    tells it, None where one has to walk back."""

    header: BlockHeader
    ancestor: FeedPosition | None


Verdict = Extended | Duplicate | Gap | Reorged

ORPHANS_PER_DEPTH = 4
"""Blocks that were taken back and are remembered: several reorganisations may come before a
slow consumer hears of the first."""

BELOW, INSIDE, AHEAD, FOREIGN = "below", "inside", "ahead", "foreign"


class ChainView:
    """`anchor` is the lowest block, known without its events; `depth` bounds the window."""

    def __init__(self, anchor: BlockHeader, depth: int) -> None:
        assert depth > 0, f"Expected a positive depth, was {depth}"
        self._depth = depth
        self._blocks = {anchor.number: Block(anchor, ())}
        self._base = anchor.number
        self._tip = anchor
        self._finalised = -1
        self._orphans: OrderedDict[bytes, FeedPosition] = OrderedDict()

    @property
    def tip(self) -> BlockHeader:
        """The newest sealed block."""
        return self._tip

    @property
    def base(self) -> int:
        """The lowest number in the window; consumers at or above it are fed from here."""
        return self._base

    @property
    def finalised(self) -> int:
        """Everything up to here is final; -1: nothing known. May be below the base."""
        return self._finalised

    def __len__(self) -> int:
        return len(self._blocks)

    def judge(self, header: BlockHeader) -> Verdict:
        """Which of the four cases this header is. Nothing changes."""
        if header.number <= self._tip.number:
            held = self._blocks.get(header.number)
            if held is not None and held.header.hash == header.hash:
                return Duplicate(header)
            return Reorged(header, self._parent_of(header))
        if header.number > self._tip.number + 1:
            return Gap(header, self._tip.number + 1, header.number - 1)
        if header.parent_hash != self._tip.hash:
            return Reorged(header, None)
        return Extended(header)

    def extend(self, block: Block) -> Verdict:
        """Judge a sealed block with its events; it becomes the tip if it is `Extended`."""
        verdict = self.judge(block.header)
        if isinstance(verdict, Extended):
            self._tip = block.header
            self._blocks[self._tip.number] = block
            while self._base < self._tip.number - self._depth:
                del self._blocks[self._base]
                self._base += 1
        return verdict

    def rewind(self, ancestor: int) -> list[Block]:
        """Take back every block above `ancestor`; they are answered, lowest first.

        Raises ConsistencyError("reorg_too_deep"), unchanged, below the window's base or below
        what is final.
        """
        lowest = max(self._base, self._finalised)
        if ancestor < lowest:
            text = f"Expected a reorg down to {lowest} at most, was {ancestor}"
            raise ConsistencyError("reorg_too_deep", text)
        voided = [self._blocks.pop(n) for n in range(ancestor + 1, self._tip.number + 1)]
        for block in voided:
            header = block.header
            self._orphans[header.hash] = FeedPosition(header.number - 1, header.parent_hash)
        while len(self._orphans) > ORPHANS_PER_DEPTH * self._depth:
            self._orphans.popitem(last=False)
        self._tip = self._blocks[ancestor].header
        return voided

    def ancestor_of(
        self, position: FeedPosition, trail: Iterable[FeedPosition] = ()
    ) -> FeedPosition | None:
        """The last block of ours that leads to a position that is not ours any more, by what
        was taken back here or by the consumer's own `trail`; None: nobody knows.

        It may be below the window by now: it was inside when what followed was taken back,
        and nothing below the base is ever taken back.
        """
        found = self._orphans.get(position.hash)
        while found is not None and found.hash in self._orphans and not self._holds(found):
            found = self._orphans[found.hash]
        if found is not None and (self._holds(found) or found.number < self._base):
            return found
        return next((one for one in trail if self.standing(one) == INSIDE), None)

    def _holds(self, position: FeedPosition) -> bool:
        return self.standing(position) == INSIDE

    def finalise(self, number: int) -> bool:
        """Move the marker, never down, never above the tip; whether it moved."""
        number = min(number, self._tip.number)
        moved = number > self._finalised
        self._finalised = max(self._finalised, number)
        return moved

    def block(self, number: int) -> Block | None:
        """The block of this number, None outside the window."""
        return self._blocks.get(number)

    def after(self, number: int, limit: int) -> tuple[Block, ...]:
        """At most `limit` blocks that follow `number`, which is not below the base."""
        assert number >= self._base, f"Expected at least {self._base}, was {number}"
        last = min(self._tip.number, number + limit)
        return tuple(self._blocks[n] for n in range(number + 1, last + 1))

    def standing(self, position: FeedPosition) -> str:
        """Where a consumer's position is: BELOW the window, INSIDE, AHEAD of the tip, or
        FOREIGN, that is another hash than ours at its number."""
        if position.number > self._tip.number:
            return AHEAD
        held = self._blocks.get(position.number)
        if held is None:
            return BELOW
        return INSIDE if held.header.hash == position.hash else FOREIGN

    def last_with_events(self, emitter: bytes, upto: int) -> int:
        """The highest block up to `upto` with a numbered event of `emitter`; else the base."""
        for number in range(min(upto, self._tip.number), self._base, -1):
            if any(one.at.emitter == emitter for one in numbered(self._blocks[number].events)):
                return number
        return self._base

    def _parent_of(self, header: BlockHeader) -> FeedPosition | None:
        parent = self._blocks.get(header.number - 1)
        if parent is None or parent.header.hash != header.parent_hash:
            return None
        return FeedPosition(parent.header.number, parent.header.hash)


NumberedEvent = (
    CurveAdded
    | TokenCreated
    | Traded
    | Completed
    | Reopened
    | Graduated
    | Administered
    | TransferEvent
)


def numbered(events: Iterable[ChainEvent]) -> list[NumberedEvent]:
    """Those that a launchpad or a vault numbered; a pair and a token do not number theirs."""
    return [event for event in events if isinstance(event, NumberedEvent)]


@dataclass(frozen=True, slots=True)
class SeqFault:
    """A launchpad's numbering does not go on: something before `found` is missing."""

    emitter: bytes
    expected: int
    found: int

    def __str__(self) -> str:
        return f"Expected event {self.expected} of 0x{self.emitter.hex()}, was {self.found}"


class EventSeqs:
    """The launchpads' own numbering: a gap in it proves a lost log, whatever the node says.

    The first event seen of a launchpad is taken as it is.
    """

    def __init__(self, last: Mapping[bytes, int] | None = None) -> None:
        self._last = dict(last or {})

    def fault(self, events: Iterable[ChainEvent]) -> SeqFault | None:
        """What is wrong with the numbering of these events, None if they follow."""
        expected = dict(self._last)
        for event in numbered(events):
            emitter, found = event.at.emitter, event.event_seq
            last = expected.get(emitter)
            if last is not None and found != last + 1:
                return SeqFault(emitter, last + 1, found)
            expected[emitter] = found
        return None

    def note(self, events: Iterable[ChainEvent]) -> None:
        """These events were accepted."""
        for event in numbered(events):
            self._last[event.at.emitter] = event.event_seq

    def unnote(self, events: Iterable[ChainEvent]) -> None:
        """These events, the last ones accepted, were taken back."""
        for event in reversed(numbered(events)):
            self._last[event.at.emitter] = event.event_seq - 1
