"""Takes away work that everybody has done: the outbox stays as long as its retention.

Each consumer's own store says how far it is; that is told to the outbox, and what all are past
and is old is taken away, batch by batch. Whoever dies anywhere leaves rows that the next turn
takes; who tells late only keeps them longer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from actors.ports import Log
from engine.errors import RiseCurveError
from engine.limits import OUTBOX_KEPT_S

TURN_S = 60.0
BATCHES_A_TURN = 50
"""A long past is taken away in turns: the database has other work."""


class Outbox(Protocol):
    """`storage.outbox`, by blocks, or `storage.bridge_outbox`, by numbers of its own."""

    async def told(self, consumer: str, upto: int, /) -> None: ...
    async def sweep(self, *, kept_s: int) -> int: ...


class Sweeper:
    """Plain class; `run` is its work, `swept` the rows it has taken away."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        consumers: Mapping[str, Callable[[], Awaitable[int]]],
        log: Log,
        kept_s: int = OUTBOX_KEPT_S,
        turn_s: float = TURN_S,
    ) -> None:
        self._outbox = outbox
        self._consumers = consumers
        self._log = log
        self._kept_s = kept_s
        self._turn_s = turn_s
        self._down = False
        self.swept = 0

    async def run(self) -> None:
        """A turn each minute until cancelled; what fails is done by the next."""
        while True:
            try:
                await self.turn()
                self._down = False
            except RiseCurveError as error:
                if not self._down:
                    self._log.warning("sweeper_waits_for_a_store", error=str(error))
                self._down = True
            await asyncio.sleep(self._turn_s)

    async def turn(self) -> int:
        """Ask each consumer, tell the outbox, take away; how many rows."""
        for name, counted in self._consumers.items():
            await self._outbox.told(name, await counted())
        found = 0
        for _ in range(BATCHES_A_TURN):
            batch = await self._outbox.sweep(kept_s=self._kept_s)
            if not batch:
                break
            found += batch
        self.swept += found
        return found
