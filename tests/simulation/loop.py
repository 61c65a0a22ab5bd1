"""An event loop whose clock jumps to the next timer when nothing else is to be done.

While a store is asked (`outside` > 0) the real selector is waited for and the clock stands,
so no timeout of ours can be met by a slow machine. What stays undetermined is the order in
which answers of the store arrive beside each other; everything else follows the seed.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
REAL_WAIT_S = 0.05
WALL_S_MAX = 120.0
"""Of real time: a run that goes round and round while its clock stands still has failed."""

START_S = 1_000.0


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    def __init__(self) -> None:
        super().__init__()
        self.now = START_S
        self.outside = 0
        self._deadline = time.monotonic() + WALL_S_MAX

    def select(self, timeout: float | None = None) -> Any:
        if time.monotonic() > self._deadline:
            self._deadline = float("inf")  # once: what is cleaned up after it may take its time
            raise TimeoutError(f"Expected a run within {WALL_S_MAX} s of real time")
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self.outside > 0:
            return super().select(REAL_WAIT_S)
        found = super().select(0)
        if found:
            return found
        if timeout is None:
            return super().select(REAL_WAIT_S)
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual, in seconds; `outside` counts the questions to real servers."""

    def __init__(self) -> None:
        self.clock = _Selector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class outside:
    """`with outside():` round every await of a real server."""

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._clock = loop.clock
        self._clock.outside += 1

    def __exit__(self, *_: object) -> None:
        self._clock.outside -= 1
