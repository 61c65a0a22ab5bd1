"""What a role does again and again, on a schedule that nothing waits for."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from actors.ports import Log
from engine.errors import RiseCurveError


class Turns:
    """A turn each interval; one that is longer is followed by the next at once. What fails is done
    by the next, and `waits`, the log's event, tells of the first in a row that does.
    """

    def __init__(
        self,
        turn: Callable[[], Awaitable[None]],
        *,
        interval_s: float,
        waits: str,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._turn = turn
        self._interval_s = interval_s
        self._waits = waits
        self._log = log
        self._clock = clock
        self._stopped = asyncio.Event()
        self._down = False

    def stop(self) -> None:
        """No turn after the one that is under way."""
        self._stopped.set()

    async def run(self) -> None:
        """Until cancelled or stopped."""
        while not self._stopped.is_set():
            began = self._clock()
            try:
                await self._turn()
                self._down = False
            except RiseCurveError as error:
                if not self._down:
                    self._log.warning(self._waits, error=str(error))
                self._down = True
            left_s = max(self._interval_s - (self._clock() - began), 0.0)
            try:
                await asyncio.wait_for(self._stopped.wait(), left_s)
            except TimeoutError:
                continue
