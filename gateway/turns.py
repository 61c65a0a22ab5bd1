"""What a door does in one turn of its loop: a slice at most, so that what else comes is heard.

A frame is read when it comes, and what it asks is done at once, as long as the turn's slice
lasts; the rest waits, in order, for the next turns. Without it a window of some hundred quotes
held up the loop for as long as all of them took, and with it the beats that say the door's
replica is fresh: quotes then went to the shards for no other reason.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

SLICE_S = 0.005
"""Of a turn, and what one thing takes above it. Some 80 quotes; a beat comes once in 50 ms, and a
lease is 200 ms."""


class Turns:
    """Bounded by who calls: each thing that waits is one of a caller's that is counted."""

    def __init__(
        self, *, slice_s: float = SLICE_S, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._slice_s = slice_s
        self._clock = clock
        self._waiting: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._until: float | None = None

    def __len__(self) -> int:
        """What waits."""
        return len(self._waiting)

    def take(self, do: Callable[[Any], None], what: Any) -> bool:
        """Do it now, True; or in a later turn, behind what waits, False. It must not raise."""
        if self._until is None:
            self._begin()
        if self._waiting or self._is_over():
            self._waiting.append((do, what))
            return False
        do(what)
        return True

    def drop(self) -> list[Any]:
        """What waits is not done any more: it is returned."""
        left = [what for _, what in self._waiting]
        self._waiting.clear()
        return left

    def _begin(self) -> None:
        self._until = self._clock() + self._slice_s
        asyncio.get_running_loop().call_soon(self._turn)

    def _is_over(self) -> bool:
        return self._until is not None and self._clock() >= self._until

    def _turn(self) -> None:
        self._until = None
        if not self._waiting:
            return
        self._begin()
        while self._waiting and not self._is_over():
            do, what = self._waiting.popleft()
            do(what)
