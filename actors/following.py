"""A consumer's side of the feed: ask the listener to be fed, and again when it falls silent."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from actors.ports import Calls, Log
from engine.control import Directory, Follow, Unfollow
from engine.errors import RiseCurveError
from engine.limits import TRAIL_MAX
from engine.messages import FeedPosition

SILENCE_BLOCKS = 2


class Following:
    """One chain of one consumer: `slot` is the listener's, and the group's name too."""

    def __init__(
        self,
        *,
        consumer: str,
        slot: str,
        block_time_s: float,
        position: Callable[[], Awaitable[FeedPosition]],
        trail: Callable[[int], Awaitable[list[FeedPosition]]],
        calls: Calls,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._slot = slot
        self._block_time_s = block_time_s
        self._position = position
        self._trail = trail
        self._calls = calls
        self._log = log
        self._clock = clock
        self._listeners: tuple[str, ...] = ()
        self._changed = asyncio.Event()
        self._heard = clock()

    def route(self, directory: Directory) -> None:
        """The listener may be another one by now."""
        found = tuple(one.name for one in directory.instances if one.slot == self._slot)
        if found != self._listeners:
            self._listeners = found
            self._changed.set()

    def heard(self) -> None:
        """A batch came."""
        self._heard = self._clock()

    async def run(self) -> None:
        """Ask when the listener changes, and whenever nothing was heard for two blocks."""
        asked = self._clock()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._block_time_s / 2)
            changed = self._changed.is_set()
            self._changed.clear()
            silent_s = self._clock() - max(self._heard, asked)
            if changed or silent_s > SILENCE_BLOCKS * self._block_time_s:
                await self._ask()
                asked = self._clock()

    async def stop(self) -> None:
        """Be fed no more."""
        for listener in self._listeners:
            with contextlib.suppress(RiseCurveError):
                message = Unfollow(self._consumer, self._slot)
                await self._calls.ask(listener, message, timeout_s=1.0)

    async def _ask(self) -> None:
        for listener in self._listeners:
            try:
                trail = tuple(await self._trail(TRAIL_MAX))
                position = await self._position()
                follow = Follow(self._consumer, self._slot, position, None, trail)
                await self._calls.ask(listener, follow, timeout_s=1.0)
            except RiseCurveError as error:
                self._log.warning("cannot_follow", slot=self._slot, error=str(error))
