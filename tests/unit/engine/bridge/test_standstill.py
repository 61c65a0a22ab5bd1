"""When an attestor counts as signing nothing: what lasts, not what is over at the next look."""

from hypothesis import given
from hypothesis import strategies as st

from engine.bridge.standstill import STOPPED_AFTER_S, Standstill

CODES = ("", "trouble", "disagreement")


def seen(*looks: tuple[str, float]) -> str:
    one = Standstill()
    for code, now in looks:
        one = one.noted(code, now)
    return one.lasting


def test_trouble_counts_once_it_has_lasted_and_ends_with_the_first_good_look():
    assert seen(("trouble", 100.0)) == ""
    assert seen(("trouble", 100.0), ("trouble", 105.0)) == ""
    assert seen(("trouble", 100.0), ("trouble", 105.0), ("trouble", 110.0)) == "trouble"
    assert seen(("trouble", 100.0), ("trouble", 110.0), ("", 110.1)) == ""


def test_one_trouble_after_the_other_is_one_standstill_and_the_last_one_is_said():
    assert seen(("trouble", 100.0), ("disagreement", 105.0), ("trouble", 110.0)) == "trouble"
    assert seen(("disagreement", 100.0), ("", 105.0), ("disagreement", 110.0)) == ""


def test_slow_look_alone_does_not_make_it_last():
    assert seen(("", 10.0), ("trouble", 1_000.0)) == ""


@given(st.lists(st.tuples(st.sampled_from(CODES), st.floats(0, 10)), max_size=30))
def test_it_counts_exactly_while_every_look_back_to_then_found_something(
    looks: list[tuple[str, float]],
):
    one, now, began = Standstill(), 0.0, None
    for code, pause in looks:
        now += pause
        one = one.noted(code, now)
        began = (now if began is None else began) if code else None
        lasts = began is not None and now - began >= STOPPED_AFTER_S
        assert one.lasting == (code if lasts else "")
