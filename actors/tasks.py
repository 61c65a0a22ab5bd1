"""Tasks by name, one of each name at a time."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """`in` says whether one is under way. A fault of one is raised by `watch`."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fault: BaseException | None = None
        self._failed = asyncio.Event()

    async def watch(self) -> None:
        """Until cancelled. Raises the first fault of any of them."""
        await self._failed.wait()
        assert self._fault is not None
        raise self._fault

    async def join(self, *, timeout_s: float) -> bool:
        """Wait for those that are under way; whether they are over within that time."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks.values(), timeout=timeout_s)
        return not late

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin it. There must be none of that name."""
        assert name not in self, f"Expected no task of {name}"
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(lambda done: self._done(name, done))

    def cancel(self) -> list["asyncio.Task[None]"]:
        """All of them; those are on their way to their end."""
        ending = list(self._tasks.values())
        for task in ending:
            task.cancel()
        return ending

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def _done(self, name: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = self._fault or fault
            self._failed.set()
