"""Roles as processes that can die at any awaited boundary, without Ray.

A `Process` runs a plain role; what others ask of it runs in tasks of its own, so that
killing it ends those too and the caller hears `actor_died`, as over Ray. A `Fuse` counts the
boundaries that the role crosses, before and after each call of a store or of another role,
and in the midst of a statement, and kills it at a chosen one.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.host import Role
from engine.adoption import Found
from engine.control import Instance, Ping, Pong
from engine.errors import TransientError
from engine.placement import Node
from tests.simulation.loop import outside

KILL_AFTER_STEPS = 3


@dataclass
class Fuse:
    """`left` boundaries until `blow` is called; None: never. `inside`: in a statement."""

    left: int | None = None
    inside: bool = False
    crossed: int = 0
    blow: Callable[[], None] = lambda: None

    async def cross(self) -> None:
        self.crossed += 1
        if self.left is None or self.inside:
            return
        self.left -= 1
        if self.left < 0:
            await self.die()

    async def die(self) -> None:
        self.left = None
        self.blow()
        await asyncio.Event().wait()

    def dies_inside(self) -> bool:
        if self.left is None or not self.inside:
            return False
        self.left -= 1
        return self.left < 0


class Port:
    """A store behind the fuse of its role; every question goes to a real server."""

    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if inspect.isasyncgenfunction(found):
            return lambda *args, **names: self._pages(found, args, names)
        if inspect.iscoroutinefunction(found):
            return lambda *args, **names: self._asked(found, args, names)
        return found

    async def _asked(self, call: Any, args: Any, names: Any) -> Any:
        await self._fuse.cross()
        if self._fuse.dies_inside():
            await self._die_inside(call(*args, **names))
        with outside():
            answer = await call(*args, **names)
        await self._fuse.cross()
        return answer

    async def _die_inside(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        with outside():
            for _ in range(KILL_AFTER_STEPS):
                await asyncio.sleep(0)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await self._fuse.die()

    async def _pages(self, call: Any, args: Any, names: Any) -> AsyncIterator[Any]:
        await self._fuse.cross()
        pages = call(*args, **names)
        while True:
            with outside():
                page = await anext(pages, None)
            if page is None:
                return
            await self._fuse.cross()
            yield page


@dataclass
class Process:
    """One living role. `dead` once it is killed."""

    instance: Instance
    fuse: Fuse
    pool: Any
    role: Role | None = None
    plain: Any = None
    dead: bool = False
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    died: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.fuse.blow = self.kill

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def run(self) -> None:
        """Its background work; as a process, it ends when that fails."""
        assert self.role is not None
        task = self.spawn(_coroutine(self.role.run()))
        task.add_done_callback(self._background_ended)

    def kill(self) -> None:
        """Nothing of it runs any more, and its connections are gone."""
        if self.dead:
            return
        self.dead = True
        self.died.set_result(None)
        for task in list(self.tasks):
            task.cancel()
        if self.pool is not None:
            self.pool.terminate()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        if not self.dead and not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            self.kill()


async def _coroutine(work: Awaitable[Any]) -> Any:
    return await work


class Cluster:
    """`actors.ports.Launcher` over processes of this loop. `build` makes a role."""

    def __init__(self, build: Callable[[str, str, str], Awaitable[Process]]) -> None:
        self._build = build
        self.processes: dict[str, Process] = {}
        self.started = 0
        self.lose_reply: Callable[[], bool] = lambda: False
        self.repeat: Callable[[], bool] = lambda: False

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        process = self.processes.get(name)
        await asyncio.sleep(0)
        if process is None or process.dead or process.role is None:
            raise TransientError("actor_died", name)
        if isinstance(message, Ping):
            one = process.instance
            return Pong(one.slot, one.role, one.name, one.pid, process.role.owners())
        answer = await self._answer(process, message, timeout_s)
        if self.repeat():
            answer = await self._answer(process, message, timeout_s)
        if self.lose_reply():
            raise TransientError("shard_unavailable", "the reply was lost")
        return answer

    async def _answer(self, process: Process, message: Any, timeout_s: float) -> Any:
        assert process.role is not None
        work = process.spawn(_handled(process.role, message))
        done, _ = await asyncio.wait(
            {work, process.died}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if process.dead or (work in done and work.cancelled()):
            raise TransientError("actor_died", process.instance.name)
        if work not in done:
            raise TransientError("shard_unavailable", "no answer in time")
        return work.result()

    async def launch(self, slot: str, role: str, placed: Sequence[Instance]) -> Instance:
        self.started += 1
        name = f"{slot}/{self.started}"
        process = await self._build(slot, role, name)
        self.processes[name] = process
        for old in [one for one in self.processes.values() if one.dead]:
            if len(self.processes) > 40:
                del self.processes[old.instance.name]
        return process.instance

    async def kill(self, instance: Instance) -> None:
        found = self.processes.get(instance.name)
        if found is not None:
            found.kill()

    async def nodes(self) -> list[Node]:
        return []

    def is_busy(self, instance: Instance) -> bool:
        return False

    async def existing(self) -> Found:
        names = [name for name, one in self.processes.items() if not one.dead]
        return Found(tuple([await self.ask(name, Ping(), timeout_s=1.0) for name in names]))

    def living(self, role: str) -> list[Process]:
        return [
            one for one in self.processes.values() if not one.dead and one.instance.role == role
        ]


async def _handled(role: Role, message: Any) -> Any:
    handler = role.handlers.get(type(message))
    if handler is None:
        return None
    answer = handler(message)
    return await answer if asyncio.iscoroutine(answer) else answer
