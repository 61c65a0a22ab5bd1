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
from pathlib import Path
from typing import Any

import ray

from actors import build, collecting, handles, near, wire
from actors.ports import Calls, Launcher, Log
from engine.control import Failure, Ping, Pong, StatusWanted
from engine.errors import ConsistencyError, RiseCurveError
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
        self,
        *,
        slot: str,
        role: str,
        name: str,
        factory: str,
        settings: Settings,
        host: str,
        build: str,
    ) -> None:
        self._slot = slot
        self._role_name = role
        self._name = name
        self._factory = factory
        self._settings = settings
        self._role: Role | None = None
        self._background: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._near: asyncio.AbstractServer | None = None
        self._in_flight = 0
        self._host = host
        self._build = build
        self._starting = asyncio.Lock()
        self._again: asyncio.Task[None] | None = None
        self._context = ray.get_runtime_context()
        _end_with_parent()
        if self._context.was_current_actor_reconstructed:
            # Ray has put it in the place of one that died; nobody else calls `start`.
            self._again = asyncio.create_task(self._start_again())

    async def start(self) -> Pong:
        """Build and run the role, once. Raises what its factory raises, and ConsistencyError
        when this node runs another build.
        """
        async with self._starting:
            if self._role is None:
                await self._start()
        return self._pong()

    async def _start(self) -> None:
        if build.build() != self._build:
            text = f"Expected build {self._build} on this node, was {build.build()}"
            raise ConsistencyError("other_build", text)
        module, function = self._factory.rsplit(".", 1)
        factory = getattr(importlib.import_module(module), function)
        cluster = handles.Cluster(self._settings)
        context = Context(self._slot, self._role_name, self._name, self._settings, cluster, cluster)
        self._role = await factory(context)
        self._background = asyncio.create_task(self._run(self._role))
        self._settling = asyncio.create_task(collecting.keep_settling())
        place = near.place(self._context.get_node_id(), self._settings.actors.ray_namespace)
        self._near = await near.serve(place, self._name, self.ask)

    async def _start_again(self) -> None:
        try:
            await self.start()
        except BaseException:
            os._exit(1)

    async def ask(self, packed: bytes) -> bytes:
        """The role's answer, or a `Failure`. Never raises: nobody else would answer."""
        try:
            return wire.packed(await self._answer(wire.unpacked(packed)))
        except Exception as error:  # of the messages themselves: they cannot cross
            return wire.packed(Failure("ConsistencyError", "bug", repr(error)))

    async def _answer(self, message: Any) -> Any:
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
            answer = await answer if asyncio.iscoroutine(answer) else answer
            return self._of_process() | answer if isinstance(message, StatusWanted) else answer
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

    def _of_process(self) -> dict[str, Any]:
        # What waits here besides this question, and what the process weighs.
        return {"mailbox": self._in_flight - 1, "memory_mb": _memory_mb()}

    def _pong(self) -> Pong:
        gateway = self._settings.gateway
        ports = {"gateway": gateway.api_port, "stream_gateway": gateway.stream_port}
        return Pong(
            slot=self._slot,
            role=self._role_name,
            name=self._name,
            pid=os.getpid(),
            buckets=self._role.owners() if self._role else (),
            node=self._context.get_node_id(),
            host=self._host,
            port=ports.get(self._role_name, 0),
            build=self._build,
            started=self._role is not None,
        )


HostActor = ray.remote(max_restarts=0, max_task_retries=0, num_cpus=0)(Host)


def _memory_mb() -> float:
    # PSS: what is shared is counted in parts, so that the sum over all roles is true.
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) / 1e3, 1)
    return 0.0


def _end_with_parent() -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
