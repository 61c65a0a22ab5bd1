"""A system of actors from the outside: start, wait, ask, scale, drain, look after its supervisor.

On a cluster of our own Ray keeps the supervisor alive, so that the system goes on without any
command; a local one is watched by the command that started it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from actors.build import build
from actors.handles import Cluster
from deploy import bridge_slots
from engine.control import Directory, Drain, Instance, Pong, Scale, StatusWanted, Wanted
from engine.errors import ConsistencyError, RiseCurveError, TransientError
from engine.settings import Settings

SLOT = "supervisor"
READY_TIMEOUT_S = 90.0
BRIDGE_ROLE_TIMEOUT_S = 15.0
"""More for each of the bridge's roles: their processes start one after the other."""

SCALE_TIMEOUT_S = 180.0
REMOVE_TIMEOUT_S = 15.0
ATTACH_TIMEOUT_S = 20.0
"""Ray notices the loss of a node after some health checks."""

ASK_TIMEOUT_S = 5.0
DRAIN_MARGIN_S = 2.0
WATCH_S = 1.0
MISSES_MAX = 5
POLL_S = 0.1
ATTACH_POLL_S = 0.5
ANSWERING_TIMEOUT_S = 10.0
"""A role that died is back by then."""


class System:
    """One system. The supervisor does the work; this starts it and starts it again."""

    def __init__(self, settings: Settings) -> None:
        self.cluster = Cluster(settings)
        self._settings = settings
        self._shared = bool(settings.actors.ray_address)
        self._supervisor: Instance | None = None
        self._build = ""

    async def start(self) -> None:
        """Find the supervisor or start it; returns when every slot and bucket is served.

        Raises TransientError when that does not happen in 90 s, and 15 s more for each role of
        the bridge, with what is missing, and ConsistencyError when what runs there is another
        build.
        """
        await self._find_or_launch()
        timeout_s = READY_TIMEOUT_S + BRIDGE_ROLE_TIMEOUT_S * len(
            bridge_slots.slots(self._settings)
        )
        status = await self._until_ready(timeout_s, lambda line: None, lost=self._replaced)
        if not status.get("ready"):
            text = f"Expected all roles within {timeout_s:g} s, missing: {_missing(status)}"
            raise TransientError("shard_unavailable", text)

    async def watch(self) -> None:
        """Keep a supervisor alive until cancelled. The roles go on without one meanwhile.
        Returns when a system on a cluster was taken down by somebody else; a local one ends with
        its command only, whatever keeps a supervisor from starting meanwhile.
        """
        misses = 0
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.status()
                misses = 0
            except RiseCurveError as error:
                misses += 1
                if await self._looked_after(died=error.code == "actor_died", misses=misses):
                    misses = 0
                elif self._shared and misses > MISSES_MAX and await self._gone():
                    return

    async def status(self) -> dict[str, Any]:
        """The supervisor's view. Raises TransientError."""
        name = self._supervisor.name if self._supervisor else SLOT
        answer = await self.cluster.ask(name, StatusWanted(), timeout_s=ASK_TIMEOUT_S)
        return dict(answer)

    async def attach(
        self, *, timeout_s: float = ATTACH_TIMEOUT_S, looked_after: bool = False
    ) -> None:
        """Find a running supervisor; one that Ray is starting again, as after the loss of its node,
        is waited for, and with `looked_after` one of which Ray does not know yet: another command
        puts it in the place of the last. Raises TransientError when there is none.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not (found := await self._supervisors()) or not found[0].started:
            late = asyncio.get_running_loop().time() > deadline
            if late or (not found and not looked_after and await self._gone()):
                break
            await asyncio.sleep(ATTACH_POLL_S)
        if not found:
            raise TransientError("shard_unavailable", "Expected a running supervisor, was none")
        self._supervisor, self._build = found[0].instance, found[0].build

    async def answering(self, role: str) -> tuple[Instance, ...]:
        """Those of a role that answer now, found without a supervisor: it may hang just when they
        are wanted. Where there is none it is waited for, and given up after 10 s.
        """
        deadline = asyncio.get_running_loop().time() + ANSWERING_TIMEOUT_S
        while True:
            pongs = await self.cluster.pongs()
            found = tuple(one.instance for one in pongs if one.role == role and one.started)
            if found or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(ATTACH_POLL_S)

    async def scale(self, change: Scale, say: Callable[[str], None]) -> Wanted:
        """So many from now on; returns when all of them serve, and who is too many is gone.

        Raises TransientError when that takes longer than 180 s (the supervisor goes on), and
        ConsistencyError when what runs there is another build.
        """
        self._same_build()
        name = self._supervisor.name if self._supervisor else SLOT
        wanted = await self.cluster.ask(name, change, timeout_s=ASK_TIMEOUT_S)
        assert isinstance(wanted, Wanted)
        # Not ours to start again: a supervisor that this command starts would end with it.
        status = await self._until_ready(SCALE_TIMEOUT_S, say, lost=self._found_again)
        if not status.get("ready") or status["wanted"] != asdict(wanted):
            text = f"Expected to be there in {SCALE_TIMEOUT_S:g} s, missing: {_missing(status)}"
            raise TransientError("shard_unavailable", text)
        return wanted

    async def directory(self) -> Directory:
        """The running instances (owners left out)."""
        status = await self.status()
        return Directory(0, tuple(Instance(**one) for one in status["instances"]), ())

    async def role_status(self) -> dict[str, Any]:
        """Each slot's counters; None for one that does not answer."""

        async def ask(name: str) -> Any:
            try:
                return await self.cluster.ask(name, StatusWanted(), timeout_s=ASK_TIMEOUT_S)
            except RiseCurveError:
                return None

        ones = (await self.directory()).instances
        answers = await asyncio.gather(*(ask(one.name) for one in ones))
        return {one.slot: answer for one, answer in zip(ones, answers, strict=True)}

    async def drain(self) -> None:
        """Doors, listener, shards, recorder; bounded. Nothing rests on its success."""
        if self._supervisor is None:
            return
        timeout = self._settings.actors.drain_timeout_s + DRAIN_MARGIN_S
        try:
            await self.cluster.ask(self._supervisor.name, Drain(), timeout_s=timeout)
        except RiseCurveError:
            return

    async def remove(self) -> int:
        """End every actor of the namespace, on a shared cluster; how many there were.

        Raises TransientError when some are still there after 15 s.
        """
        names = await self.cluster.names()
        # The supervisor first: it would put others in their place.
        for name in sorted(names, key=lambda name: f"/{SLOT}/" not in name):
            await self.cluster.kill(Instance("", "", name))
        deadline = asyncio.get_running_loop().time() + REMOVE_TIMEOUT_S
        while left := await self.cluster.names():
            if asyncio.get_running_loop().time() > deadline:
                text = f"Expected all actors to end, were left: {sorted(left)}"
                raise TransientError("shard_unavailable", text)
            await asyncio.sleep(POLL_S)
        return len(names)

    # ----------------------------------------------------------------------------- private

    async def _until_ready(
        self,
        timeout_s: float,
        say: Callable[[str], None],
        *,
        lost: Callable[[RiseCurveError], Awaitable[None]],
    ) -> dict[str, Any]:
        deadline = asyncio.get_running_loop().time() + timeout_s
        status: dict[str, Any] = {}
        told = ""
        while asyncio.get_running_loop().time() < deadline and not status.get("ready"):
            try:
                status = await self.status()
            except RiseCurveError as error:
                status |= {"ready": False}
                await lost(error)
            line = _progress(status)
            if line != told:
                say(line)
            told = line
            await asyncio.sleep(POLL_S)
        return status

    async def _replaced(self, error: RiseCurveError) -> None:
        await self._looked_after(died=error.code == "actor_died", misses=0)

    async def _found_again(self, error: RiseCurveError) -> None:
        if error.code == "actor_died":
            with contextlib.suppress(RiseCurveError):
                await self.attach(timeout_s=0.0)

    async def _looked_after(self, *, died: bool, misses: int) -> bool:
        # Whether something was done about a supervisor that does not answer.
        try:
            if self._shared:
                if self._supervisor is None or misses < MISSES_MAX or await self._gone():
                    return False
                await self.cluster.kill(self._supervisor, restart=True)
            elif died or misses >= MISSES_MAX:
                await self._replace()
            else:
                return False
        except RiseCurveError:
            return False  # a store that is away, or Ray's head: it is tried again
        return True

    async def _supervisors(self) -> list[Pong]:
        # Who is there for questions first.
        found = [one for one in await self.cluster.pongs() if one.slot == SLOT]
        return sorted(found, key=lambda one: not one.started)

    async def _gone(self) -> bool:
        try:
            return not any(f"/{SLOT}/" in name for name in await self.cluster.names())
        except RiseCurveError:
            return False

    async def _replace(self) -> None:
        if self._supervisor is not None:
            await self.cluster.kill(self._supervisor)
        self._supervisor = await self.cluster.launch(SLOT, "supervisor")

    async def _find_or_launch(self) -> None:
        try:
            await self.attach()
        except TransientError:
            self._supervisor = await self.cluster.launch(SLOT, "supervisor")
            await self.attach()
        self._same_build()

    def _same_build(self) -> None:
        if self._build != build():
            text = f"Expected build {build()} to run there, was {self._build}; use the same version"
            raise ConsistencyError("other_build", text)


def _missing(status: dict[str, Any]) -> str:
    there = {one["slot"] for one in status.get("instances", [])}
    slots = sorted(set(status.get("slots", [])) - there)
    untold = dict.fromkeys(status.get("untold", []), "does not answer")
    slots += untold
    why = status.get("failing", {}) | untold
    return "; ".join(f"{slot} ({why[slot]})" if slot in why else slot for slot in slots)


def _progress(status: dict[str, Any]) -> str:
    there = {one["slot"] for one in status.get("instances", [])}
    starting = sorted(set(status.get("slots", [])) - there)
    leaving = sorted(there - set(status.get("slots", [])))
    parts = [f"{status.get('buckets_owned', 0)} buckets served"]
    moving = status.get("buckets_to_move", 0)
    parts += [f"{moving} to move"] if moving else []
    parts += [f"starting: {', '.join(starting)}"] if starting else []
    parts += [f"leaving: {', '.join(leaving)}"] if leaving else []
    return "; ".join(parts)
