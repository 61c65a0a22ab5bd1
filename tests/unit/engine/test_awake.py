"""Time in which a process was stopped is nobody's silence."""

from hypothesis import given
from hypothesis import strategies as st

from engine.awake import AwakeClock, Silences


@given(st.lists(st.floats(min_value=0.0, max_value=0.5), max_size=50))
def test_steps_that_are_kept_count_in_whole(steps):
    clock, at_s = AwakeClock(0.25), 7.0
    clock.tick(at_s)
    for step in steps:
        at_s += step
        clock.tick(at_s)
    assert abs(clock.now_s - (at_s - 7.0)) < 1e-9


def test_stop_counts_as_two_steps_at_most():
    clock = AwakeClock(0.25)
    for at_s in (0.0, 0.25, 3_600.25, 3_600.5):
        clock.tick(at_s)
    assert clock.now_s == 0.25 + 0.5 + 0.25


def test_clock_that_goes_back_counts_nothing():
    clock = AwakeClock(0.25)
    clock.tick(5.0)
    clock.tick(4.0)
    assert clock.now_s == 0.0


def test_silence_counts_from_the_last_word_or_the_first_question_and_is_forgotten():
    clock = AwakeClock(0.25)
    silences = Silences(clock)
    clock.tick(0.0)
    silences.heard("a")
    clock.tick(0.5)
    assert (silences.silent_s("a"), silences.silent_s("b")) == (0.5, 0.0)
    clock.tick(1.0)
    silences.heard("a")
    assert (silences.silent_s("a"), silences.silent_s("b")) == (0.0, 0.5)
    silences.keep({"b"})
    clock.tick(1.5)
    assert (silences.silent_s("a"), silences.silent_s("b")) == (0.0, 1.0)
