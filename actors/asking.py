"""Answers that are waited for only as long as whoever was asked is there.

A process that is frozen, or on a node that is cut off, neither answers nor fails. Once it is
given up nobody waits for it; what it says later is not heard.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from engine.errors import TransientError


class Asking:
    """What is under way, by the name of whom it was asked."""

    def __init__(self) -> None:
        self._under_way: dict[str, set[asyncio.Task[Any]]] = {}

    async def answer(self, name: str, question: Coroutine[Any, Any, Any]) -> Any:
        """Of `question`, asked of `name`. Raises TransientError("actor_died") when given up."""
        task = asyncio.create_task(question)
        self._under_way.setdefault(name, set()).add(task)
        try:
            await asyncio.wait({task})
            mine = self._under_way.get(name, set())
            if task not in mine or task.cancelled():
                text = f"Expected an answer of {name}, it was given up"
                raise TransientError("actor_died", text)
            return task.result()
        finally:
            task.cancel()
            self._done(name, task)

    def give_up(self, name: str) -> None:
        """Whoever waits for an answer of `name` waits no more."""
        for task in self._under_way.pop(name, ()):
            task.cancel()

    def _done(self, name: str, task: asyncio.Task[Any]) -> None:
        mine = self._under_way.get(name, set())
        mine.discard(task)
        if not mine:
            self._under_way.pop(name, None)
