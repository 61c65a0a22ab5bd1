"""The analytics role's schedule."""

import asyncio

from actors.analyst import THIN_EVERY, Analyst
from engine.control import Drain, StatusWanted
from engine.errors import TransientError
from tests.support.fake_roles import Log


class Figures:
    def __init__(self) -> None:
        self.turns = 0
        self.down = False

    async def turn(self, *, creators: bool = True) -> int:
        if self.down:
            raise TransientError("store_unavailable", "down")
        self.turns += 1
        return self.turns


class Candles:
    def __init__(self) -> None:
        self.turns = 0

    async def turn(self) -> int:
        self.turns += 1
        return 7


async def until(wanted) -> None:
    async with asyncio.timeout(5):
        while not wanted():
            await asyncio.sleep(0)


async def test_old_candles_are_thinned_once_in_many_turns_and_after_trouble_again():
    figures, candles, log = Figures(), Candles(), Log()
    analyst = Analyst(figures=figures, candles=candles, interval_s=0.0, log=log)
    task = asyncio.create_task(analyst.run())
    await until(lambda: figures.turns > THIN_EVERY)
    figures.down = True
    await until(lambda: log.lines)
    thinned = candles.turns
    assert thinned == 2
    figures.down = False
    await until(lambda: candles.turns == thinned + 1)
    assert figures.turns > 2 * THIN_EVERY
    assert analyst.handlers[StatusWanted](None)["candles_thinned"] >= 7 * thinned
    analyst.handlers[Drain](None)
    await task
