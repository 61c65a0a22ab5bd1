"""Which nonce is believed: no endpoint alone moves it up, and none below what we know."""

from hypothesis import given
from hypothesis import strategies as st

from engine.bridge.nonces import NONCE_MAX, Believed, Steady, believed

numbers = st.integers(-1, 2**70)


@given(lie=numbers, honest=st.integers(0, 50), count=st.integers(1, 4), used=st.integers(0, 50))
def test_sure_nonce_is_none_that_one_endpoint_alone_reached(
    lie: int, honest: int, count: int, used: int
):
    used = min(used, honest)
    told = believed([honest] * count + [lie], used=used, endpoints=count + 1)
    assert told is not None and used <= told.nonce <= honest
    if told is not None and count > 1:
        assert (told.nonce, told.sure) == (honest, True)


@given(said=st.lists(numbers, max_size=4), used=st.integers(0, 50))
def test_nothing_below_what_final_blocks_used_is_believed(said: list[int], used: int):
    told = believed(said, used=used, endpoints=max(len(said), 1))
    if told is None:
        assert not any(used <= one <= NONCE_MAX for one in said)
    else:
        assert used <= told.nonce <= NONCE_MAX
        possible = {one for one in said if used <= one <= NONCE_MAX}
        assert told.alike is (possible == {told.nonce})


def test_few_answers_are_believed_and_not_sure() -> None:
    assert believed([7], used=0, endpoints=2) == Believed(7, sure=False, alike=True)
    assert believed([7], used=0, endpoints=1) == Believed(7, sure=False, alike=True)
    assert believed([7, 7], used=0, endpoints=2) == Believed(7, sure=True, alike=True)
    assert believed([7, 9], used=0, endpoints=2) == Believed(7, sure=True, alike=False)
    assert believed([], used=0, endpoints=2) is None


def test_what_cannot_be_is_not_asked_whether_all_agree() -> None:
    # A node that lags, or lies, below what a final block used, or far above what any account has.
    for wrong in (6, -1, NONCE_MAX + 1):
        told = believed([8, wrong, 8], used=7, endpoints=3)
        assert told == Believed(8, sure=True, alike=True)
    assert believed([8, 7, 8], used=7, endpoints=3) == Believed(8, sure=True, alike=False)


def test_unsure_nonce_is_reached_once_it_was_said_for_a_while() -> None:
    one = Steady()
    for now in (0.0, 1.0, 2.9):
        one = one.noted(Believed(9, sure=False, alike=True), now, 3.0)
        assert one.reached == 0
    assert one.noted(Believed(9, sure=False, alike=True), 3.0, 3.0).reached == 9
    assert Steady().noted(Believed(9, sure=True, alike=True), 0.0, 3.0).reached == 9


def test_lie_told_once_is_never_reached() -> None:
    one = Steady(4).noted(Believed(1_000, sure=False, alike=True), 0.0, 3.0)
    for now in (1.0, 2.0, 5.0, 9.0):
        one = one.noted(Believed(4, sure=False, alike=True), now, 3.0)
    assert one.reached == 4
    # Between two true ones that grow, either.
    one = Steady(4).noted(Believed(1_000, sure=False, alike=True), 0.0, 3.0)
    assert one.noted(Believed(5, sure=False, alike=True), 4.0, 3.0).reached == 5
