"""Lanes: of each the order is kept, nothing is lost, and who is urgent passes the others."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from engine.lanes import Lanes

Put = tuple[int, bool]
"""Lane, and whether it is urgent."""

Item = tuple[int, int]
"""Lane, and when it was put."""

PUTS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40)
ROOM = st.integers(1, 20)


def _filled(puts: list[Put]) -> Lanes[Item]:
    lanes: Lanes[Item] = Lanes()
    for number, (lane, urgent) in enumerate(puts):
        lanes.put(lane, (lane, number), urgent=urgent)
    return lanes


@given(PUTS, st.lists(ROOM, max_size=5))
def test_each_lane_comes_out_whole_and_in_order(puts: list[Put], rooms: list[int]) -> None:
    lanes: Lanes[Item] = Lanes()
    taken: list[Item] = []
    numbers = count()
    for room in rooms:
        for lane, urgent in puts:
            lanes.put(lane, (lane, next(numbers)), urgent=urgent)
        before = len(lanes)
        taken += (found := lanes.take(room))
        assert bool(found) == bool(before)
        assert len(lanes) == before - len(found) == lanes.calm
        assert lanes.urgent == 0, "all that is urgent goes at once"
    taken += lanes.take_all()
    assert len(lanes) == 0 and lanes.take_all() == []
    for lane in range(5):
        mine = [number for one, number in taken if one == lane]
        assert mine == sorted(mine)
    assert len(taken) == len(set(taken)) == len(puts) * len(rooms)


@given(PUTS, ROOM)
def test_urgent_ones_and_what_is_before_them_in_their_lane_go_first(
    puts: list[Put], room: int
) -> None:
    first = _filled(puts).take(room)
    last = {lane: number for number, (lane, urgent) in enumerate(puts) if urgent}
    ahead = {(lane, n) for n, (lane, _) in enumerate(puts) if n <= last.get(lane, -1)}
    assert set(first[: len(ahead)]) == ahead
    others = len(puts) - len(ahead)
    assert len(first) - len(ahead) == min(max(room - len(ahead), 1), others)


@given(PUTS, ROOM)
def test_the_others_go_in_turn_whatever_their_lane_has(puts: list[Put], room: int) -> None:
    lanes = _filled([(lane, False) for lane, _ in puts])
    seen = [lane for lane, _ in lanes.take(room)]
    numbers = {lane: seen.count(lane) for lane, _ in puts}
    waiting = {lane for lane, _ in lanes.take_all()}
    for lane in waiting:
        assert numbers[lane] >= max(numbers.values()) - 1


def test_a_stream_of_urgent_ones_holds_up_no_lane_for_ever() -> None:
    lanes: Lanes[str] = Lanes()
    for number in range(100):
        lanes.put("much", f"much {number}")
    lanes.put("little", "little")
    taken = []
    for number in range(4):
        for _ in range(100):
            lanes.put("urgent", f"urgent {number}", urgent=True)
        taken += [one for one in lanes.take(10) if not one.startswith("urgent")]
    assert taken == ["much 0", "little", "much 1", "much 2"]
