"""The typed client of the cluster: calls, starting and ending of actors, over Ray.

Guarantee of `ask`: at most once. When it fails, the message may have been applied; every
message is safe to send again. Actors have unique names in one namespace, so that a handle
can be found again by anybody.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from engine import errors
from engine.control import Failure, Instance, Ping, Pong
from engine.settings import Settings

NAME_PREFIX = "risecurve"
START_TIMEOUT_S = 60.0
ROLES = {
    "supervisor": "deploy.roles.supervisor",
    "listener": "deploy.roles.listener",
    "shard": "deploy.roles.shard",
    "recorder": "deploy.roles.recorder",
    "gateway": "deploy.roles.gateway",
    "stream_gateway": "deploy.roles.stream_gateway",
    "keeper": "deploy.roles.keeper",
    "auditor": "deploy.roles.auditor",
    "points": "deploy.roles.points",
    "analytics": "deploy.roles.analytics",
}


def connect(settings: Settings, *, temp_dir: Path, cpus: int | None = None) -> None:
    """Join the cluster of RAY_ADDRESS, or start a local Ray that ends with this process.

    `temp_dir` holds Ray's session files; short, since Unix socket paths are. The
    environment must have been prepared (`deploy.ray_environment`) before Ray's import.
    """
    if settings.actors.ray_address:
        join(settings, settings.actors.ray_address)
        return
    ray.init(
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        num_cpus=cpus or 1,
        _temp_dir=str(temp_dir),
        **_common(settings),
    )


def join(settings: Settings, address: str) -> None:
    """Connect to a Ray that runs."""
    ray.init(address=address, **_common(settings))


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
        self._handles: dict[str, Any] = {}

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        """The answer of instance `name`.

        Raises what the role raised, TransientError("shard_unavailable") when there is no
        answer in time, TransientError("actor_died") when there is no such actor any more.
        """
        try:
            handle = await self._handle(name)
            reply = await asyncio.wait_for(handle.ask.remote(message), timeout_s)
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

    async def launch(self, slot: str, role: str) -> Instance:
        """Start `role` in a process of its own under a new unique name."""
        from actors.host import HostActor  # noqa: PLC0415  (host imports this module)

        name = f"{NAME_PREFIX}/{slot}/{secrets.token_hex(4)}"
        detached = bool(self._settings.actors.ray_address)
        try:
            handle = HostActor.options(
                name=name,
                namespace=self._namespace,
                lifetime="detached" if detached or role != "supervisor" else None,
            ).remote(
                slot=slot,
                role=role,
                name=name,
                factory=ROLES[role],
                settings=self._settings.seen_by(role),
            )
            pong = await asyncio.wait_for(handle.start.remote(), START_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            text = f"Expected {slot} to start: {_cause(error)}"
            raise errors.TransientError("shard_unavailable", text) from error
        self._handles[name] = handle
        return Instance(slot, role, name, pong.pid)

    async def kill(self, instance: Instance) -> None:
        """End an actor; a stopped process on this node is ended by its pid."""
        with contextlib.suppress(RayError, ValueError):
            ray.kill(await self._handle(instance.name))
        if instance.pid and _is_worker(instance.pid):
            os.kill(instance.pid, signal.SIGKILL)
        self._handles.pop(instance.name, None)

    async def existing(self) -> list[Instance]:
        """Living actors of this namespace, of this or an earlier supervisor."""
        listed = await asyncio.to_thread(ray.util.list_named_actors, False)
        found = []
        for name in (n for n in listed if n.startswith(f"{NAME_PREFIX}/")):
            try:
                pong = await self.ask(name, Ping(), timeout_s=2.0)
            except errors.RiseCurveError:
                continue
            assert isinstance(pong, Pong)
            found.append(Instance(pong.slot, pong.role, pong.name, pong.pid))
        return found

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


def _is_worker(pid: int) -> bool:
    # Pids are used again: end only what is a Ray worker still.
    try:
        return b"ray::" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _cause(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {cause}"
