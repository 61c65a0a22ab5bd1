"""The list of tokens in Redis: sampled, numbered, fenced, bounded."""

import asyncio
from typing import Any

import orjson
import pytest

from engine.messages import ListedRow
from storage import ticks as ticks_store
from storage import valkey
from storage.ticks import Ticks
from tests.integration.storage.test_redis import Ear


def row(number: int, price: str = "1", **fields: Any) -> ListedRow:
    token = number.to_bytes(20, "big")
    values = {"bucket": number, "incarnation": 1, "row": {"token": number, "price": price}}
    return ListedRow(token, **(values | fields))


def items(message: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["token"], one["price"]) for one in message["data"]["items"]]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks_store, "LISTED_EVERY_MS", 300)


@pytest.mark.usefixtures("slow")
async def test_list_has_one_message_an_interval_however_many_shards(
    redis, namespace, redis_url
) -> None:
    other = valkey.connect(redis_url)
    shards = [Ticks(client, namespace=namespace) for client in (redis, other)]
    async with Ear(shards[0]) as first, Ear(shards[1]) as second:
        done = await shards[0].sample([row(1)])
        assert (done.refused, done.waiting) == ((), 0) and 0.2 < done.due_s <= 0.3
        for price in ("2", "3", "4"):
            waiting = [await shard.sample([row(n, price)]) for n, shard in enumerate(shards, 1)]
        assert waiting[1].waiting == 2 and 0 < waiting[1].due_s <= 0.3
        await asyncio.sleep(waiting[1].due_s + 0.02)
        done = await shards[1].sample([])
        assert done.waiting == 0
        heard = await first.wait_for(2)
        assert await second.wait_for(2) == heard
    assert [items(one) for one in heard] == [[(1, "1")], [(1, "4"), (2, "4")]]
    assert [one["seq"] for one in heard] == [1, 2]
    assert {(one["topic"], one["event"], one["bucket"]) for one in heard} == {
        ("tokens", "tokens", -1)
    }
    missed = await shards[0].replay("tokens", generation=heard[0]["generation"], after_seq=1)
    assert missed is not None and [orjson.loads(one) for one in missed] == heard[1:]
    await other.aclose()


async def test_list_refuses_an_owner_that_was_overtaken(redis, namespace) -> None:
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as ear:
        await ticks.publish(1, 5, [])
        done = await ticks.sample([row(1, incarnation=4), row(2, incarnation=1)])
        assert done.refused == ((1, 4),)
        assert items((await ear.wait_for(1))[0]) == [(2, "1")]
        # The list's fence is that of the ticks, both ways round.
        await ticks.sample([row(1, incarnation=6)])
        assert await ticks.publish(1, 5, []) is False


@pytest.mark.usefixtures("slow")
async def test_list_keeps_a_launch_until_it_was_sent(redis, namespace) -> None:
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as ear:
        await ticks.sample([row(9)])
        await ticks.sample([row(1, launch={"name": 'a"}\\'})])
        await ticks.sample([row(1, "2")])
        await asyncio.sleep(0.32)
        await ticks.sample([row(1, "3")])
        await asyncio.sleep(0.32)
        await ticks.sample([row(1, "4")])
        heard = await ear.wait_for(3)
    assert [one["data"]["items"][0]["launch"] for one in heard] == [None, {"name": 'a"}\\'}, None]


@pytest.mark.usefixtures("slow")
async def test_list_is_bounded_and_says_what_was_left_out(redis, namespace, monkeypatch) -> None:
    monkeypatch.setattr(ticks_store, "LISTED_ROWS_MAX", 3)
    monkeypatch.setattr(ticks_store, "LISTED_WAITING_MAX", 5)
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as ear:
        done = await ticks.sample([row(n) for n in range(9)], left_out=10)
        assert done.waiting == 2
        # One that waits already is brought up to date, not added.
        await ticks.sample([row(3, "2")])
        await asyncio.sleep(done.due_s + 0.02)
        await ticks.sample([row(20)])
        heard = await ear.wait_for(2)
    assert items(heard[0]) == [(0, "1"), (1, "1"), (2, "1")]
    assert (heard[0]["data"]["waiting"], heard[0]["data"]["leftOut"]) == (2, 14)
    assert items(heard[1]) == [(3, "2"), (4, "1"), (20, "1")]
    assert (heard[1]["data"]["waiting"], heard[1]["data"]["leftOut"]) == (0, 0)
    kept = await redis.keys(f"{namespace}:list:*")
    assert set(kept) <= {f"{namespace}:list:mark".encode()}


async def test_halted_tokens_are_remembered_until_served(redis, namespace) -> None:
    ticks = Ticks(redis, namespace=namespace)
    one, two = (bytes([n]) * 20 for n in (1, 2))
    assert await ticks.halted() == {}
    await ticks.note_halted({one: "arithmetic", two: "differs"})
    assert await ticks.halted() == {one: "arithmetic", two: "differs"}
    await ticks.note_halted({one: ""})
    assert await ticks.halted() == {two: "differs"}
