"""Marks of what was said of sealed trades, and the topics that they are kept with."""

import asyncio
import os
import signal
from dataclasses import replace

import orjson
import pytest

from deploy.embedded import Embedded
from engine.limits import TICK_STREAM_S
from engine.messages import FeedPosition
from engine.said import OVERTAKEN, SAID, UNCLAIMED, Back, Claim, Gap, Lift, Telling, ToSay
from storage import ticks as module
from storage.ticks import Ticks
from storage.valkey import connect

USER = "0x" + "Ab" * 20
WALLET = "user:" + USER.lower()


def at(number, salt=0):
    return FeedPosition(number, bytes([salt]) * 31 + bytes([number]))


def one(name, position=0):
    return {"userAddress": USER, "name": name, "txHash": "0x" + name, "position": position}


async def claimed(ticks, *claims):
    """The blocks of the marks."""
    asked = [Claim(bucket, incarnation, 1, place) for bucket, incarnation, place in claims]
    return [mark and mark.at for mark in await ticks.claim_said(asked)]


async def say(ticks, parcels):
    """Whether each was said, by who has claimed it or does so now."""
    await claimed(ticks, *((bucket, incarnation, at(0)) for bucket, incarnation, _ in parcels))
    made = [ToSay(bucket, incarnation, 1, tuple(items)) for bucket, incarnation, items in parcels]
    answers = await ticks.say_trades(made)
    assert set(answers) <= {SAID, OVERTAKEN}
    return [answer == SAID for answer in answers]


def sealed(number, name, salt=0):
    data = one(name) | {"text": 'a"}\\\n'}
    return Telling("transaction", data, at(number, salt))


def open_one(name, event="transaction"):
    return Telling(event, one(name))


async def kept(redis, namespace, topic="trades"):
    entries = await redis.xrange(f"{namespace}:stream:{topic}")
    return [orjson.loads(fields[b"message"]) for _, fields in entries]


async def names(redis, namespace, topic="trades"):
    return [one["data"]["name"] for one in await kept(redis, namespace, topic)]


@pytest.fixture
def ticks(redis, namespace):
    return Ticks(redis, namespace=namespace)


async def test_each_sealed_trade_is_said_once_to_all_and_to_its_wallet(ticks, redis, namespace):
    assert await claimed(ticks, (3, 1, at(4))) == [at(4)]
    items = [open_one("early"), sealed(5, "a"), sealed(5, "b"), sealed(6, "c")]
    assert await say(ticks, [(3, 1, items), (4, 1, [sealed(5, "other")])]) == [True, True]
    assert await say(ticks, [(3, 2, [sealed(6, "c"), sealed(7, "d")])]) == [True]
    wanted = ["early", "a", "b", "c", "other", "d"]
    assert await names(redis, namespace) == await names(redis, namespace, WALLET) == wanted
    (first, *_), (mine, *_) = await kept(redis, namespace), await kept(redis, namespace, WALLET)
    assert first["event"] == "transaction" and first["topic"] == "trades"
    assert mine["event"] == "user" and mine["data"] == {"event": "transaction", **first["data"]}
    assert [one["seq"] for one in await kept(redis, namespace)] == [1, 2, 3, 4, 5, 6]
    assert await claimed(ticks, (3, 2, at(9)), (4, 2, at(9))) == [at(7), at(5)]


async def test_owner_that_was_overtaken_says_nothing_and_moves_no_mark(ticks, redis, namespace):
    assert await claimed(ticks, (3, 2, at(4))) == [at(4)]
    assert await say(ticks, [(3, 1, [sealed(5, "old")])]) == [False]
    assert await claimed(ticks, (3, 1, at(4))) == [None]
    assert await claimed(ticks, (3, 3, at(9))) == [at(4)]
    assert await say(ticks, [(3, 2, [sealed(5, "late")]), (5, 1, [sealed(5, "b")])]) == [
        False,
        True,
    ]
    assert await names(redis, namespace) == ["b"]


async def test_mark_goes_back_with_the_chain(ticks, redis, namespace):
    await say(ticks, [(3, 1, [sealed(5, "a"), sealed(6, "b")])])
    await say(ticks, [(3, 1, [open_one("b", "retracted"), Back(at(5))])])
    assert await claimed(ticks, (3, 1, at(9))) == [at(5)]
    both = [Back(at(4)), sealed(5, "a2", 1), open_one("a2", "retracted"), Back(at(4))]
    await say(ticks, [(3, 1, both)])
    assert await claimed(ticks, (3, 1, at(9))) == [at(4)]
    await say(ticks, [(3, 1, [Back(at(8)), sealed(5, "a3", 2)])])
    assert await claimed(ticks, (3, 1, at(9))) == [at(5, 2)]
    assert await names(redis, namespace) == ["a", "b", "b", "a2", "a2", "a3"]


async def test_gap_begins_a_new_generation_of_all_and_of_each_wallet(ticks, redis, namespace):
    await say(ticks, [(3, 1, [sealed(5, "a")])])
    place = {"generation": (await kept(redis, namespace))[0]["generation"], "after_seq": 1}
    mine = {"generation": (await kept(redis, namespace, WALLET))[0]["generation"], "after_seq": 1}
    assert await ticks.replay("trades", **place) == await ticks.replay(WALLET, **mine) == []
    await say(ticks, [(3, 2, [Gap(at(8))])])
    # Nothing was said since, and all the same it is not known what was missed.
    assert (
        await ticks.replay("trades", **place) is None and await ticks.replay(WALLET, **mine) is None
    )
    assert await claimed(ticks, (3, 2, at(9))) == [at(8)]
    await say(ticks, [(3, 2, [sealed(8, "no"), sealed(9, "b")])])
    for topic, before in (("trades", place), (WALLET, mine)):
        (one,) = await kept(redis, namespace, topic)
        assert one["seq"] == 1 and one["generation"] != before["generation"]
        after = await ticks.replay(topic, generation=one["generation"], after_seq=0)
        assert after is not None and len(after) == 1
    # What is told to a wallet by others goes on in the same generation.
    await ticks.publish_counted(WALLET, "user", {"name": "notice"})
    await say(ticks, [(3, 2, [sealed(10, "c")])])
    said = await kept(redis, namespace, WALLET)
    assert [one["seq"] for one in said] == [1, 2, 3]
    assert len({one["generation"] for one in said}) == 1


async def test_same_trades_from_many_at_once_are_said_once(ticks, redis, namespace):
    items = [sealed(5, "a"), sealed(5, "b")]
    await asyncio.gather(*(say(ticks, [(3, n, items)]) for n in range(1, 9)))
    assert await names(redis, namespace) == ["a", "b"]


async def test_preconfirmed_trades_are_open_until_they_are_sealed_or_taken_back(ticks):
    async def waiting(bucket, incarnation=1):
        (mark,) = await ticks.claim_said([Claim(bucket, incarnation, 1, at(4))])
        return sorted(shown["name"] for shown in mark.open), mark.whole

    many = [open_one(name) for name in "abcd"]
    await say(ticks, [(3, 1, many), (4, 1, [open_one("other")])])
    assert await waiting(3) == (["a", "b", "c", "d"], True)
    await say(ticks, [(3, 1, [sealed(5, "a"), open_one("b", "retracted")])])
    assert await waiting(3, 2) == (["c", "d"], True)
    # One that was left out, since it was sealed below the mark, is open no more either.
    assert await say(ticks, [(3, 1, [sealed(6, "c")])]) == [False]
    await say(ticks, [(3, 2, [sealed(5, "c")])])
    assert await waiting(3, 2) == (["d"], True)
    await say(ticks, [(3, 2, [Gap(at(8))])])
    assert await waiting(3, 2) == ([], True) and await waiting(4) == (["other"], True)


async def test_of_more_open_trades_than_there_is_room_for_a_claim_says_that_it_is_not_whole(
    ticks, monkeypatch
):
    monkeypatch.setattr(module, "SAID_OPEN_MAX", 2)
    await say(ticks, [(3, 1, [open_one(name) for name in "abc"])])
    (mark,) = await ticks.claim_said([Claim(3, 1, 1, at(4))])
    assert len(mark.open) == 2 and not mark.whole
    await say(ticks, [(3, 1, [Gap(at(8))])])
    (mark,) = await ticks.claim_said([Claim(3, 1, 1, at(4))])
    assert not mark.open and mark.whole


async def test_mark_of_a_quiet_bucket_is_lifted_and_never_lowered(ticks, redis, namespace):
    await say(ticks, [(3, 1, [sealed(5, "a"), Lift(at(9))])])
    assert await claimed(ticks, (3, 1, at(4))) == [at(9)]
    await say(ticks, [(3, 1, [Lift(at(7)), sealed(8, "no"), sealed(10, "b")])])
    assert await claimed(ticks, (3, 1, at(4))) == [at(10)]
    assert await names(redis, namespace) == ["a", "b"]


async def test_new_epoch_is_told_once_a_call_also_where_nothing_else_is_said(
    ticks, redis, namespace
):
    pubsub = redis.pubsub()
    await pubsub.subscribe(f"{namespace}:ticks")
    await say(ticks, [(3, 1, [Gap(at(8))]), (4, 1, [Gap(at(8))])])
    await say(ticks, [(3, 1, [sealed(9, "a"), Gap(at(9)), sealed(10, "b")])])
    heard = []
    for _ in range(20):
        reply = await pubsub.get_message(timeout=0.2)
        if reply and reply["type"] == "message":
            heard.append([orjson.loads(line) for line in reply["data"].split(b"\n")])
    await pubsub.aclose()
    assert heard[0] == [{"epoch": "1"}] and len(heard) == 2
    shapes = [one.get("epoch") or one["data"]["name"] for one in heard[1]]
    assert shapes == ["a", "a", "2", "b", "b"]


async def test_what_comes_after_the_next_claim_is_not_said(ticks, redis, namespace):
    await ticks.claim_said([Claim(3, 1, 1, at(4))])
    late = ToSay(3, 1, 1, (Back(at(4)), sealed(5, "a"), open_one("early")))
    assert await ticks.claim_said([Claim(3, 1, 2, at(4))])
    again = ToSay(3, 1, 2, (sealed(5, "a"), sealed(6, "b")))
    assert await ticks.say_trades([again]) == [SAID]
    assert await ticks.claim_said([Claim(3, 1, 1, at(4))])  # this claim came late, too
    assert await ticks.say_trades([late, ToSay(3, 1, 2, (sealed(7, "c"),))]) == [UNCLAIMED, SAID]
    assert await names(redis, namespace) == ["a", "b", "c"]
    (mark,) = await ticks.claim_said([Claim(3, 2, 1, at(4))])
    assert mark.at == at(7) and not mark.open
    assert await ticks.say_trades([replace(again, claim=3)]) == [OVERTAKEN]


async def test_server_that_forgot_what_was_heard_begins_a_new_generation(tmp_path):
    with Embedded(tmp_path, durable=False) as servers:
        redis = connect(servers.start_valkey())
        port = redis.connection_pool.connection_kwargs["port"]
        ticks = Ticks(redis, namespace="n")
        await say(ticks, [(3, 1, [sealed(5, "a")])])
        before = await kept(redis, "n", WALLET)
        await redis.save()
        await say(ticks, [(3, 1, [sealed(6, "lost")])])
        os.kill(servers.pid("valkey"), signal.SIGKILL)
        servers.stop("valkey")
        await redis.connection_pool.disconnect()
        servers.start_valkey(port=port)
        # What was heard as the second message is none of this generation.
        assert await claimed(ticks, (3, 1, at(9))) == [at(5)]
        await ticks.publish_counted(WALLET, "user", {"name": "notice"})
        await say(ticks, [(3, 1, [sealed(6, "lost")])])
        (*_, notice, last) = await kept(redis, "n", WALLET)
        assert [one["seq"] for one in (notice, last)] == [1, 2]
        assert notice["generation"] == last["generation"] != before[0]["generation"]
        assert await redis.get("n:epoch") == b"2"
        await redis.aclose()


async def test_what_is_asked_to_be_taken_back_twice_is_taken_back_once(ticks, redis, namespace):
    untrue = Telling("retracted", one("a"), only_open=True)
    await say(ticks, [(3, 1, [open_one("a"), untrue])])
    await say(ticks, [(3, 1, [untrue, sealed(5, "b")])])
    assert await names(redis, namespace) == ["a", "a", "b"]


async def test_topic_lives_for_an_hour_at_least_and_is_told_so_now_and_then(
    ticks, redis, namespace
):
    counter, stream = f"{namespace}:counter:trades", f"{namespace}:stream:trades"
    await say(ticks, [(3, 1, [sealed(5, "a"), sealed(5, "b")])])
    for key in (counter, stream):
        assert TICK_STREAM_S < await redis.ttl(key) <= TICK_STREAM_S * 9 / 8
        await redis.expire(key, 100)
    await say(ticks, [(3, 1, [sealed(6, "c")])])
    assert await redis.ttl(counter) <= 100, "told a moment ago"
    lives = int(await redis.hget(counter, "lives"))
    await redis.hset(counter, "lives", lives - TICK_STREAM_S * 126)
    await say(ticks, [(3, 1, [sealed(7, "d")])])
    for key in (counter, stream):
        assert await redis.ttl(key) > TICK_STREAM_S
    assert [one["seq"] for one in await kept(redis, namespace)] == [1, 2, 3, 4]
    assert int(await redis.hget(counter, "lives")) >= lives


async def test_what_is_open_and_sealed_in_one_call_is_open_no_more(ticks, redis, namespace):
    items = [open_one("a"), open_one("b"), sealed(5, "a"), sealed(5, "b"), open_one("c")]
    await say(ticks, [(3, 1, items), (4, 1, [open_one("d"), sealed(5, "d")])])
    marks = await ticks.claim_said([Claim(3, 1, 1, at(9)), Claim(4, 1, 1, at(9))])
    assert [[one["name"] for one in mark.open] for mark in marks] == [["c"], []]
    assert all(mark.whole for mark in marks)


@pytest.mark.parametrize("lost", ["counter", "stream"])
async def test_where_counter_or_stream_is_lost_both_begin_anew(ticks, redis, namespace, lost):
    await say(ticks, [(3, 1, [sealed(5, "a"), sealed(5, "b")])])
    before = (await kept(redis, namespace))[0]["generation"]
    await redis.delete(f"{namespace}:{lost}:trades")
    await say(ticks, [(3, 1, [sealed(6, "c"), sealed(6, "d")])])
    found = await kept(redis, namespace)
    assert [one["seq"] for one in found] == [1, 2]
    assert len({one["generation"] for one in found} | {before}) == 2
    for name in ("counter", "stream"):
        assert await redis.ttl(f"{namespace}:{name}:trades") > TICK_STREAM_S
