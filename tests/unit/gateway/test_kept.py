"""Many askers, one answer a moment."""

import asyncio

import pytest

from gateway.kept import Kept


class _Maker:
    def __init__(self) -> None:
        self.made = 0
        self.fails = False

    async def __call__(self) -> int:
        self.made += 1
        await asyncio.sleep(0.001)
        if self.fails:
            raise LookupError
        return self.made


async def test_kept_is_made_once_for_all_who_ask_at_once() -> None:
    now, make = [0.0], _Maker()
    kept = Kept(make, seconds=1.0, clock=lambda: now[0])
    assert await asyncio.gather(*(kept.get() for _ in range(50))) == [1] * 50
    now[0] = 0.9
    assert await kept.get() == 1
    now[0] = 1.1
    assert await asyncio.gather(*(kept.get() for _ in range(50))) == [2] * 50


async def test_kept_one_who_goes_away_takes_nothing_from_the_others() -> None:
    kept = Kept(_Maker(), seconds=1.0)
    first, second = asyncio.ensure_future(kept.get()), asyncio.ensure_future(kept.get())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1


async def test_kept_failure_is_everybodys_and_tried_again_after_a_moment() -> None:
    now, make = [0.0], _Maker()
    make.fails, kept = True, Kept(make, seconds=1.0, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(LookupError):
            await kept.get()
    make.fails, now[0] = False, 2.0
    assert await kept.get() == 2
