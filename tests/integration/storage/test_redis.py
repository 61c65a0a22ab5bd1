import asyncio
import itertools
import socket

import orjson
import pytest

from engine.errors import TransientError
from engine.limits import TICK_STREAM_LENGTH
from engine.messages import Tick
from storage import valkey
from storage.nonces import Nonces
from storage.rates import RateLimits
from storage.ticks import Ticks

TOPIC = "token:0xaa"


def ticks_of(first: int, last: int, *, generation: str = "g1", topic: str = TOPIC) -> list[Tick]:
    return [
        Tick(topic, "price", seq, generation, {"price": "0.1", "n": seq})
        for seq in range(first, last + 1)
    ]


class Ear:
    """Listens in the background; `heard` is what arrived."""

    def __init__(self, ticks: Ticks) -> None:
        self.heard: list[dict] = []
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self._listen(ticks))

    async def _listen(self, ticks: Ticks) -> None:
        async for message in ticks.listen(self.ready.set):
            self.heard.append(orjson.loads(message))

    async def wait_for(self, count: int) -> list[dict]:
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                await asyncio.sleep(0.01)
        return self.heard

    async def __aenter__(self) -> "Ear":
        await asyncio.wait_for(self.ready.wait(), 5)
        return self

    async def __aexit__(self, *_) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


# ------------------------------------------------------------------------------ ticks


async def test_publish_reaches_listeners_in_order(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as first, Ear(ticks) as second:
        assert await ticks.publish(3, 7, ticks_of(1, 3))
        assert await ticks.publish(3, 7, ticks_of(4, 4))
        for ear in (first, second):
            heard = await ear.wait_for(4)
            assert [one["seq"] for one in heard] == [1, 2, 3, 4]
    assert heard[0] == {
        "topic": TOPIC,
        "event": "price",
        "seq": 1,
        "generation": "g1",
        "bucket": 3,
        "incarnation": 7,
        "data": {"price": "0.1", "n": 1},
    }


async def test_publish_with_a_lower_incarnation_is_refused(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as ear:
        assert await ticks.publish(3, 7, ticks_of(1, 1))
        assert await ticks.publish(3, 8, ticks_of(1, 1, generation="g2"))
        assert await ticks.publish(3, 7, ticks_of(2, 2)) is False
        assert await ticks.publish(4, 1, ticks_of(1, 1, topic="token:0xbb"))
        heard = await ear.wait_for(3)
    assert [one["generation"] for one in heard] == ["g1", "g2", "g1"]
    assert await ticks.replay(TOPIC, generation="g1", after_seq=1) is None


async def test_publish_without_ticks_raises_the_fence(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    assert await ticks.publish(3, 10, [])
    assert await ticks.publish(3, 9, ticks_of(1, 1)) is False
    assert await ticks.publish(3, 10, ticks_of(1, 1))


async def test_replay_gives_what_was_missed_or_nothing(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    await ticks.publish(3, 7, ticks_of(1, 10))
    missed = await ticks.replay(TOPIC, generation="g1", after_seq=7)
    assert missed is not None and [orjson.loads(one)["seq"] for one in missed] == [8, 9, 10]
    assert await ticks.replay(TOPIC, generation="g1", after_seq=10) == []
    assert await ticks.replay(TOPIC, generation="g1", after_seq=11) is None
    assert await ticks.replay(TOPIC, generation="g0", after_seq=7) is None
    assert await ticks.replay("token:0xcc", generation="g1", after_seq=0) is None
    await ticks.publish(3, 8, ticks_of(1, 2, generation="g2"))
    assert await ticks.replay(TOPIC, generation="g1", after_seq=7) is None
    fresh = await ticks.replay(TOPIC, generation="g2", after_seq=0)
    assert fresh is not None and len(fresh) == 2


async def test_stream_is_bounded_and_expires(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    for start in range(1, 3 * TICK_STREAM_LENGTH, 500):
        await ticks.publish(3, 7, ticks_of(start, start + 499))
    stream = f"{namespace}:stream:{TOPIC}"
    assert TICK_STREAM_LENGTH <= await redis.xlen(stream) <= TICK_STREAM_LENGTH + 200
    assert 0 < await redis.ttl(stream) <= 3_600
    assert await ticks.replay(TOPIC, generation="g1", after_seq=1) is None


async def test_publish_counted_numbers_without_a_gap_over_many_callers(redis, namespace):
    publishers = [Ticks(redis, namespace=namespace) for _ in range(4)]
    async with Ear(publishers[0]) as ear:
        await asyncio.gather(
            *(
                ticks.publish_counted("trades", "transaction", {"text": 'a"}\\', "n": number})
                for ticks, number in itertools.product(publishers, range(25))
            )
        )
        begun, *heard = await ear.wait_for(101)
    assert begun == {"epoch": "1"}
    assert [one["seq"] for one in heard] == list(range(1, 101))
    assert len({one["generation"] for one in heard}) == 1
    assert heard[0]["data"]["text"] == 'a"}\\'
    assert (heard[0]["bucket"], heard[0]["incarnation"]) == (-1, 0)
    generation = heard[0]["generation"]
    tail = await publishers[0].replay("trades", generation=generation, after_seq=98)
    assert tail is not None and [orjson.loads(one) for one in tail] == heard[98:]


async def test_publish_counted_lost_counter_begins_a_new_generation(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as ear:
        await ticks.publish_counted("trades", "transaction", {})
        await redis.delete(f"{namespace}:counter:trades")
        await ticks.publish_counted("trades", "transaction", {})
        begun, first, second = await ear.wait_for(3)
    assert begun == {"epoch": "1"} and first["seq"] == second["seq"] == 1
    assert first["generation"] != second["generation"]
    assert await ticks.replay("trades", generation=first["generation"], after_seq=0) is None


async def test_listen_goes_on_after_its_connection_was_cut(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    async with Ear(ticks) as ear:
        await ticks.publish(3, 7, ticks_of(1, 1))
        await ear.wait_for(1)
        ear.ready.clear()
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.wait_for(ear.ready.wait(), 5)
        await ticks.publish(3, 7, ticks_of(2, 2))
        heard = await ear.wait_for(2)
    assert [one["seq"] for one in heard] == [1, 2]


async def test_listen_notices_a_half_open_connection(namespace, monkeypatch, redis_url):
    monkeypatch.setattr("storage.ticks.SILENCE_S", 0.05)
    client = valkey.connect(redis_url)
    ticks = Ticks(client, namespace=namespace)
    async with Ear(ticks) as ear:
        await client.execute_command("CLIENT", "PAUSE", 800, "ALL")
        ear.ready.clear()
        await asyncio.wait_for(ear.ready.wait(), 5)
        await ticks.publish(3, 7, ticks_of(1, 1))
        await ear.wait_for(1)
    await client.aclose()


# ----------------------------------------------------------------------------- nonces


async def test_nonce_is_consumed_once_out_of_fifty(redis, namespace):
    nonces = Nonces(redis, namespace=namespace)
    for round_ in range(5):
        await nonces.issue(f"nonce{round_}", 60)
        taken = await asyncio.gather(*(nonces.consume(f"nonce{round_}") for _ in range(50)))
        assert sum(taken) == 1


async def test_nonce_unknown_or_expired_is_refused(redis, namespace):
    nonces = Nonces(redis, namespace=namespace)
    assert await nonces.consume("never issued") is False
    await nonces.issue("short", 1)
    await asyncio.sleep(1.1)
    assert await nonces.consume("short") is False


# ------------------------------------------------------------------------------ rates


async def test_rate_limit_is_exact_over_concurrency(redis, namespace, redis_url):
    other_client = valkey.connect(redis_url)
    limits = [RateLimits(client, namespace=namespace) for client in (redis, other_client)]
    answers = await asyncio.gather(*(one.take("ip", 30, 60) for one in limits for _ in range(50)))
    assert sum(allowed for allowed, _, _ in answers) == 30
    assert sorted(left for allowed, left, _ in answers if allowed) == list(range(30))
    refused = [(left, reset) for allowed, left, reset in answers if not allowed]
    assert all(left == 0 and 0 < reset <= 60 for left, reset in refused)
    allowed, remaining, _ = await limits[0].take("another ip", 30, 60)
    assert (allowed, remaining) == (True, 29)
    await other_client.aclose()


async def test_rate_limit_no_window_holds_more_than_the_limit(redis, namespace):
    limits, loop = RateLimits(redis, namespace=namespace), asyncio.get_running_loop()
    window, limit, admitted = 0.25, 5, []
    while len(admitted) < 20:
        started = loop.time()
        allowed, _, _ = await limits.take("ip", limit, window)
        if allowed:
            admitted.append((started, loop.time()))
        await asyncio.sleep(0.004)
    for first, last in zip(admitted, admitted[limit:], strict=False):
        # The moments lie between sending and answer; the widest reading must still fit.
        assert last[1] - first[0] >= window


async def test_rate_limit_comes_free_when_it_said(redis, namespace):
    limits = RateLimits(redis, namespace=namespace)
    assert (await limits.take("ip", 1, 0.3))[0]
    allowed, _, reset = await limits.take("ip", 1, 0.3)
    assert not allowed
    await asyncio.sleep(reset + 0.01)
    assert (await limits.take("ip", 1, 0.3))[0]
    assert await redis.pttl(f"{namespace}:rate:ip") <= 300


# ----------------------------------------------------------------------------- errors


async def test_closed_port_is_store_unavailable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = valkey.connect(f"redis://127.0.0.1:{taken.getsockname()[1]}", timeout_s=0.5)
        calls = (
            lambda: valkey.ping(client),
            lambda: Ticks(client).publish(1, 1, ticks_of(1, 1)),
            lambda: Ticks(client).publish_counted("trades", "transaction", {}),
            lambda: Nonces(client).issue("nonce", 60),
            lambda: Nonces(client).consume("nonce"),
            lambda: RateLimits(client).take("ip", 1, 1),
        )
        for call in calls:
            with pytest.raises(TransientError) as caught:
                await asyncio.wait_for(call(), 2)
            assert caught.value.code == "store_unavailable"
        await client.aclose()


async def test_scripts_survive_a_server_that_forgot_them(redis, namespace):
    ticks = Ticks(redis, namespace=namespace)
    assert await ticks.publish(3, 7, ticks_of(1, 1))
    await redis.script_flush()
    assert await ticks.publish(3, 7, ticks_of(2, 2))


async def _hear(ticks: Ticks) -> None:
    async for _ in ticks.listen():
        pass


async def test_listening_ends_whenever_it_is_told_to(redis_url: str) -> None:
    # While it connects, the client swallows a cancellation now and then: many, at any moment.
    ended = 0
    for number in range(150):
        client = valkey.connect(redis_url)
        task = asyncio.create_task(_hear(Ticks(client)))
        await asyncio.sleep(number * 0.00005)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        ended += len(done)
        await client.aclose()
    assert ended == 150
