"""The directory, told to everybody until they have taken it."""

import asyncio
from collections.abc import Callable

from actors.draining import DOORS
from actors.ports import Launcher, Log
from engine.control import Directory, Instance
from engine.errors import TransientError

TIMEOUT_S = 1.0


class Telling:
    """Who has taken which version; `directory` is the present one whenever it is asked for."""

    def __init__(self, launcher: Launcher, log: Log, directory: Callable[[], Directory]) -> None:
        self._launcher = launcher
        self._log = log
        self._directory = directory
        self._told: dict[str, int] = {}

    async def tell_all(self) -> None:
        """Those who have not taken it; the doors first."""
        now = self._directory()
        late = [i for i in now.instances if self._told.get(i.name) != now.version]
        doors = [one for one in late if one.role in DOORS]
        await asyncio.gather(*(self.tell(one) for one in doors))
        await asyncio.gather(*(self.tell(one) for one in late if one not in doors))
        names = {one.name for one in self._directory().instances}
        self._told = {name: v for name, v in self._told.items() if name in names}

    async def tell(self, instance: Instance) -> None:
        """One; where it does not answer it is told again by `tell_all`."""
        directory = self._directory()
        try:
            await self._launcher.ask(instance.name, directory, timeout_s=TIMEOUT_S)
        except TransientError as error:
            self._log.warning("role_not_told", slot=instance.slot, error=str(error))
        else:
            self._told[instance.name] = directory.version

    def untold(self) -> list[str]:
        """Slots of those that have taken none yet: silent since they were adopted, or not built."""
        there = self._directory().instances
        return sorted(one.slot for one in there if one.name not in self._told)
