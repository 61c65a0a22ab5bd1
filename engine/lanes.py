"""What waits to be sent, in lanes: each keeps the order of its calm items, and what is urgent goes
before everything that is calm, in the order in which it came.

An urgent item may pass the calm ones of its own lane, unless it is put `behind` them: then they are
urgent with it. The cases of `take`, in order:
  1. all that is urgent;
  2. with any room, of the calm items at least one, so that urgent ones never hold them up for good,
     and more, the lanes in turn, while there is room.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Unbounded; `urgent` and `calm` are the numbers of items that wait, for who bounds them."""

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._calm: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self.calm = 0

    def __len__(self) -> int:
        return self.urgent + self.calm

    @property
    def urgent(self) -> int:
        """How many wait."""
        return len(self._urgent)

    def put(self, lane: Hashable, item: T, *, urgent: bool = False, behind: bool = False) -> None:
        """Behind what waits and is urgent, or behind the calm ones of its lane."""
        if not urgent:
            self._calm.setdefault(lane, deque()).append(item)
            self.calm += 1
            return
        if behind and lane in self._calm:
            before = self._calm.pop(lane)
            self.calm -= len(before)
            self._urgent += before
        self._urgent.append(item)

    def take(self, room: int) -> list[T]:
        """What is next: with all that is urgent no more than `room`, or one of the others; without
        room nothing else.
        """
        taken = list(self._urgent)
        self._urgent = deque()  # which gives back the room of many that waited
        while room and self.calm:
            lane, mine = self._calm.popitem(last=False)
            taken.append(mine.popleft())
            self.calm -= 1
            if mine:
                self._calm[lane] = mine
            if len(taken) >= room:
                break
        if not self.calm:
            self._calm.clear()
        return taken

    def take_all(self) -> list[T]:
        """All that waits."""
        return self.take(len(self))
