"""Marks of what was said of sealed trades, and the topics that they are kept with."""

import asyncio

import orjson
import pytest

from engine.messages import FeedPosition
from engine.said import Back, Gap, Telling
from storage.ticks import Ticks

USER = "0x" + "Ab" * 20
WALLET = "user:" + USER.lower()


def at(number, salt=0):
    return FeedPosition(number, bytes([salt]) * 31 + bytes([number]))


def sealed(number, name, salt=0):
    data = {"userAddress": USER, "name": name, "text": 'a"}\\\n'}
    return Telling("transaction", data, at(number, salt))


def open_one(name, event="transaction"):
    return Telling(event, {"userAddress": USER, "name": name})


async def kept(redis, namespace, topic="trades"):
    entries = await redis.xrange(f"{namespace}:stream:{topic}")
    return [orjson.loads(fields[b"message"]) for _, fields in entries]


async def names(redis, namespace, topic="trades"):
    return [one["data"]["name"] for one in await kept(redis, namespace, topic)]


@pytest.fixture
def ticks(redis, namespace):
    return Ticks(redis, namespace=namespace)


async def test_each_sealed_trade_is_said_once_to_all_and_to_its_wallet(ticks, redis, namespace):
    assert await ticks.claim_said([(3, 1, at(4))]) == [at(4)]
    items = [open_one("early"), sealed(5, "a"), sealed(5, "b"), sealed(6, "c")]
    assert await ticks.say_trades([(3, 1, items), (4, 1, [sealed(5, "other")])]) == [True, True]
    assert await ticks.say_trades([(3, 2, [sealed(6, "c"), sealed(7, "d")])]) == [True]
    wanted = ["early", "a", "b", "c", "other", "d"]
    assert await names(redis, namespace) == await names(redis, namespace, WALLET) == wanted
    (first, *_), (mine, *_) = await kept(redis, namespace), await kept(redis, namespace, WALLET)
    assert first["event"] == "transaction" and first["topic"] == "trades"
    assert mine["event"] == "user" and mine["data"] == {"event": "transaction", **first["data"]}
    assert [one["seq"] for one in await kept(redis, namespace)] == [1, 2, 3, 4, 5, 6]
    assert await ticks.claim_said([(3, 2, at(9)), (4, 2, at(9))]) == [at(7), at(5)]


async def test_owner_that_was_overtaken_says_nothing_and_moves_no_mark(ticks, redis, namespace):
    assert await ticks.claim_said([(3, 2, at(4))]) == [at(4)]
    assert await ticks.say_trades([(3, 1, [sealed(5, "old")])]) == [False]
    assert await ticks.claim_said([(3, 1, at(4))]) == [None]
    assert await ticks.claim_said([(3, 3, at(9))]) == [at(4)]
    assert await ticks.say_trades([(3, 2, [sealed(5, "late")]), (5, 1, [sealed(5, "b")])]) == [
        False,
        True,
    ]
    assert await names(redis, namespace) == ["b"]


async def test_mark_goes_back_with_the_chain(ticks, redis, namespace):
    await ticks.say_trades([(3, 1, [sealed(5, "a"), sealed(6, "b")])])
    await ticks.say_trades([(3, 1, [open_one("b", "retracted"), Back(at(5))])])
    assert await ticks.claim_said([(3, 1, at(9))]) == [at(5)]
    both = [Back(at(4)), sealed(5, "a2", 1), open_one("a2", "retracted"), Back(at(4))]
    await ticks.say_trades([(3, 1, both)])
    assert await ticks.claim_said([(3, 1, at(9))]) == [at(4)]
    await ticks.say_trades([(3, 1, [Back(at(8)), sealed(5, "a3", 2)])])
    assert await ticks.claim_said([(3, 1, at(9))]) == [at(5, 2)]
    assert await names(redis, namespace) == ["a", "b", "b", "a2", "a2", "a3"]


async def test_gap_begins_a_new_generation_of_all_and_of_each_wallet(ticks, redis, namespace):
    await ticks.say_trades([(3, 1, [sealed(5, "a")])])
    place = {"generation": (await kept(redis, namespace))[0]["generation"], "after_seq": 1}
    mine = {"generation": (await kept(redis, namespace, WALLET))[0]["generation"], "after_seq": 1}
    assert await ticks.replay("trades", **place) == await ticks.replay(WALLET, **mine) == []
    await ticks.say_trades([(3, 2, [Gap(at(8))])])
    # Nothing was said since, and all the same it is not known what was missed.
    assert (
        await ticks.replay("trades", **place) is None and await ticks.replay(WALLET, **mine) is None
    )
    assert await ticks.claim_said([(3, 2, at(9))]) == [at(8)]
    await ticks.say_trades([(3, 2, [sealed(8, "no"), sealed(9, "b")])])
    for topic, before in (("trades", place), (WALLET, mine)):
        (one,) = await kept(redis, namespace, topic)
        assert one["seq"] == 1 and one["generation"] != before["generation"]
        after = await ticks.replay(topic, generation=one["generation"], after_seq=0)
        assert after is not None and len(after) == 1
    # What is told to a wallet by others goes on in the same generation.
    await ticks.publish_counted(WALLET, "user", {"name": "notice"})
    await ticks.say_trades([(3, 2, [sealed(10, "c")])])
    said = await kept(redis, namespace, WALLET)
    assert [one["seq"] for one in said] == [1, 2, 3]
    assert len({one["generation"] for one in said}) == 1


async def test_same_trades_from_many_at_once_are_said_once(ticks, redis, namespace):
    items = [sealed(5, "a"), sealed(5, "b")]
    await asyncio.gather(*(ticks.say_trades([(3, n, items)]) for n in range(1, 9)))
    assert await names(redis, namespace) == ["a", "b"]
