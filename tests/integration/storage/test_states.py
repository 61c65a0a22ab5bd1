"""What read replicas are told, over a real Redis: in order, fenced, only what is wanted."""

import asyncio
import contextlib

import pytest

from engine.errors import TransientError
from engine.messages import Tick
from engine.states import Beat, BucketStates, Cut, Deaf, Listening, Mark, Place, Standing
from storage import valkey
from storage.states import States
from storage.ticks import Ticks

PLACE = Place(7, b"\1" * 32, 5, 9)


def states(bucket: int, seq: int, incarnation: int = 1) -> BucketStates:
    return BucketStates(bucket, incarnation, seq, PLACE, 12, 10**18 + seq, ())


def beat(*marks: tuple[int, int, int]) -> Beat:
    return Beat(10**18, (Standing(PLACE, 3, tuple(Mark(*one) for one in marks)),))


class Ear:
    """Listens in the background to what `wanted` names."""

    def __init__(self, port: States, *wanted: int) -> None:
        self.wanted = set(wanted)
        self.heard: list[object] = []
        self.task = asyncio.create_task(self._listen(port))

    async def _listen(self, port: States) -> None:
        async for one in port.listen(lambda: frozenset(self.wanted)):
            self.heard.append(one)

    async def wait_for(self, *wanted: object) -> None:
        async with asyncio.timeout(5):
            while not all(one in self.heard for one in wanted):
                await asyncio.sleep(0.01)

    async def __aenter__(self) -> "Ear":
        await self.wait_for(*(Listening(bucket) for bucket in self.wanted))
        return self

    async def __aexit__(self, *_) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def test_messages_come_in_order_and_of_wanted_buckets_only(redis, namespace):
    port = States(redis, namespace=namespace)
    sent = [states(1, 1), states(2, 1), beat((1, 1, 1), (2, 1, 1)), states(1, 2)]
    async with Ear(port, 1) as ear:
        done = await port.publish(sent)
        assert (done.refused, done.doors) == ((), 1)
        await ear.wait_for(sent[-1])
        assert [one for one in ear.heard if not isinstance(one, Listening)] == [
            sent[0],
            sent[2],
            sent[3],
        ]
        ear.wanted = {2}
        await ear.wait_for(Deaf(1), Listening(2))
        await port.publish([states(1, 3), states(2, 2)])
        await ear.wait_for(states(2, 2))
        assert states(1, 3) not in ear.heard


async def test_beat_says_how_many_doors_heard_it(redis, namespace):
    port = States(redis, namespace=namespace)
    assert (await port.publish([beat((1, 1, 0))])).doors == 0
    assert (await port.publish([states(1, 1)])).doors is None
    assert (await port.publish([Beat(1, ())])).doors is None
    async with Ear(port, 1), Ear(port, 2):
        assert (await port.publish([beat((1, 1, 0))])).doors == 2


async def test_owner_that_was_overtaken_is_not_heard(redis, namespace):
    port, ticks = States(redis, namespace=namespace), Ticks(redis, namespace=namespace)
    async with Ear(port, 1, 2, 3) as ear:
        # The fence is that of the ticks, both ways round.
        await ticks.publish(1, 5, [])
        done = await port.publish([states(1, 1, 4), states(2, 1), beat((1, 4, 1), (2, 1, 1))])
        assert done.refused == ((1, 4),)
        await port.publish([beat((2, 1, 1), (3, 6, 1))])
        tick = Tick("t", "price", 1, "g", {})
        assert await ticks.publish(3, 5, [tick]) is False
        await ear.wait_for(states(2, 1), beat((2, 1, 1), (3, 6, 1)))
        assert states(1, 1, 4) not in ear.heard
        assert beat((1, 4, 1), (2, 1, 1)) not in ear.heard


async def test_lost_connection_is_told_and_made_anew(redis, namespace, redis_url):
    port = States(redis, namespace=namespace)
    other = valkey.connect(redis_url)
    async with Ear(port, 4) as ear:
        ear.heard.clear()
        await other.client_kill_filter(_type="pubsub")
        await ear.wait_for(Cut(), Listening(4))
        assert ear.heard.index(Cut()) < ear.heard.index(Listening(4))
        await port.publish([states(4, 9)])
        await ear.wait_for(states(4, 9))
    await other.aclose()


async def test_message_of_another_build_is_missing(redis, namespace):
    port = States(redis, namespace=namespace)
    async with Ear(port, 1) as ear:
        for strange in (b"", b"{}", b"[1]", b"\xff", b"[1,2,3,4,5,6,7]"):
            await redis.publish(f"{namespace}:state:1", strange)
            await redis.publish(f"{namespace}:beats", strange)
        await port.publish([states(1, 1)])
        await ear.wait_for(states(1, 1))
        assert ear.heard == [Listening(1), states(1, 1)]


async def test_redis_away_is_store_unavailable(namespace):
    client = valkey.connect("redis://127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(TransientError, match="store_unavailable"):
        await States(client, namespace=namespace).publish([states(1, 1)])
    await client.aclose()


async def test_doors_of_each_bucket_are_counted(redis, namespace):
    port = States(redis, namespace=namespace)
    async with Ear(port, 1, 2), Ear(port, 2):
        assert await port.doors([1, 2, 3]) == {1: 1, 2: 2, 3: 0}
    assert await port.doors([]) == {}
