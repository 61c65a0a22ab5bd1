"""What a command cannot do without: its servers and its Ray.

Without one of them it serves nothing and mends nothing. So it ends, everything else with it, and
whoever looks after it (systemd) starts it anew.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from deploy import identity
from deploy.identity import Identity
from deploy.process import Server, StartError

T = TypeVar("T")

LOOK_S = 1.0
RAY = ("gcs_server", "raylet")


@dataclass(frozen=True, slots=True)
class Vital:
    """Processes of this command, of which none may end before it."""

    servers: Mapping[str, Server]
    ray: Mapping[str, Identity] = field(default_factory=dict)

    async def watch(self) -> None:
        """Until cancelled. Raises StartError as soon as one of them has ended."""
        while True:
            self.check()
            await asyncio.sleep(LOOK_S)

    def check(self) -> None:
        """Raises StartError with the name of one that has ended."""
        for server in self.servers.values():
            if not server.alive:
                text = f"Expected {server.name} to run, it has ended; see {server.log}."
                raise StartError(text)
        for name, one in self.ray.items():
            if not one.alive:
                raise StartError(f"Expected {name} (process {one.pid}) to run, it has ended.")


def of_local_ray(servers: Mapping[str, Server]) -> Vital:
    """These servers, and the Ray that this process has begun."""
    return Vital(servers, identity.children(*RAY))


async def beside(work: Coroutine[Any, Any, T], *guards: Coroutine[Any, Any, None]) -> T:
    """What `work` gives. It is cancelled, and awaited, when a guard ends before it.

    Raises what the guard raised, or StartError when it just returned.
    """
    doing = asyncio.create_task(work)
    watching = [asyncio.create_task(guard) for guard in guards]
    try:
        await asyncio.wait({doing, *watching}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            for ended in (one for one in watching if one.done()):
                ended.result()
                raise StartError("Expected the system to stay, it is gone.")
        return await doing
    finally:
        for task in (doing, *watching):
            task.cancel()
        await asyncio.gather(doing, *watching, return_exceptions=True)
