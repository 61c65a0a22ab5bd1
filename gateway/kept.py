"""An answer that many ask for and few need anew: made once at a time, kept for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """`make` is called at most once at a time and once in `seconds`, however many ask."""

    def __init__(
        self,
        make: Callable[[], Awaitable[T]],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self.seconds = seconds
        self._clock = clock
        self._made_at = float("-inf")
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The kept one, or a new one. Raises what `make` raises."""
        if self._task is None or self._old:
            self._task = asyncio.ensure_future(self._anew())
        # One who goes away does not take the answer from the others.
        return await asyncio.shield(self._task)

    @property
    def _old(self) -> bool:
        done = self._task is not None and self._task.done()
        return done and self._clock() - self._made_at >= self.seconds

    async def _anew(self) -> T:
        try:
            return await self._make()
        finally:
            self._made_at = self._clock()


class Fresh(Generic[T]):
    """An answer that was begun after it was asked for, made for all who wait at once: one is
    made at a time, and those who ask meanwhile share the next.
    """

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """A new one. Raises what `make` raises."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: "asyncio.Task[T] | None") -> T:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        return await self._make()
