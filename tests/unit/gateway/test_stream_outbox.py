"""What waits for a slow reader: the newest price, nothing lost unseen, never much."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.stream_events import Push, exact, gap_of, push_of
from gateway.stream_outbox import Outbox

OTHERS_MAX = 4


def push(topic: str, seq: int, event: str = "price", generation: str = "g") -> Push:
    data = {"topic": topic, "seq": seq, "generation": generation, "data": {"n": seq}}
    return push_of(event, data)


def shown(frame: bytes) -> dict[str, Any]:
    return dict(json.loads(frame[frame.index(b"{") :]))


def drained(outbox: Outbox) -> list[dict[str, Any]]:
    found = []
    while (frame := outbox.take()) is not None:
        found.append(shown(frame))
    return found


def test_newest_price_stands_for_those_before_it() -> None:
    outbox = Outbox(OTHERS_MAX)
    for seq in range(3, 9):
        outbox.offer(push("a", seq))
    outbox.offer(push("b", 1))
    a, b = drained(outbox)
    assert (a["fromSeq"], a["seq"], a["toSeq"], a["data"]) == (3, 8, 8, {"n": 8})
    assert (b["topic"], b["fromSeq"], b["toSeq"]) == ("b", 1, 1)


def test_price_that_stands_for_others_already_hands_all_their_numbers_on() -> None:
    outbox = Outbox(OTHERS_MAX)
    data = {"topic": "a", "seq": 8, "fromSeq": 5, "toSeq": 8, "generation": "g", "data": {"n": 8}}
    wide = push_of("price", data)
    outbox.offer(wide)
    (alone,) = drained(outbox)
    assert (alone["fromSeq"], alone["seq"], alone["toSeq"]) == (5, 8, 8)
    outbox.offer(wide)
    outbox.offer(push("a", 9))
    (price,) = drained(outbox)
    assert (price["fromSeq"], price["seq"]) == (5, 9)


def test_event_between_two_prices_accounts_for_the_first() -> None:
    outbox = Outbox(OTHERS_MAX)
    outbox.offer(push("a", 6))
    outbox.offer(push("a", 7, "transaction"))
    outbox.offer(push("a", 8))
    trade, price = drained(outbox)
    assert (trade["event"], trade["fromSeq"], trade["toSeq"]) == ("transaction", 6, 7)
    assert (price["event"], price["fromSeq"], price["toSeq"]) == ("price", 8, 8)


def test_number_that_was_never_heard_is_accounted_for_by_nobody() -> None:
    outbox = Outbox(OTHERS_MAX)
    outbox.offer(push("a", 6))
    outbox.offer(push("a", 8))
    (price,) = drained(outbox)
    assert price["fromSeq"] == 8


def test_another_generation_takes_nothing_over() -> None:
    outbox = Outbox(OTHERS_MAX)
    outbox.offer(push("a", 1, generation="old"))
    outbox.offer(push("a", 2, generation="new"))
    (price,) = drained(outbox)
    assert (price["generation"], price["fromSeq"]) == ("new", 2)


def test_too_many_others_become_one_gap_of_their_topic() -> None:
    outbox = Outbox(OTHERS_MAX)
    outbox.offer(push("b", 1, "transaction"))
    for seq in range(1, 20):
        outbox.offer(push("a", seq, "transaction"))
    outbox.offer(push("a", 20))
    found = drained(outbox)
    assert [(one["event"], one["topic"]) for one in found] == [("transaction", "b"), ("gap", "a")]
    outbox.offer(push("a", 21, "transaction"))
    assert [one["seq"] for one in drained(outbox)] == [21]


def test_forgotten_topic_is_gone() -> None:
    outbox = Outbox(OTHERS_MAX)
    outbox.offer(push("a", 1))
    outbox.offer(push("b", 1, "transaction"))
    outbox.forget("a")
    outbox.forget("nothing")
    assert [one["topic"] for one in drained(outbox)] == ["b"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["price", "transaction", "lose"])),
        st.just(("take", "")),
        st.tuples(st.sampled_from("abc"), st.just("forget")),
    ),
    max_size=80,
)


@given(STEPS)
def test_reader_misses_nothing_without_seeing_it(steps: list[tuple[str, str]]) -> None:
    """A reader that follows `fromSeq` and `toSeq` knows of every number that was lost, gets
    every transaction or a gap, and has the newest price at the end.
    """
    outbox = Outbox(OTHERS_MAX)
    said: dict[str, int] = {}
    lost: dict[str, set[int]] = {topic: set() for topic in "abc"}
    newest: dict[str, int] = {}
    prices: dict[str, set[int]] = {topic: set() for topic in "abc"}
    reader = Reader()
    for topic, what in steps:
        if topic == "take":
            frame = outbox.take()
            if frame is not None:
                reader.take(shown(frame))
        elif what == "forget":
            outbox.forget(topic)
            reader.unsure.add(topic)
        else:
            said[topic] = said.get(topic, 0) + 1
            if what == "lose":
                lost[topic].add(said[topic])
                continue
            outbox.offer(push(topic, said[topic], what))
            if what == "price":
                newest[topic] = said[topic]
                prices[topic].add(said[topic])
        assert len(outbox) <= OTHERS_MAX + 2 * 3
    for one in drained(outbox):
        reader.take(one)
    for topic in set("abc") - reader.unsure:
        reached = reader.reached.get(topic, 0)
        assert {seq for seq in lost[topic] if seq <= reached} <= reader.missing[topic]
        # A price that gave way next to a lost number is missing with it, never by itself.
        assert reader.missing[topic] <= lost[topic] | prices[topic]
        assert lost[topic] or not reader.missing[topic]
        if topic in newest and newest[topic] <= reached:
            assert reader.price[topic] == newest[topic]


class Reader:
    """As a careful client reads."""

    def __init__(self) -> None:
        self.reached: dict[str, int] = {}
        self.missing: dict[str, set[int]] = {topic: set() for topic in "abc"}
        self.price: dict[str, int] = {}
        self.unsure: set[str] = set()

    def take(self, message: dict[str, Any]) -> None:
        topic = message["topic"]
        if message["event"] == "gap":
            self.unsure.add(topic)
            return
        first = message.get("fromSeq", message["seq"])
        before = self.reached.get(topic, 0)
        assert first <= message["seq"] and message["seq"] > before
        self.missing[topic] |= set(range(before + 1, first))
        self.reached[topic] = message["seq"]
        if message["event"] == "price":
            self.price[topic] = message["seq"]


def test_amounts_and_prices_are_integers_of_base_units() -> None:
    data = {"price": "0.5", "ethAmount": "1.000000000000000001", "name": "1.5", "phase": "curve"}
    nested = {"items": [data], "marketCap": None}
    assert exact(nested) == {
        "items": [
            {
                "priceE18": str(5 * 10**35),
                "ethAmountWei": "1000000000000000001",
                "name": "1.5",
                "phase": "curve",
            }
        ],
        "marketCapWei": None,
    }


def test_gap_has_no_number() -> None:
    found = shown(gap_of("a").frame)
    assert (found["event"], found["topic"], found["seq"]) == ("gap", "a", None)
    assert "fromSeq" not in found
