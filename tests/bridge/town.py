"""Roles as plain classes that call each other and die: a cluster in one process.

Whoever is killed at a point does nothing from then on: every port it was given refuses, as the
memory of a killed process would be gone. Then a new one is built from what is durable.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from engine.control import Directory, Instance
from engine.errors import TransientError


class Killed(BaseException):
    """A role died here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Killer:
    """Decides at each point whether its role dies there. `armed`: point → chance."""

    def __init__(self, name: str, rng: random.Random, chances: Mapping[str, float]) -> None:
        self.name = name
        self._rng = rng
        self._chances = chances
        self.died_at: str | None = None

    def at(self, point: str) -> None:
        if self.died_at is not None:
            raise Killed(self.name)
        if self._rng.random() < self._chances.get(point, 0.0):
            self.died_at = point
            raise Killed(self.name)


class Cut:
    """A port, with a point before and after each call: `name<` and `name>`."""

    def __init__(self, inner: Any, killer: Killer) -> None:
        self._inner = inner
        self._killer = killer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            self._killer.at(f"{name}.")
            return found
        killer = self._killer
        if asyncio.iscoroutinefunction(found):

            async def call(*arguments: Any, **named: Any) -> Any:
                killer.at(f"{name}<")
                result = await found(*arguments, **named)
                killer.at(f"{name}>" if result is not None else f"{name}>none")
                return result

            return call

        def plain(*arguments: Any, **named: Any) -> Any:
            killer.at(f"{name}<")
            result = found(*arguments, **named)
            killer.at(f"{name}>")
            return result

        return plain


class Town:
    """`Calls` over handlers in this process; who is not there does not answer."""

    def __init__(self) -> None:
        self._handlers: dict[str, Mapping[type, Callable[[Any], Any]]] = {}
        self._instances: dict[str, Instance] = {}
        self._version = 0
        self._work: set[asyncio.Task[Any]] = set()
        self.silent: set[str] = set()
        """Roles that nobody reaches."""

    def enter(
        self, name: str, *, slot: str, role: str, handlers: Mapping[type, Callable[[Any], Any]]
    ) -> None:
        self._handlers[name] = handlers
        self._instances[name] = Instance(slot, role, name)
        self._told()

    def leave(self, name: str) -> None:
        self._handlers.pop(name, None)
        self._instances.pop(name, None)
        self._told()

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        handlers = self._handlers.get(name)
        instance = self._instances.get(name)
        if handlers is None or instance is None or instance.role in self.silent:
            raise TransientError("shard_unavailable", f"Expected {name}")
        try:
            answer = handlers[type(message)](message)
            if not asyncio.iscoroutine(answer):
                return answer
            # Who gives up waiting does not end what another process does.
            work = asyncio.create_task(answer)
            self._work.add(work)
            work.add_done_callback(self._work.discard)
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(work)
        except Killed as killed:
            if killed.name != name:
                raise
            raise TransientError("shard_unavailable", f"{name} died") from None
        except TimeoutError as error:
            raise TransientError("shard_unavailable", f"{name} is late") from error

    def _told(self) -> None:
        self._version += 1
        directory = Directory(self._version, tuple(self._instances.values()), ())
        for handlers in list(self._handlers.values()):
            if Directory in handlers:
                handlers[Directory](directory)
