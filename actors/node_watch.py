"""The nodes of the cluster as they are now: for whoever asks, and so that a node is asked for its
build when it joins.
"""

import asyncio

from actors.ports import Launcher, Log
from engine.errors import TransientError
from engine.placement import Node

LOOK_EVERY_S = 3.0


class NodeWatch:
    """`found` is what was there last."""

    def __init__(self, launcher: Launcher, log: Log) -> None:
        self._launcher = launcher
        self._log = log
        self.found: tuple[Node, ...] = ()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                found = tuple(await self._launcher.nodes())
            except TransientError as error:
                self._log.warning("nodes_unknown", error=str(error))
            else:
                for node in set(found) - set(self.found):
                    self._log.info("node", host=node.host, node=node.id, refused=node.refused)
                self.found = found
            await asyncio.sleep(LOOK_EVERY_S)
