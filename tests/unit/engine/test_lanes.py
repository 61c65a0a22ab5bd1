"""Lanes: of each the orders are kept, nothing is lost, and who is urgent passes the others."""

from hypothesis import given
from hypothesis import strategies as st

from engine.lanes import Lanes

Put = tuple[int, str]
"""Lane, and how it is put."""

Item = tuple[int, int]
"""Lane, and when it was put."""

CALM, URGENT, BEHIND = HOW = ("calm", "urgent", "behind")
PUTS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(HOW)), max_size=40)
ROOM = st.integers(1, 20)


def _put(lanes: Lanes[Item], item: Item, how: str) -> None:
    lanes.put(item[0], item, urgent=how != CALM, behind=how == BEHIND)


def _filled(puts: list[Put]) -> Lanes[Item]:
    lanes: Lanes[Item] = Lanes()
    for number, (lane, how) in enumerate(puts):
        _put(lanes, (lane, number), how)
    return lanes


@given(PUTS, st.lists(ROOM, max_size=5))
def test_all_comes_out_once_and_each_lane_keeps_its_orders(
    puts: list[Put], rooms: list[int]
) -> None:
    lanes: Lanes[Item] = Lanes()
    taken: list[Item] = []
    hows: list[str] = []
    for room in rooms:
        for lane, how in puts:
            _put(lanes, (lane, len(hows)), how)
            hows.append(how)
        before = len(lanes)
        taken += (found := lanes.take(room))
        assert bool(found) == bool(before)
        assert len(lanes) == before - len(found) == lanes.calm
        assert lanes.urgent == 0, "all that is urgent goes at once"
    taken += lanes.take_all()
    assert len(lanes) == 0 and lanes.take_all() == []
    assert len(taken) == len(set(taken)) == len(puts) * len(rooms)
    for lane in range(5):
        mine = [number for one, number in taken if one == lane]
        for alike in (True, False):
            found = [number for number in mine if (hows[number] == CALM) == alike]
            assert found == sorted(found)
        at = {number: place for place, number in enumerate(mine)}
        for last in (number for number in mine if hows[number] == BEHIND):
            assert all(at[number] < at[last] for number in mine if number < last)


@given(PUTS, ROOM)
def test_urgent_ones_and_what_they_are_behind_go_first(puts: list[Put], room: int) -> None:
    first = _filled(puts).take(room)
    last = {lane: number for number, (lane, how) in enumerate(puts) if how == BEHIND}
    ahead = [
        (lane, n) for n, (lane, how) in enumerate(puts) if how != CALM or n < last.get(lane, -1)
    ]
    assert set(first[: len(ahead)]) == set(ahead)
    others = len(puts) - len(ahead)
    assert len(first) - len(ahead) == min(max(room - len(ahead), 1), others)


@given(PUTS)
def test_without_room_only_what_is_urgent_goes(puts: list[Put]) -> None:
    lanes = _filled(puts)
    urgent, calm = lanes.urgent, lanes.calm
    assert len(lanes.take(0)) == urgent and lanes.calm == calm == len(lanes)


@given(PUTS, ROOM)
def test_the_others_go_in_turn_whatever_their_lane_has(puts: list[Put], room: int) -> None:
    lanes = _filled([(lane, CALM) for lane, _ in puts])
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
