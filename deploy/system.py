"""A system of actors from the outside: start, wait, ask, drain, look after its supervisor."""

import asyncio
from typing import Any

from actors.handles import Cluster
from engine.control import Directory, Drain, Instance, StatusWanted
from engine.errors import RiseCurveError, TransientError
from engine.settings import Settings

SLOT = "supervisor"
READY_TIMEOUT_S = 90.0
ASK_TIMEOUT_S = 5.0
DRAIN_MARGIN_S = 2.0
WATCH_S = 1.0
MISSES_MAX = 5


class System:
    """One system. The supervisor does the work; this starts it and starts it again."""

    def __init__(self, settings: Settings) -> None:
        self.cluster = Cluster(settings)
        self._settings = settings
        self._supervisor: Instance | None = None

    async def start(self) -> None:
        """Find the supervisor or start it; returns when every slot and bucket is served.

        Raises TransientError when that does not happen in 90 s, with what is missing.
        """
        await self._find_or_launch()
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        status: dict[str, Any] = {}
        while asyncio.get_running_loop().time() < deadline:
            try:
                status = await self.status()
            except RiseCurveError:
                await self._find_or_launch()
            if status.get("ready"):
                return
            await asyncio.sleep(0.1)
        missing = set(status.get("slots", [])) - {
            one["slot"] for one in status.get("instances", [])
        }
        text = f"Expected all roles within {READY_TIMEOUT_S:g} s, missing: {sorted(missing)}"
        raise TransientError("shard_unavailable", text)

    async def watch(self) -> None:
        """Keep a supervisor alive until cancelled. The roles go on without one meanwhile."""
        misses = 0
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.status()
                misses = 0
            except RiseCurveError as error:
                misses += 1
                if error.code == "actor_died" or misses >= MISSES_MAX:
                    await self._replace()
                    misses = 0

    async def status(self) -> dict[str, Any]:
        """The supervisor's view. Raises TransientError."""
        name = self._supervisor.name if self._supervisor else SLOT
        answer = await self.cluster.ask(name, StatusWanted(), timeout_s=ASK_TIMEOUT_S)
        return dict(answer)

    async def attach(self) -> None:
        """Find a running supervisor. Raises TransientError when there is none."""
        found = [one for one in await self.cluster.existing() if one.slot == SLOT]
        if not found:
            raise TransientError("shard_unavailable", "Expected a running supervisor, was none")
        self._supervisor = found[0]

    async def directory(self) -> Directory:
        """The running instances (owners left out)."""
        status = await self.status()
        rows = [Instance(i["slot"], i["role"], i["name"], i["pid"]) for i in status["instances"]]
        return Directory(0, tuple(rows), ())

    async def role_status(self) -> dict[str, Any]:
        """Each slot's counters; None for one that does not answer."""
        answers: dict[str, Any] = {}
        for one in (await self.directory()).instances:
            try:
                answer = await self.cluster.ask(one.name, StatusWanted(), timeout_s=ASK_TIMEOUT_S)
            except RiseCurveError:
                answer = None
            answers[one.slot] = answer
        return answers

    async def drain(self) -> None:
        """Doors, listener, shards, recorder; bounded. Nothing rests on its success."""
        if self._supervisor is None:
            return
        timeout = self._settings.actors.drain_timeout_s + DRAIN_MARGIN_S
        try:
            await self.cluster.ask(self._supervisor.name, Drain(), timeout_s=timeout)
        except RiseCurveError:
            return

    async def remove(self) -> None:
        """End every actor of the namespace: for detached ones on a shared cluster."""
        for instance in await self.cluster.existing():
            await self.cluster.kill(instance)

    async def _replace(self) -> None:
        if self._supervisor is not None:
            await self.cluster.kill(self._supervisor)
        self._supervisor = await self.cluster.launch(SLOT, "supervisor")

    async def _find_or_launch(self) -> None:
        try:
            await self.attach()
        except TransientError:
            self._supervisor = await self.cluster.launch(SLOT, "supervisor")
