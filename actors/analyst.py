"""Figures of the whole platform brought up to date, and old price history thinned, on a
schedule; nothing waits for it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from actors.ports import Log
from actors.turns import Turns
from engine.control import Directory, Drain, StatusWanted

CREATORS_EVERY = 10
"""Turns between two in which all tokens are walked."""

THIN_EVERY = 20
"""Turns between two in which old price history is thinned."""


class Figures(Protocol):
    """`storage.analytics`."""

    async def turn(self, *, creators: bool = True) -> int: ...


class OldCandles(Protocol):
    """`storage.thinning`."""

    async def turn(self) -> int: ...


class Analyst:
    """Plain class; `handlers` is its whole behaviour, `run` its work."""

    def __init__(
        self,
        *,
        figures: Figures,
        candles: OldCandles,
        interval_s: float,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._figures = figures
        self._candles = candles
        self._clock = clock
        self._turns = Turns(
            self._turn,
            interval_s=interval_s,
            waits="analytics_wait_for_the_store",
            log=log,
            clock=clock,
        )
        self._status: dict[str, float] = {
            "block": -1,
            "turns": 0,
            "turn_ms": 0,
            "candles_thinned": 0,
        }
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: lambda _: None,
            StatusWanted: lambda _: dict(self._status),
            Drain: lambda _: self._turns.stop(),
        }

    async def run(self) -> None:
        """A turn each interval until cancelled or drained; what fails is done by the next."""
        await self._turns.run()

    async def _turn(self) -> None:
        began = self._clock()
        turns = self._status["turns"]
        block = await self._figures.turn(creators=turns % CREATORS_EVERY == 0)
        self._status["block"] = block
        self._status["turns"] = turns + 1
        self._status["turn_ms"] = round((self._clock() - began) * 1e3)
        if turns % THIN_EVERY == 0:
            self._status["candles_thinned"] += await self._candles.turn()
