"""What is preconfirmed above the tip, in the order it came, for consumers to catch up on."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from engine.limits import OPEN_EVENTS_MAX
from engine.messages import MarketEvent, Preconfirmed


@dataclass(frozen=True, slots=True)
class Entry:
    """`number` counts entries for ever, so that a consumer knows which it has."""

    number: int
    message: Preconfirmed


class OpenBlocks:
    """Bounded: beyond OPEN_EVENTS_MAX events new ones are left to the seal."""

    def __init__(self, chain_id: int) -> None:
        self._chain_id = chain_id
        self._entries: list[Entry] = []
        self._events = 0
        self._next = 0

    def add(self, block: int, events: Sequence[MarketEvent], received_ns: int) -> bool:
        """Whether they were taken."""
        if not events or self._events + len(events) > OPEN_EVENTS_MAX:
            return False
        message = Preconfirmed(self._chain_id, block, tuple(events), received_ns)
        self._entries.append(Entry(self._next, message))
        self._next += 1
        self._events += len(events)
        return True

    def seal(self, number: int) -> None:
        """Blocks up to `number` are sealed."""
        self._keep([one for one in self._entries if one.message.block_number > number])

    def clear(self) -> None:
        """Nothing is known to be open: another connection begins, or the chain changed."""
        self._keep([])

    def since(self, number: int) -> list[Entry]:
        """Entries above `number`."""
        first = bisect_right(self._entries, number, key=lambda one: one.number)
        return self._entries[first:]

    def _keep(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._events = sum(len(one.message.events) for one in entries)
