"""A slice of work a turn of the loop: in order, and others come in between."""

import asyncio
from typing import Any

import pytest

from gateway.turns import Turns

SLICE_S = 0.005
COST_S = 0.002


class Work:
    """Each thing takes COST_S of a clock of its own; `done` says when, in turns of the loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turn = 0
        self.done: list[tuple[int, int]] = []
        self.turns = Turns(slice_s=SLICE_S, clock=lambda: self.now)

    def do(self, what: int) -> None:
        self.now += COST_S
        self.done.append((what, self.turn))

    async def passed(self, turns: int) -> None:
        for _ in range(turns):
            self.turn += 1
            await asyncio.sleep(0)


async def test_what_fits_into_a_slice_is_done_at_once() -> None:
    work = Work()
    assert [work.turns.take(work.do, one) for one in range(3)] == [True] * 3
    assert work.done == [(0, 0), (1, 0), (2, 0)]
    await work.passed(1)
    assert work.turns.take(work.do, 3) and not work.turns


async def test_the_rest_waits_in_order_and_the_loop_turns_in_between() -> None:
    work = Work()
    taken = [work.turns.take(work.do, one) for one in range(8)]
    assert taken == [True] * 3 + [False] * 5 and len(work.turns) == 5
    await work.passed(1)
    # What comes now stands behind what waits, though there was time for it.
    assert not work.turns.take(work.do, 8)
    await work.passed(3)
    assert [what for what, _ in work.done] == list(range(9))
    assert [[turn for _, turn in work.done].count(one) for one in range(4)] == [3, 3, 3, 0]
    assert not work.turns


async def test_a_turn_of_its_own_does_not_give_a_second_slice() -> None:
    work = Work()
    for one in range(4):
        work.turns.take(work.do, one)
    await asyncio.sleep(0)
    assert work.turns.take(work.do, 4) and work.turns.take(work.do, 5)
    assert not work.turns.take(work.do, 6)


async def test_what_raises_holds_up_nobody() -> None:
    work = Work()
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    def fail(what: int) -> None:
        raise ZeroDivisionError

    for one in range(3):
        work.turns.take(work.do, one)
    work.turns.take(fail, 3)
    work.turns.take(work.do, 4)
    await work.passed(3)
    assert work.done[-1][0] == 4
    assert [type(one["exception"]) for one in heard] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        work.turns.take(fail, 5)


async def test_what_comes_out_of_work_stands_behind_what_waits() -> None:
    work = Work()
    for one in range(3):
        work.turns.take(work.do, one)
    work.turns.take(lambda _: work.turns.take(work.do, 4), None)
    work.turns.take(work.do, 3)
    await work.passed(3)
    assert [what for what, _ in work.done] == [0, 1, 2, 3, 4]


async def test_what_is_dropped_is_not_done() -> None:
    work = Work()
    for one in range(6):
        work.turns.take(work.do, one)
    assert work.turns.drop() == [3, 4, 5]
    await work.passed(2)
    assert [what for what, _ in work.done] == [0, 1, 2] and not work.turns
