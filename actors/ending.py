"""Instances that are being ended; until they are, nobody takes their place."""

import asyncio

from actors.ports import Launcher, Log
from actors.tasks import Tasks
from engine.control import Instance
from engine.errors import TransientError

AGAIN_S = 1.0


class Ending:
    """`slot in ending`: one that had this slot may be there still."""

    def __init__(self, launcher: Launcher, log: Log) -> None:
        self._launcher = launcher
        self._log = log
        self._slots: dict[str, str] = {}
        self._tasks = Tasks()
        self.watch = self._tasks.watch
        self.join = self._tasks.join
        self.cancel = self._tasks.cancel

    def start(self, instance: Instance) -> None:
        """It may take its time, for which nobody waits but who comes in its place."""
        if instance.name not in self._tasks:
            self._slots[instance.name] = instance.slot
            self._tasks.start(instance.name, self._end(instance))

    async def end(self, instance: Instance) -> None:
        """Returns once it has ended: while Ray's head is away that cannot be known, nor could
        anybody be started in its place."""
        told = False
        while True:
            try:
                await self._launcher.kill(instance)
            except TransientError as error:
                if not told:
                    self._log.warning("role_not_ended", slot=instance.slot, error=str(error))
                told = True
                await asyncio.sleep(AGAIN_S)
            else:
                return

    def __contains__(self, slot: str) -> bool:
        return slot in self._slots.values()

    async def _end(self, instance: Instance) -> None:
        try:
            await self.end(instance)
        finally:
            del self._slots[instance.name]
