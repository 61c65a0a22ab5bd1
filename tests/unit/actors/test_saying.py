"""Troubles that come back each turn are said once, and their changes not each time."""

from actors.saying import QUIET_S, REMEMBERED_MAX, Saying
from tests.support.fakes import FakeSink


def test_same_trouble_is_said_once_until_it_is_over() -> None:
    log, now = FakeSink(), [0.0]
    saying = Saying(log, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 1_000.0):
        saying.wrong("away", 1, error="x")
    saying.wrong("away", 2, error="x")
    assert log.lines == [("warning", "away", {"error": "x"})] * 2
    assert saying.over("away", 1) and not saying.over("away", 1)
    saying.wrong("away", 1, error="x")
    assert len(log.lines) == 3


def test_trouble_whose_words_change_is_said_again_and_not_more_often_than_that() -> None:
    log, now = FakeSink(), [0.0]
    saying = Saying(log, clock=lambda: now[0])
    for tick in range(1_000):
        now[0] = tick * QUIET_S / 100
        saying.wrong("away", error=str(tick))
    assert len(log.lines) == 10


def test_many_troubles_are_remembered_in_a_bounded_place() -> None:
    log = FakeSink()
    saying = Saying(log, clock=lambda: 0.0)
    for number in range(REMEMBERED_MAX + 5):
        saying.wrong("away", number)
    assert len(saying._said) == REMEMBERED_MAX
