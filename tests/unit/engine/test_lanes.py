"""Lanes: of each the order is kept, nothing is lost, and who is urgent passes the others."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from engine.lanes import Lanes

Put = tuple[int, int, bool]
"""Lane, size, whether it is urgent."""

PUTS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9), st.booleans()), max_size=40)


def _filled(puts: list[Put], lanes: Lanes[tuple[int, int]]) -> None:
    for number, (lane, size, urgent) in enumerate(puts):
        lanes.put(lane, (lane, number), size=size, urgent=urgent)


@given(PUTS, st.lists(st.integers(1, 20), max_size=5))
def test_each_lane_comes_out_whole_and_in_order(puts: list[Put], rooms: list[int]) -> None:
    lanes: Lanes[tuple[int, int]] = Lanes()
    taken: list[tuple[int, int]] = []
    numbers = count()
    for room in rooms:
        for lane, size, urgent in puts:
            lanes.put(lane, (lane, next(numbers)), size=size, urgent=urgent)
        taken += lanes.take(room)
    while lanes:
        before = len(lanes)
        taken += (found := lanes.take(1))
        assert found
        assert len(lanes) == before - len(found)
    for lane in range(5):
        mine = [number for one, number in taken if one == lane]
        assert mine == sorted(mine)
    assert len(taken) == len(set(taken)) == len(puts) * len(rooms)
    assert lanes.take(10) == []


@given(PUTS, st.integers(1, 20))
def test_urgent_ones_and_what_is_before_them_in_their_lane_go_first(
    puts: list[Put], room: int
) -> None:
    lanes: Lanes[tuple[int, int]] = Lanes()
    _filled(puts, lanes)
    first = lanes.take(room)
    last = {lane: number for number, (lane, _, urgent) in enumerate(puts) if urgent}
    ahead = [(lane, n) for n, (lane, _, _) in enumerate(puts) if n <= last.get(lane, -1)]
    if sum(puts[number][1] for _, number in ahead) <= room:
        assert set(first[: len(ahead)]) == set(ahead)
    else:
        # One of the others goes with them all the same, where there is one in a lane of its own.
        assert len(set(first) - set(ahead)) <= 1
    others = {lane for lane, _, _ in puts} - last.keys()
    if others:
        assert any(lane in others or n > last.get(lane, -1) for lane, n in first)


@given(PUTS, st.integers(1, 20))
def test_takes_about_as_much_as_there_is_room_for(puts: list[Put], room: int) -> None:
    lanes: Lanes[tuple[int, int]] = Lanes()
    _filled([(lane, size, False) for lane, size, _ in puts], lanes)
    found = lanes.take(room)
    sizes = [puts[number][1] for _, number in found]
    assert sum(sizes[:-1]) < room
    assert sum(sizes) >= min(room, sum(size for _, size, _ in puts))


def test_a_stream_of_urgent_ones_does_not_hold_up_the_rest_for_ever() -> None:
    lanes: Lanes[str] = Lanes()
    for number in range(10):
        lanes.put("calm", f"calm {number}")
    taken = []
    for number in range(12):
        lanes.put("urgent", f"urgent {number}", size=100, urgent=True)
        taken += lanes.take(10)
    assert [one for one in taken if one.startswith("calm")] == [f"calm {n}" for n in range(10)]
