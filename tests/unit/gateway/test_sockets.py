"""The guards round the Socket.IO library: packets, frames, queues."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import sockets
from gateway.sockets import (
    GuardedWebSocket,
    OutQueue,
    TextPacket,
    _well_formed,
    encode_event,
    encode_text,
    shared,
    written,
)
from gateway.units import Number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        '51-["quote",{}]',
        '61-["x"]',
        "4",
        "9",
        "2",
        "2{}",
        "2[]",
        "2[7]",
        '2["connect"]',
        '2["disconnect",1]',
        "0[]",
        '2["a"',
        "2\u00b2",
        "x",
        "3{}",
        "2" + "[" * 9_000,
    ],
)
def test_packet_of_another_shape_raises(text: str) -> None:
    with pytest.raises(Exception, match=r"Expected|invalid"):
        TextPacket(encoded_packet=text) if text else TextPacket().decode(text)


def test_packet_keeps_numbers_exact() -> None:
    packet = TextPacket(encoded_packet='27["quote",{"slippage":0.10,"forBlock":7}]')
    assert (packet.id, packet.data) == (7, ["quote", {"slippage": Number("0.10"), "forBlock": 7}])


def test_packet_of_an_answer_is_compact_json() -> None:
    assert TextPacket(3, data=[{"a": 1}], id=7).encode() == '37[{"a":1}]'


@pytest.mark.parametrize("frame", ["2probe", "5", "3", "1", '42["x"]', "40", "40{}", "2"])
def test_frame_of_the_protocol_passes(frame: str) -> None:
    assert _well_formed(frame)


@pytest.mark.parametrize(
    "frame", ["", "4", "4x", "4[", "7", "b64", "2[[[[", "x" * 20, "2" + "a" * 9]
)
def test_frame_of_no_kind_does_not_pass(frame: str) -> None:
    assert not _well_formed(frame)


async def test_queue_drops_beyond_its_bound_marks_it_and_takes_the_end() -> None:
    queue = OutQueue(most=2)
    for number in range(5):
        await asyncio.wait_for(queue.put(number), 1)
    assert (queue.qsize(), queue.overflowed) == (2, True)
    queue.put_nowait(None)
    assert [queue.get_nowait() for _ in range(3)] == [0, 1, None]
    await asyncio.wait_for(queue.join(), 1)


def test_event_is_encoded_once() -> None:
    packet = encode_event("price", b'{"a":"\xe2\x82\xac"}')
    assert packet.encode() == '42["price",{"a":"€"}]'
    assert packet.encode() is packet.encode()


class Wire:
    """A WebSocket of aiohttp with its transport: keeps what is written, as texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls = 0
        self.closed = False
        self.closing = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.protocol = SimpleNamespace(writing_paused=False)

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.calls += 1
        while data:
            assert data[0] == 0x81 and data[1] < 126
            size = data[1]
            self.texts.append(data[2 : 2 + size].decode())
            data = data[2 + size :]

    async def send_str(self, text: str) -> None:
        self.texts.append(text)
        await self.flowing.wait()


class Engine:
    """The library's socket, as far as its writer goes."""

    def __init__(self, wire: Wire) -> None:
        self.queue = OutQueue()
        self.take = None
        self.upgraded = True
        self.guard: Any = GuardedWebSocket(self.handle, None)
        self.guard._socket = self.guard._raw = self.guard._request = wire

    def handle(self, socket: Any) -> None: ...

    async def run(self) -> None:
        # All that waits is taken first, and sent then.
        while True:
            packets = [await self.queue.get()]
            while not self.queue.empty():
                packets.append(self.queue.get_nowait())
            for one in packets:
                await self.guard.send(one.encode())


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine(Wire())
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_texts_of_one_turn_are_written_in_one_go_and_before_what_is_queued_then(
    engine: Engine,
) -> None:
    wire = engine.guard._raw
    assert written(engine, "431[]") and written(engine, "432[]")
    engine.queue.put_nowait(encode_text("42[3]"))
    assert not written(engine, "434[]"), "it would stand before the third"
    engine.queue.put_nowait(encode_text("434[]"))
    assert wire.texts == []
    for _ in range(3):
        await asyncio.sleep(0)
    assert wire.texts == ["431[]", "432[]", "42[3]", "434[]"]
    assert wire.calls == 1
    assert written(engine, "435[]"), "the writer waits again"
    # Whatever the library sends in this very turn stands behind it.
    await engine.guard.send("2")
    assert wire.texts[4:] == ["435[]", "2"]


async def test_nothing_is_written_at_once_while_the_librarys_writer_is_at_work(
    engine: Engine,
) -> None:
    wire = engine.guard._raw
    wire.flowing.clear()
    for number in range(2):
        engine.queue.put_nowait(encode_text(f"42[{number}]"))
    await asyncio.sleep(0)
    assert engine.queue.empty() and wire.texts == ["42[0]"]
    assert not written(engine, "431[]"), "the second is still in the writer's hands"
    wire.flowing.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert wire.texts == ["42[0]", "42[1]"] and written(engine, "431[]")


async def test_nothing_is_written_at_once_to_a_slow_reader_or_at_the_end(engine: Engine) -> None:
    wire = engine.guard._raw
    wire.protocol.writing_paused = True
    assert not written(engine, "431[]")
    wire.protocol.writing_paused = False
    wire.closed = True
    assert not written(engine, "431[]")
    wire.closed, wire.closing = False, True
    assert not written(engine, "431[]")
    wire.closing = False
    assert written(engine, "431[]")
    wire.closed = True
    await asyncio.sleep(0)
    assert wire.texts == [], "no text behind the goodbye"
    assert not written(SimpleNamespace(), "431[]"), "a poll has no WebSocket"


async def test_many_texts_of_one_turn_do_not_wait_for_its_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SOCKET_GATHERED_BYTES", 40)
    texts = [f"43{number}[]" for number in range(10)]
    assert all(written(engine, text) for text in texts)
    wire = engine.guard._raw
    assert 0 < len(wire.texts) < 10
    await asyncio.sleep(0)
    assert wire.texts == texts


async def test_what_is_shared_is_written_as_one_frame_or_waits_behind_what_waits(
    engine: Engine,
) -> None:
    wire, event = engine.guard._raw, encode_event("price", b'{"n":1}')
    shared(engine, event)
    assert wire.texts == ['42["price",{"n":1}]'] and wire.calls == 1, "nothing to gather"
    assert written(engine, "431[]")
    shared(engine, event)
    await asyncio.sleep(0)
    assert wire.texts[1:] == ["431[]", '42["price",{"n":1}]'] and wire.calls == 2
    wire.protocol.writing_paused = True
    shared(engine, event)
    assert engine.queue.get_nowait() is event


async def test_nothing_is_written_past_a_poll_that_is_being_upgraded(engine: Engine) -> None:
    wire, event = engine.guard._raw, encode_event("price", b"{}")
    engine.upgraded = False
    shared(engine, event)
    assert not written(engine, "431[]")
    assert engine.queue.get_nowait() is event
    await asyncio.sleep(0)
    assert wire.texts == []


async def test_what_is_shared_with_a_poll_waits_for_it() -> None:
    polled, event = SimpleNamespace(queue=OutQueue()), encode_event("price", b"{}")
    shared(polled, event)
    assert polled.queue.get_nowait() is event
