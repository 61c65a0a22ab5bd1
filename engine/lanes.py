"""What waits to be sent, in lanes: each keeps its order, and what is urgent goes before the rest.

The cases of `take`, in order:
  1. lanes with something urgent, the one that waits longest first: all of each up to its last
     urgent item, since nothing passes another of its own lane;
  2. of the other items at least one, so that urgent ones never hold them up for good, and more,
     the lanes in turn, while there is room.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Unbounded; `urgent` and `calm` are the numbers of items that wait, for who bounds them."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, deque[tuple[T, bool]]] = OrderedDict()
        self._ahead: dict[Hashable, int] = {}
        self.urgent = 0
        self.calm = 0

    def __len__(self) -> int:
        return self.urgent + self.calm

    def put(self, lane: Hashable, item: T, *, urgent: bool = False) -> None:
        """Behind what waits in its lane."""
        mine = self._lanes.get(lane)
        if mine is None:
            mine = self._lanes[lane] = deque()
        mine.append((item, urgent))
        if urgent:
            self.urgent += 1
            self._ahead[lane] = len(mine)
        else:
            self.calm += 1

    def take(self, room: int) -> list[T]:
        """What is next: with all that is urgent no more than `room`, or one of the others."""
        taken: list[T] = []
        for lane, count in self._ahead.items():
            taken += [self._pop(lane) for _ in range(count)]
        self._ahead.clear()
        while self.calm:
            lane = next(iter(self._lanes))
            taken.append(self._pop(lane))
            if lane in self._lanes:
                self._lanes.move_to_end(lane)
            if len(taken) >= room:
                break
        if not self._lanes:
            self._lanes.clear()  # which gives back the room of many that waited
        return taken

    def take_all(self) -> list[T]:
        """All that waits."""
        return self.take(len(self))

    def _pop(self, lane: Hashable) -> T:
        mine = self._lanes[lane]
        item, urgent = mine.popleft()
        if urgent:
            self.urgent -= 1
        else:
            self.calm -= 1
        if not mine:
            del self._lanes[lane]
        return item
