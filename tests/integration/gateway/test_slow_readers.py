"""Readers that never read are evicted; who reads gets everything. The short form of
`bench.slow_readers`, without its times.
"""

import asyncio
from functools import partial
from typing import Any

import pytest

from bench.readers import Reader, connect
from engine import text
from gateway import realtime
from gateway.sockets import OutQueue
from tests.support.gateway import Door, open_door

SOCKETS, SLOW, QUEUE_MAX, LUMP = 60, 10, 40, 10
PADDING = "x" * 16_000


def evictions(door: Door) -> list[str]:
    return [fields["why"] for _, event, fields in door.log.lines if event == "socket_evicted"]


def queues(door: Door) -> list[int]:
    return [one.queue.qsize() for one in door.gateway._realtime._server.eio.sockets.values()]


async def two_stand(door: Door) -> bool:
    """Whether something waits for two readers and goes on waiting: the transport takes some yet."""
    for _ in range(4):
        if sum(size > 1 for size in queues(door)) < 2:
            return False
        await asyncio.sleep(0.05)
    return True


async def readers_of(door: Door, count: int, slow: int) -> list[Reader]:
    topic = text.topic_of_token(door.tokens[0])
    port = door.gateway.port
    readers = [await connect(port, topic, has_small_buffer=n < slow) for n in range(count)]
    for reader in readers[:slow]:
        reader.stop_reading()
    return readers


async def publish(door: Door, readers: list[Reader], sent: int) -> int:
    """A lump of messages, and wait until all `readers` have it."""
    topic = text.topic_of_token(door.tokens[0])
    for _ in range(LUMP):
        sent += 1
        door.ticks.publish(topic=topic, seq=sent, data={"at": 0, "padding": PADDING})
    async with asyncio.timeout(60):
        while any(reader.accounted < sent for reader in readers):
            await asyncio.sleep(0.005)
    return sent


async def test_readers_that_never_read_are_evicted_and_the_others_get_everything() -> None:
    async with open_door() as door:
        eio: Any = door.gateway._realtime._server.eio
        eio.create_queue = partial(OutQueue, QUEUE_MAX)
        readers = await readers_of(door, SOCKETS, SLOW)
        sent, longest = 0, 0
        while len(evictions(door)) < SLOW:
            sent = await publish(door, readers[SLOW:], sent)
            longest = max(longest, *queues(door))
            assert sent < 2_000, "Expected an eviction"
        assert evictions(door) == ["overflowed"] * SLOW
        assert longest <= QUEUE_MAX
        sent = await publish(door, readers[SLOW:], sent)
        assert {reader.accounted for reader in readers[SLOW:]} == {sent}
        assert not any(reader.is_ended for reader in readers[SLOW:])
        assert len(queues(door)) == SOCKETS - SLOW
        for reader in readers:
            reader.close()


async def test_reader_that_stands_still_is_evicted_though_little_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_door() as door:
        readers = await readers_of(door, 4, 2)
        sent = 0
        while not await two_stand(door):
            sent = await publish(door, readers[2:], sent)
            assert sent < 500, "Expected the system's buffers to be full by now"
        assert max(queues(door)) < 100 and evictions(door) == []
        monkeypatch.setattr(realtime, "SOCKET_STUCK_S", 0.2)
        async with asyncio.timeout(30):
            while len(evictions(door)) < 2:
                await asyncio.sleep(0.05)
        assert evictions(door) == ["stuck"] * 2
        assert not any(reader.is_ended for reader in readers[2:])
        for reader in readers:
            reader.close()
