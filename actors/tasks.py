"""Tasks by name, one of each name at a time."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """`in` says whether one is under way."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

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
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
