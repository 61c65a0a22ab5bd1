"""The typed client of the cluster: calls, starting and ending of actors, over Ray; calls to who
is on the same node past it (`actors/near.py`).

Guarantee of `ask`: at most once. When it fails, the message may have been applied; every
message is safe to send again. Actors have unique names in one namespace, so that a handle
can be found again by anybody. On a cluster the supervisor alone has a fixed one: there is
one of it, which Ray starts again, elsewhere if need be.

Nodes are asked before anything is placed on them: at the raylet's port whether they live,
since Ray itself notices a dead node only after some health checks, and once for their build.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors import build, near, starting, wire
from actors.ports import Log
from actors.working import Working
from engine import errors, placement
from engine.adoption import Found
from engine.control import Failure, Instance, Ping, Pong
from engine.placement import Node
from engine.settings import Settings

NAME_PREFIX = "risecurve"
START_TIMEOUT_S = 60.0
GCS_TIMEOUT_S = 5.0
"""Of a question to Ray's head, which may be restarting."""

PING_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 0.5
BUILD_TIMEOUT_S = 30.0
"""A node that has just joined starts its first worker."""

SILENT = "does not answer"
ASKED = "is being asked for its build"
ROLES = {
    "supervisor": "deploy.roles.supervisor.build",
    "listener": "deploy.roles.listener.build",
    "shard": "deploy.roles.shard.build",
    "recorder": "deploy.roles.recorder.build",
    "gateway": "deploy.doors.gateway",
    "stream_gateway": "deploy.doors.stream_gateway",
    "keeper": "deploy.roles.keeper.build",
    "auditor": "deploy.roles.auditor.build",
    "points": "deploy.roles.points.build",
    "analytics": "deploy.roles.analytics.build",
    "vault_listener": "deploy.bridge.vault_listener",
    "relayer": "deploy.bridge.relayer",
    "attestor": "deploy.bridge.attestor",
    "bridge_checker": "deploy.bridge.bridge_checker",
}


def connect(settings: Settings, *, temp_dir: Path, log: Log, cpus: int | None = None) -> None:
    """Start a local Ray that ends with this process.

    `temp_dir` holds Ray's session files, and no other Ray's; short, since Unix socket paths
    are. The environment must have been prepared (`deploy.ray_environment`) before Ray's import.
    Raises TransientError when it does not start, twice.
    """

    def start() -> None:
        ray.init(
            include_dashboard=False,
            object_store_memory=80 * 1024 * 1024,
            num_cpus=cpus or 1,
            _temp_dir=str(temp_dir),
            **_common(settings),
        )

    def clean() -> None:
        ray.shutdown()
        starting.end_all_of(temp_dir)

    starting.twice(start, clean=clean, log=log)


def join(settings: Settings, address: str) -> None:
    """Connect to a Ray that runs. Raises TransientError when none answers there."""
    try:
        ray.init(address=address, **_common(settings))
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        text = f"Expected a Ray at {address}: {error}".splitlines()[0]
        raise errors.TransientError("shard_unavailable", text) from error


def address() -> str:
    """Where the Ray of this process is, for other processes to join."""
    return str(ray.get_runtime_context().gcs_address)


def disconnect() -> None:
    """Leave; a local Ray ends with its actors."""
    ray.shutdown()


class Cluster:
    """Calls, and the launcher's side of the supervisor. Cheap to build, one a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._namespace = settings.actors.ray_namespace
        self._shared = bool(settings.actors.ray_address)
        self._handles: dict[str, Any] = {}
        self._near: near.Near | None = None
        self._starting: dict[str, Instance] = {}
        self._strangers: list[Instance] = []  # as it were: ports that somebody else has
        self._builds: dict[str, asyncio.Task[str]] = {}
        self._working = Working()

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        """The answer of instance `name`.

        Raises what the role raised, TransientError("shard_unavailable") when there is no
        answer in time, TransientError("actor_died") when there is no such actor any more.
        """
        try:
            async with asyncio.timeout(timeout_s):
                reply = wire.unpacked(await self._answer(name, wire.packed(message)))
        except (TimeoutError, GetTimeoutError) as error:
            text = f"Expected an answer of {name} in {timeout_s} s"
            raise errors.TransientError("shard_unavailable", text) from error
        except (RayError, ValueError) as error:
            self._handles.pop(name, None)
            text = f"Expected a living {name}: {type(error).__name__}"
            raise errors.TransientError("actor_died", text) from error
        if isinstance(reply, Failure):
            raise getattr(errors, reply.blame)(reply.code, reply.message)
        return reply

    async def _answer(self, name: str, packed: bytes) -> bytes:
        if self._near is None:
            self._near = near.Near(near.place(_this_node(), self._namespace))
        answer = await self._near.ask(name, packed)
        if answer is None:
            handle: Any = await self._handle(name)
            answer = await handle.ask.remote(packed)
        return answer

    async def launch(self, slot: str, role: str, placed: Sequence[Instance] = ()) -> Instance:
        """Start `role` in a process of its own, spread over the nodes beside `placed`.

        On a cluster a supervisor that is there already is the answer. Raises TransientError:
        no node for it, or it does not start, with the reason; then nothing of it is left.
        """
        fixed = self._shared and role == "supervisor"
        name = f"{NAME_PREFIX}/{slot}/{'0' if fixed else secrets.token_hex(4)}"
        place = await self._placed(Instance(slot, role, name), placed)
        self._starting[slot] = place
        handle = None
        try:
            handle = await _in_thread(lambda: self._create(place), START_TIMEOUT_S)
            pong = await asyncio.wait_for(handle.start.remote(), START_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            if handle is not None and not fixed:
                with contextlib.suppress(RayError, ValueError):  # then it ended by itself
                    ray.kill(handle)
            if "port_in_use" in str(error) and place.port != self._settings.gateway.api_port:
                self._strangers.append(place)
            text = f"Expected {slot} to start: {_cause(error)}"
            raise errors.TransientError("shard_unavailable", text) from error
        finally:
            del self._starting[slot]
        self._handles[name] = handle
        assert isinstance(pong, Pong)
        return pong.instance

    async def kill(self, instance: Instance, *, restart: bool = False) -> None:
        """End an actor; a stopped process on this node is ended by its pid. With `restart`
        one that Ray restarts comes back.

        Raises TransientError while Ray's head does not answer: it may live on.
        """
        unheard: TimeoutError | None = None
        try:
            handle = await asyncio.wait_for(self._handle(instance.name), GCS_TIMEOUT_S)
            await _in_thread(lambda: ray.kill(handle, no_restart=not restart), GCS_TIMEOUT_S)
        except TimeoutError as error:
            unheard = error
        except (RayError, ValueError):
            pass  # there is none of that name any more
        # The same number may be somebody else on another node.
        if instance.pid and instance.node in ("", _this_node()) and _is_worker(instance.pid):
            unheard = None
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(instance.pid, signal.SIGKILL)
        if self._near is not None:
            self._near.forget(instance.name)
        self._working.forget(instance.pid)
        self._handles.pop(instance.name, None)
        if unheard is not None:
            text = f"Expected Ray's head to end {instance.name}"
            raise errors.TransientError("shard_unavailable", text) from unheard

    def is_busy(self, instance: Instance) -> bool:
        """See `Working`. Of one on another node it is not known, and it is taken for idle."""
        here = bool(instance.pid) and instance.node in ("", _this_node())
        return here and self._working.is_busy(instance.pid)

    async def nodes(self) -> list[Node]:
        """The living nodes; one of another build, or that does not answer, is refused.

        Raises TransientError while Ray's head does not answer.
        """
        try:
            rows = await _in_thread(ray.nodes, GCS_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            text = f"Expected Ray's head to answer: {type(error).__name__}"
            raise errors.TransientError("shard_unavailable", text) from error
        living = [row for row in rows if row["Alive"]]
        if not self._shared:
            return [_node(row, "") for row in living]
        return list(await asyncio.gather(*(self._looked_at(row) for row in living)))

    async def existing(self) -> Found:
        """The actors of this namespace, of this or an earlier supervisor; see `names`."""
        names = await self.names()
        pongs = await self._pongs(names)
        answering = {pong.name for pong in pongs}
        silent = (self._silent(name) for name in names if name not in answering)
        return Found(tuple(pongs), tuple(silent))

    async def names(self) -> list[str]:
        """Of all actors of this namespace that live or are being restarted.

        Raises TransientError while Ray's head does not answer.
        """
        try:
            listed = await _in_thread(ray.util.list_named_actors, GCS_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            text = f"Expected Ray's head to answer: {type(error).__name__}"
            raise errors.TransientError("shard_unavailable", text) from error
        return [name for name in listed if name.startswith(f"{NAME_PREFIX}/")]

    async def pongs(self) -> list[Pong]:
        """What they say of themselves; who does not answer is left out."""
        return await self._pongs(await self.names())

    async def _pongs(self, names: Sequence[str]) -> list[Pong]:
        pongs = (self.ask(name, Ping(), timeout_s=PING_TIMEOUT_S) for name in names)
        answers = await asyncio.gather(*pongs, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, Pong)]

    def _silent(self, name: str) -> Instance:
        # Its process too where it can be seen: of one that is stopped Ray makes an end late.
        here = _this_node()
        pid = near.process(near.place(here, self._namespace), name)
        return Instance(name.split("/")[1], "", name, pid, here if pid else "")

    def _create(self, place: Instance) -> Any:
        from actors.host import HostActor  # noqa: PLC0415  (host imports this module)

        supervisor = place.role == "supervisor"
        restarts = self._shared and supervisor
        settings = self._settings.seen_by(place.role, place.slot)
        if place.role == "gateway":
            settings = replace(settings, gateway=replace(settings.gateway, api_port=place.port))
        return HostActor.options(
            name=place.name,
            namespace=self._namespace,
            lifetime="detached" if self._shared or not supervisor else None,
            max_restarts=-1 if restarts else 0,
            get_if_exists=restarts,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=restarts),
        ).remote(
            slot=place.slot,
            role=place.role,
            name=place.name,
            factory=ROLES[place.role],
            settings=settings,
            host=place.host,
            build=build.build(),
        )

    async def _placed(self, one: Instance, placed: Sequence[Instance]) -> Instance:
        deadline = asyncio.get_running_loop().time() + BUILD_TIMEOUT_S
        nodes = await self.nodes()
        while any(node.refused == ASKED for node in nodes):
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.1)
            nodes = await self.nodes()
        there = [*placed, *self._starting.values()]
        node = placement.choose(nodes, there, one.role)
        if node is None:
            why = "; ".join(f"{node.host} {node.refused}" for node in nodes)
            text = f"Expected a node for {one.slot}: {why or 'none lives'}"
            raise errors.TransientError("shard_unavailable", text)
        doors = {
            "gateway": self._settings.gateway.api_port,
            "stream_gateway": self._settings.gateway.stream_port,
        }
        port = doors.get(one.role, 0)
        if one.role == "gateway":
            port = placement.port([*there, *self._strangers], node.host, port)
        return replace(one, node=node.id, host=node.host, port=port)

    async def _looked_at(self, row: dict[str, Any]) -> Node:
        node = _node(row, "")
        if not await _listens(node.host, int(row["NodeManagerPort"])):
            return replace(node, refused=SILENT)
        if node.id not in self._builds:
            self._builds[node.id] = asyncio.create_task(_refusal(node.id))
        asked = self._builds[node.id]
        if not asked.done():
            return replace(node, refused=ASKED)
        if asked.exception() is None:
            return replace(node, refused=asked.result())
        del self._builds[node.id]  # not its fault, or not known: asked again
        return replace(node, refused=SILENT)

    async def _handle(self, name: str) -> Any:
        if name not in self._handles:
            handle = await asyncio.to_thread(ray.get_actor, name, self._namespace)
            self._handles[name] = handle
        return self._handles[name]


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "namespace": settings.actors.ray_namespace,
        "log_to_driver": False,
        "logging_level": "CRITICAL",
    }


@ray.remote(num_cpus=0, max_retries=0)
def _build_there() -> str:
    return build.build()


async def _refusal(node_id: str) -> str:
    # Why the node is given nothing, or nothing. Raises when it could not be asked.
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    try:
        question = _build_there.options(scheduling_strategy=strategy).remote()
        there = await asyncio.wait_for(question, BUILD_TIMEOUT_S)
    except RayTaskError as error:
        return f"cannot run this build ({_cause(error)})"
    if there != build.build():
        return f"runs build {there}, expected {build.build()}: install the same version there"
    return ""


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


Answer = TypeVar("Answer")


async def _in_thread(call: Callable[[], Answer], timeout_s: float) -> Answer:
    # Ray's calls to its head block for as long as the head is away.
    return await asyncio.wait_for(asyncio.to_thread(call), timeout_s)


def _node(row: dict[str, Any], refused: str) -> Node:
    head = "node:__internal_head__" in row["Resources"]
    return Node(row["NodeID"], row["NodeManagerAddress"], head, refused)


def _this_node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _is_worker(pid: int) -> bool:
    # Pids are used again: end only what is a Ray worker still.
    try:
        return b"ray::" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _cause(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {cause}"
