"""Rounds of a topic: prices give way, nothing else does, nothing is lost unseen."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import coalescing
from gateway.coalescing import Coalescer, Message, folded, interval_s

EVENTS = st.sampled_from(["price", "transaction", "retracted"])


def message(seq: int, event: str = "price", generation: str = "g") -> Message:
    return Message(event, seq, generation, {"n": seq}, seq)


def test_newest_price_stands_for_those_before_it() -> None:
    assert folded([message(3), message(4), message(5)]) == [Message("price", 5, "g", {"n": 5}, 3)]


def test_event_between_two_prices_accounts_for_the_first() -> None:
    trade, price = folded([message(6), message(7, "transaction"), message(8)])
    assert (trade.event, trade.from_seq, trade.seq) == ("transaction", 6, 7)
    assert (price.event, price.from_seq, price.seq) == ("price", 8, 8)


def test_price_before_the_last_event_is_kept_if_none_is_newer() -> None:
    both = [message(1), message(2, "transaction")]
    assert folded(both) == both


def test_hole_and_another_generation_take_nothing_over() -> None:
    (after_a_hole,) = folded([message(1), message(3)])
    assert after_a_hole.from_seq == 3
    (of_another,) = folded([message(1, generation="old"), message(2, generation="new")])
    assert (of_another.generation, of_another.from_seq) == ("new", 2)


@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=12))
def test_every_number_is_accounted_for_once_and_others_all_go_out(
    events: list[tuple[str, bool]],
) -> None:
    given, seq = [], 0
    for event, follows in events:
        seq += 1 if follows else 2
        given.append(message(seq, event))
    found = folded(given)
    numbers = [number for one in found for number in range(one.from_seq, one.seq + 1)]
    assert numbers == sorted(set(numbers)) and set(numbers) <= {one.seq for one in given}
    others = [one.seq for one in given if one.event != "price"]
    assert [one.seq for one in found if one.event != "price"] == others
    prices = [one for one in given if one.event == "price"]
    assert [one.seq for one in found if one.event == "price"] == [p.seq for p in prices[-1:]]
    # What is missing is what stood before a hole.
    for one in given:
        follower = next((other for other in given if other.seq == one.seq + 1), None)
        if follower is not None and follower.seq in numbers:
            assert one.seq in numbers


def test_few_readers_wait_for_nothing_and_many_for_a_bounded_time() -> None:
    assert interval_s(1) == interval_s(20) == 0.0
    assert 0 < interval_s(500) < interval_s(2_000) <= interval_s(10**6) <= 0.1


class Sent:
    """What went out, and when."""

    def __init__(self) -> None:
        self.rounds: list[tuple[str, list[int]]] = []

    def __call__(self, topic: str, messages: list[Message]) -> None:
        self.rounds.append((topic, [one.seq for one in messages]))


async def test_first_message_goes_at_once_and_the_next_an_interval_later() -> None:
    sent = Sent()
    made = Coalescer(sent, interval_s=lambda readers: 0.03)
    made.offer("t", message(1), readers=9)
    made.offer("u", message(1), readers=9)
    made.offer("t", message(2), readers=9)
    made.offer("t", message(3), readers=9)
    assert sent.rounds == [("t", [1]), ("u", [1])]
    assert made.first("t") == message(2) and made.first("u") is None
    await asyncio.sleep(0.06)
    assert sent.rounds[2:] == [("t", [3])] and made.first("t") is None
    await asyncio.sleep(0.04)
    made.offer("t", message(4), readers=9)
    assert sent.rounds[3:] == [("t", [4])]


async def test_as_many_wait_as_may_and_flush_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescing, "FANOUT_WAITING_MAX", 3)
    sent = Sent()
    made = Coalescer(sent, interval_s=lambda readers: 60.0)
    for seq in range(1, 6):
        made.offer("t", message(seq, "transaction"), readers=9)
    assert sent.rounds == [("t", [1]), ("t", [2, 3, 4])]
    made.offer("u", message(1, "transaction"), readers=9)
    made.offer("u", message(2, "transaction"), readers=9)
    made.flush_all()
    made.flush_all()
    assert sent.rounds[2:] == [("u", [1]), ("t", [5]), ("u", [2])]


async def test_topics_remembered_are_bounded() -> None:
    made = Coalescer(Sent(), interval_s=lambda readers: 60.0, topics_max=3)
    for number in range(10):
        made.offer(f"t{number}", message(1), readers=9)
    assert len(made._sent_at) == 3
