"""What waits to be sent, in lanes: each keeps its order, and what is urgent goes before the rest.

The cases of `take`, in order:
  1. lanes with something urgent, the one that waits longest first: all of it up to its last
     urgent item, since nothing passes another of its own lane;
  2. of the other items at least one, so that urgent ones never hold them up for good, and more,
     oldest lanes first, while there is room.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Unbounded; `len` is the number of items, for who bounds them."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, deque[tuple[T, int]]] = OrderedDict()
        self._urgent: dict[Hashable, int] = {}
        self._items = 0

    def __len__(self) -> int:
        return self._items

    def put(self, lane: Hashable, item: T, *, size: int = 1, urgent: bool = False) -> None:
        """Behind what waits in its lane. `size` counts for `take`."""
        mine = self._lanes.get(lane)
        if mine is None:
            mine = self._lanes[lane] = deque()
        mine.append((item, size))
        self._items += 1
        if urgent:
            self._urgent[lane] = len(mine)

    def take(self, room: int) -> list[T]:
        """What is next, of about this size in all; nothing where nothing waits."""
        taken: list[T] = []
        while self._urgent and room > 0:
            lane = next(iter(self._urgent))
            for _ in range(self._urgent.pop(lane)):
                room -= self._pop(lane, taken)
        calm = next((lane for lane in self._lanes if lane not in self._urgent), None)
        while calm is not None:
            room -= self._pop(calm, taken)
            if room <= 0:
                break
            calm = next(iter(self._lanes), None)
        return taken

    def _pop(self, lane: Hashable, taken: list[T]) -> int:
        mine = self._lanes[lane]
        item, size = mine.popleft()
        taken.append(item)
        self._items -= 1
        if not mine:
            del self._lanes[lane]
        return size
