"""The breaker's states, and that it never shuts for ever nor lets two probes through."""

from hypothesis import given
from hypothesis import strategies as st

from engine.bridge.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Rules

RULES = Rules(failures_max=3, window_s=10.0, cool_down_s=1.0, cool_down_s_max=4.0)


def failed(times: int, now: float = 0.0) -> Breaker:
    found = Breaker(RULES)
    for _ in range(times):
        found = found.failed(now)
    return found


def test_breaker_opens_at_the_last_failure_of_the_window():
    assert failed(2).state(0.0) == CLOSED
    assert failed(3).state(0.0) == OPEN


def test_breaker_failures_outside_the_window_do_not_count():
    assert failed(2).failed(11.0).state(11.0) == CLOSED


def test_breaker_answer_in_between_begins_anew():
    assert failed(2).succeeded().failed(0.0).state(0.0) == CLOSED


def test_breaker_half_open_lets_one_probe_through():
    found = failed(3)
    assert found.asked(0.5)[0] is False
    assert found.state(1.0) == HALF_OPEN
    may, probing = found.asked(1.0)
    assert may and probing.asked(1.0)[0] is False
    assert probing.succeeded().state(1.0) == CLOSED


def test_breaker_probe_that_fails_waits_twice_as_long_up_to_the_most():
    found, now, pauses = failed(3), 0.0, []
    for _ in range(4):
        assert found.open_until is not None
        now = found.open_until
        _, probing = found.asked(now)
        found = probing.failed(now)
        pauses.append((found.open_until or 0.0) - now)
    assert pauses == [2.0, 4.0, 4.0, 4.0]


def test_breaker_answer_of_an_older_call_closes_nothing():
    assert failed(3).succeeded().state(0.0) == OPEN


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60))
def test_breaker_after_any_history_lets_a_call_through_in_time(steps: list[tuple[float, bool]]):
    found, now = Breaker(RULES), 0.0
    for pause, answered in steps:
        now += pause
        may, found = found.asked(now)
        if may:
            found = found.succeeded() if answered else found.failed(now)
    assert found.asked(now + RULES.cool_down_s_max)[0]
