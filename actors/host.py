"""One generic Ray actor that hosts any role: a thin shell, no decisions.

`start` builds the role and answers once it is ready (ports bound); from then on `ask`
hands each message to the role's dispatch table. Errors with a code cross as `Failure`
values. A background task that fails ends the process, and the process ends with its
parent: crash-only, the supervisor puts a new one in its place. An async actor cannot
install signal handlers and exit hooks do not run on kill, so nothing rests on a clean end.
"""

import asyncio
import importlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from actors import handles
from actors.ports import Calls, Launcher, Log
from engine.control import Failure, Ping, Pong
from engine.errors import RiseCurveError
from engine.limits import MAILBOX_MAX
from engine.settings import Settings


@dataclass(frozen=True)
class Context:
    """What a role's factory gets; `calls` reaches other actors, `launcher` starts them."""

    slot: str
    role: str
    name: str
    settings: Settings
    calls: Calls
    launcher: Launcher


@dataclass(frozen=True)
class Role:
    """A built role. `run` is its background work, `owners` what a shard owns."""

    handlers: Mapping[type, Callable[[Any], Any]]
    run: Callable[[], Awaitable[None]]
    log: Log
    owners: Callable[[], tuple[tuple[int, int], ...]] = tuple


class Host:
    """The class behind the Ray actor. `factory` is a dotted path to `async f(Context)`."""

    def __init__(
        self, *, slot: str, role: str, name: str, factory: str, settings: Settings
    ) -> None:
        self._slot = slot
        self._role_name = role
        self._name = name
        self._factory = factory
        self._settings = settings
        self._role: Role | None = None
        self._background: asyncio.Task[None] | None = None
        self._in_flight = 0
        _end_with_parent()

    async def start(self) -> Pong:
        """Build and run the role. Raises what its factory raises."""
        module, function = self._factory.rsplit(".", 1)
        factory = getattr(importlib.import_module(module), function)
        cluster = handles.Cluster(self._settings)
        context = Context(self._slot, self._role_name, self._name, self._settings, cluster, cluster)
        self._role = await factory(context)
        self._background = asyncio.create_task(self._run(self._role))
        return self._pong()

    async def ask(self, message: Any) -> Any:
        """The role's answer, or a `Failure`. Never raises for an error with a code."""
        if isinstance(message, Ping):
            return self._pong()
        if self._role is None:
            return Failure("TransientError", "shard_unavailable", "Expected a started role")
        if self._in_flight >= MAILBOX_MAX:
            return Failure("TransientError", "overloaded", "Expected a shorter mailbox")
        self._in_flight += 1
        try:
            return await self._handled(self._role, message)
        finally:
            self._in_flight -= 1

    async def _handled(self, role: Role, message: Any) -> Any:
        handler = role.handlers.get(type(message))
        if handler is None:
            return Failure("ConsistencyError", "unknown_message", type(message).__name__)
        try:
            answer = handler(message)
            return await answer if asyncio.iscoroutine(answer) else answer
        except RiseCurveError as error:
            return Failure(type(error).__name__, error.code, error.message)
        except Exception as error:
            role.log.error("role_bug", message=type(message).__name__, exc_info=error)
            return Failure("ConsistencyError", "bug", repr(error))

    async def _run(self, role: Role) -> None:
        try:
            await role.run()
        except BaseException as error:
            role.log.error("role_failed", slot=self._slot, error=repr(error), exc_info=error)
            os._exit(1)

    def _pong(self) -> Pong:
        owners = self._role.owners() if self._role else ()
        return Pong(self._slot, self._role_name, self._name, os.getpid(), owners)


HostActor = ray.remote(max_restarts=0, max_task_retries=0, num_cpus=0)(Host)


def _end_with_parent() -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
