"""The window of sealed blocks that may still be reorganised, linked by parent hash.

A new header meets one of four cases, looked at in this order:
  1. Duplicate: its number and hash are in the window already;
  2. Reorged: it contradicts the window: another hash at a number we hold, a parent that is
     not our tip, or a number below the base;
  3. Gap: it is further up, numbers are missing in between;
  4. Extended: it is the child of the tip.
The window is bounded: `base` is the tip less the depth, and nothing at or below it is
expected to change. Finality is a marker of its own, possibly lower.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.messages import (
    Block,
    BlockHeader,
    ChainEvent,
    FeedPosition,
    Transferred,
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

    def _parent_of(self, header: BlockHeader) -> FeedPosition | None:
        parent = self._blocks.get(header.number - 1)
        if parent is None or parent.header.hash != header.parent_hash:
            return None
        return FeedPosition(parent.header.number, parent.header.hash)


class EventSeqs:
    """The launchpads' own numbering: a gap in it proves a lost log, whatever the node says.

    The first event seen of a launchpad is taken as it is.
    """

    def __init__(self, last: Mapping[bytes, int] | None = None) -> None:
        self._last = dict(last or {})

    def fault(self, events: Iterable[ChainEvent]) -> str | None:
        """What is wrong with the numbering of these events, None if they follow."""
        expected = dict(self._last)
        for event in events:
            if isinstance(event, Transferred):
                continue
            emitter, found = event.at.emitter, event.event_seq
            last = expected.get(emitter)
            if last is not None and found != last + 1:
                return f"Expected event {last + 1} of 0x{emitter.hex()}, was {found}"
            expected[emitter] = found
        return None

    def note(self, events: Iterable[ChainEvent]) -> None:
        """These events were accepted."""
        for event in events:
            if not isinstance(event, Transferred):
                self._last[event.at.emitter] = event.event_seq
