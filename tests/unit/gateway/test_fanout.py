"""Fan-out: who gets which tick, and which are refused."""

import asyncio
from typing import Any

import orjson

from engine.buckets import bucket_of
from engine.text import topic_of_token
from gateway.fanout import Fanout, Last
from gateway.metrics import Metrics
from tests.support.fakes import FakeSink, FakeTicks


class Kept:
    """A reader that keeps what it is given."""

    def __init__(self) -> None:
        self.packets: list[Any] = []

    def push(self, packet: Any) -> None:
        self.packets.append(packet)


def fanout(**fields: Any) -> tuple[Fanout, list[Any]]:
    encoded: list[Any] = []

    def encode(event: str, shown: dict[str, Any]) -> Any:
        encoded.append((event, orjson.loads(orjson.dumps(shown))))
        return encoded[-1]

    made = Fanout(ticks=FakeTicks(), encode=encode, metrics=Metrics(), log=FakeSink(), **fields)
    return made, encoded


def tick(seq: Any, **fields: Any) -> bytes:
    values = {
        "topic": "t",
        "event": "price",
        "seq": seq,
        "generation": "g",
        "bucket": 3,
        "incarnation": 1,
        "data": {"n": seq},
    }
    return orjson.dumps(values | fields)


def test_message_is_encoded_once_for_all_its_readers() -> None:
    made, encoded = fanout()
    readers = [Kept() for _ in range(5)]
    for reader in readers:
        made.join("t", reader)
        made.join("t", reader)
    made.join("other", readers[0])
    made.hear(tick(1))
    assert len(encoded) == 1
    assert all(reader.packets == encoded for reader in readers)
    numbers = {"seq": 1, "fromSeq": 1, "toSeq": 1, "generation": "g"}
    assert encoded[0] == ("price", {"topic": "t", "data": {"n": 1}} | numbers)


def test_other_events_account_for_their_own_number_alone() -> None:
    made, encoded = fanout()
    made.join("t", Kept())
    made.hear(tick(1, event="transaction"))
    shown = {"topic": "t", "seq": 1, "generation": "g", "data": {"n": 1}}
    assert encoded == [("transaction", shown)]


def test_message_without_readers_is_not_encoded_but_remembered() -> None:
    made, encoded = fanout()
    made.hear(tick(4))
    assert (encoded, made.last("t"), made.last("u")) == ([], Last("g", 4), None)


def test_message_of_a_lower_incarnation_is_refused_for_its_bucket_only() -> None:
    made, encoded = fanout()
    reader = Kept()
    for topic in ("t", "u", "v"):
        made.join(topic, reader)
    made.hear(tick(1, incarnation=5))
    made.hear(tick(2, incarnation=4, generation="old"))
    made.hear(tick(1, topic="u", incarnation=4, generation="old"))
    made.hear(tick(1, topic="v", bucket=4, incarnation=1))
    made.hear(tick(2, incarnation=5))
    assert [(one[1]["topic"], one[1]["seq"]) for one in encoded] == [("t", 1), ("v", 1), ("t", 2)]


def test_message_heard_before_is_dropped_and_a_new_generation_is_not() -> None:
    made, encoded = fanout()
    made.join("t", Kept())
    for seq, generation in ((1, "g"), (1, "g"), (2, "g"), (1, "g"), (1, "h")):
        made.hear(tick(seq, generation=generation))
    assert [(one[1]["generation"], one[1]["seq"]) for one in encoded] == [
        ("g", 1),
        ("g", 2),
        ("h", 1),
    ]


def test_reader_that_left_hears_no_more() -> None:
    made, encoded = fanout()
    reader = Kept()
    made.join("t", reader)
    made.leave("t", reader)
    made.leave("t", reader)
    made.hear(tick(1))
    assert (reader.packets, encoded) == ([], [])


def test_topics_remembered_are_bounded() -> None:
    made, _ = fanout(topics_max=3)
    for number in range(10):
        made.hear(tick(1, topic=f"t{number}"))
    assert [made.last(f"t{number}") is not None for number in range(10)] == [False] * 7 + [True] * 3


def test_message_that_cannot_be_read_is_left_out() -> None:
    made, encoded = fanout()
    made.join("t", Kept())
    for message in (b"", b"{", b"[]", b"{}", b"7", tick("x"), tick(1, bucket=None)):
        made.hear(message)
    made.hear(tick(1))
    assert len(encoded) == 1


def test_new_owner_that_has_said_nothing_is_a_gap_to_the_readers_of_its_tokens() -> None:
    made, encoded = fanout()
    quiet, lively, other = (bytes([number]) * 20 for number in (1, 2, 3))
    readers = {token: Kept() for token in (quiet, lively, other)}
    for token, reader in readers.items():
        made.join(topic_of_token(token), reader)
    shared = Kept()
    made.join("trades", shared)
    made.owned([(bucket_of(token), 1) for token in (quiet, lively, other)])
    assert not encoded  # the first that is heard: nobody was shown anything before
    made.hear(tick(1, topic=topic_of_token(lively), bucket=bucket_of(lively), incarnation=2))
    encoded.clear()
    made.owned([(bucket_of(quiet), 2), (bucket_of(lively), 2), (bucket_of(other), 1)])
    topic = topic_of_token(quiet)
    assert encoded == [("gap", {"topic": topic, "seq": None, "generation": None, "data": {}})]
    assert readers[quiet].packets == encoded
    made.owned([(bucket_of(quiet), 2)])
    made.owned([(bucket_of(quiet), 1)])  # late
    assert len(encoded) == 1 and not readers[other].packets and not shared.packets


def test_version_that_a_tick_of_a_token_names_is_told_before_its_readers_hear_it() -> None:
    told: list[Any] = []
    made, encoded = fanout(saw=lambda *seen: told.append((*seen, len(encoded))))
    token, topic = b"t" * 20, topic_of_token(b"t" * 20)
    made.join(topic, Kept())
    as_of = {"asOf": {"version": [3, 7]}}
    made.hear(tick(1, topic=topic, incarnation=3, data=as_of))
    assert told == [(token, (3, 7), 0)] and len(encoded) == 1
    # Repeated or refused, it was named all the same.
    made.hear(tick(1, topic=topic, incarnation=3, data=as_of))
    assert told[1:] == [(token, (3, 7), 1)]
    # The list and everybody's trades name a token in each row; what is shown again does too.
    row, older = ({"tokenAddress": "0x" + c * 40, "asOf": {"version": [1, 2]}} for c in "ab")
    made.hear(tick(1, topic="tokens", data={"items": [row, older]}))
    made.hear(tick(1, topic="trades", data=row))
    made.hear(tick(2, topic="trades", data={}))
    made.see("trades", older)
    assert [seen[:2] for seen in told[2:]] == [
        (bytes.fromhex(c * 40), (1, 2)) for c in ("a", "b", "a", "b")
    ]


def counted(topic: str, seq: int, text: str = "", generation: str = "ab-0") -> bytes:
    """As Redis makes one of a topic that no bucket owns."""
    head = {"topic": topic, "event": "transaction", "bucket": -1, "incarnation": 0}
    data = {"tokenAddress": "0x" + "a" * 40, "asOf": {"version": [1, 2]}, "name": text}
    end = b',"seq":%d,"generation":"%b"}' % (seq, generation.encode())
    return orjson.dumps(head | {"data": data})[:-1] + end


def test_trade_that_nobody_reads_is_numbered_and_not_looked_at() -> None:
    told: list[Any] = []
    made, encoded = fanout(saw=lambda *seen: told.append(seen))
    wallet = "user:0x" + "b" * 40
    for topic in ("trades", wallet):
        made.hear(counted(topic, 4, ',"seq":9,"generation":"no"}'))
        made.hear(counted(topic, 3))
        assert made.last(topic) == Last("ab-0", 4)
        assert not told
        reader = Kept()
        made.join(topic, reader)
        made.hear(counted(topic, 4))
        made.hear(counted(topic, 5))
        assert [one[1]["seq"] for one in reader.packets] == [5]
        assert made.last(topic) == Last("ab-0", 5) and len(told) == 2
        told.clear()
    assert len(encoded) == 2


def test_tick_with_a_broken_version_is_unreadable() -> None:
    told: list[Any] = []
    made, _ = fanout(saw=lambda *seen: told.append(seen))
    made.hear(tick(1, topic=topic_of_token(b"t" * 20), data={"asOf": {"version": [1]}}))
    made.hear(tick(1, topic=topic_of_token(b"t" * 20), data={"asOf": {}}))
    assert told == []


async def test_what_a_topic_says_within_its_interval_goes_out_in_one_round() -> None:
    made, encoded = fanout(interval_s=lambda readers: 0.05)
    first, late = Kept(), Kept()
    made.join("t", first)
    for seq, event in ((1, "price"), (2, "price"), (3, "transaction"), (4, "price")):
        made.hear(tick(seq, event=event))
    assert [one[1]["seq"] for one in first.packets] == [1]
    # Who comes now stands where the topic's readers stand, and hears what they hear from there.
    made.join("t", late)
    assert made.last("t") == Last("g", 1)
    await asyncio.sleep(0.1)
    assert made.last("t") == Last("g", 4)
    assert first.packets[1:] == late.packets == encoded[1:]
    shown = [(event, one.get("fromSeq"), one["seq"], one["data"]) for event, one in late.packets]
    assert shown == [("transaction", 2, 3, {"n": 3}), ("price", 4, 4, {"n": 4})]


async def test_topic_that_was_heard_and_waits_is_deduplicated_by_what_was_heard() -> None:
    made, encoded = fanout(interval_s=lambda readers: 0.02)
    made.join("t", Kept())
    for seq in (1, 2, 2, 1, 3):
        made.hear(tick(seq, event="transaction"))
    await asyncio.sleep(0.05)
    assert [one[1]["seq"] for one in encoded] == [1, 2, 3]


async def test_gap_stands_behind_what_waited() -> None:
    made, encoded = fanout(interval_s=lambda readers: 60.0)
    token = b"t" * 20
    topic, bucket = topic_of_token(token), bucket_of(token)
    made.join(topic, Kept())
    made.owned([(bucket, 1)])
    for seq in (1, 2):
        made.hear(tick(seq, topic=topic, bucket=bucket))
    assert len(encoded) == 1
    made.owned([(bucket, 2)])
    assert [(event, one["seq"]) for event, one in encoded] == [
        ("price", 1),
        ("price", 2),
        ("gap", None),
    ]


def test_new_epoch_is_a_gap_to_readers_of_all_trades_and_of_wallets_also_of_quiet_ones() -> None:
    made, encoded = fanout()
    topics = ["trades", "user:0xab", "user:0xcd", "tokens", topic_of_token(b"t" * 20)]
    readers = {topic: Kept() for topic in topics}
    for topic, reader in readers.items():
        made.join(topic, reader)
    made.hear(b'{"epoch":"5"}')
    empty = {"seq": None, "generation": None, "data": {}}
    for topic in topics[:3]:
        assert readers[topic].packets == [("gap", {"topic": topic} | empty)]
    assert len(encoded) == 3
    made.hear(tick(1, topic="trades", bucket=-1, incarnation=0))
    assert [event for event, _ in readers["trades"].packets] == ["gap", "price"]


def test_listening_again_is_a_gap_of_every_topic_that_is_read_the_first_time_is_none() -> None:
    made, encoded = fanout()
    made.join("t", Kept())
    made.join("user:0x1", Kept())
    made._begin()
    made.hear(tick(1, event="transaction"))
    assert [event for event, _ in encoded] == ["transaction"]
    made._begin()
    gaps = [(event, shown["topic"]) for event, shown in encoded[1:]]
    assert gaps == [("gap", "t"), ("gap", "user:0x1")]
    made.hear(tick(1, event="transaction"))
    assert encoded[-1][0] == "transaction"
