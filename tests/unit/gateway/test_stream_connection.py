"""What one connection of the stream door writes: in one go a turn, in order, before its goodbye."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from picows import WSCloseCode, WSMsgType

from engine import limits
from engine.messages import Refusal
from gateway.stream_connection import Connection
from gateway.stream_events import push_of
from gateway.stream_protocol import framed
from gateway.turns import Turns
from tests.support.gateway import settings

QUOTE = {"op": "quote", "token": "0x" + "11" * 20, "side": "buy", "amountWei": "1"}


class Raw:
    """The transport below the library's: keeps what is written; above `most` bytes it is full."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.connection: Any = None
        self.most = 10**9
        self.reads = True

    def write(self, data: bytes) -> None:
        self.calls.append(data)
        if sum(map(len, self.calls)) > self.most:
            self.connection.pause_writing()

    def set_write_buffer_limits(self, **_: int) -> None: ...

    def get_extra_info(self, name: str) -> None: ...

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def abort(self) -> None: ...


class Door:
    """What a connection asks of its door; `asked` are quotes with nobody to answer them."""

    def __init__(self) -> None:
        self.settings = settings()
        self.clock = time.monotonic
        self.draining = False
        self.markets = self
        self.asked: list[Any] = []
        self.turns = Turns()

    def begin(self, request: Any, done: Any) -> None:
        self.asked.append(done)

    def connected(self, connection: Connection, peer: Any) -> None: ...

    def disconnected(self, connection: Connection) -> None: ...

    def count(self, outcome: str, count: int) -> None: ...

    def time_ms(self) -> int:
        return 7


class Goodbyes:
    """The library's transport: a goodbye goes straight into the one below."""

    def __init__(self, raw: Raw) -> None:
        self.underlying_transport = raw

    def send_close(self, code: Any, reason: Any) -> None:
        self.underlying_transport.write(b"goodbye")

    def disconnect(self) -> None: ...


def opened() -> tuple[Connection, Raw]:
    raw = Raw()
    made = Connection(Door(), SimpleNamespace())
    raw.connection = made
    made.on_ws_connected(Goodbyes(raw))  # type: ignore[arg-type]
    made.admitted()
    return made, raw


def text_frame(payload: bytes) -> Any:
    return SimpleNamespace(
        msg_type=WSMsgType.TEXT, fin=True, get_payload_as_bytes=lambda: bytes(payload)
    )


def close_frame() -> Any:
    return SimpleNamespace(
        msg_type=WSMsgType.CLOSE,
        get_close_code=lambda: WSCloseCode.OK,
        get_close_message=lambda: b"",
    )


def hears(connection: Connection, frame: Any) -> None:
    assert connection._transport is not None
    connection.on_ws_frame(connection._transport, frame)


def ping(number: int) -> bytes:
    return orjson.dumps({"op": "ping", "id": number})


def ids(data: bytes) -> list[int]:
    return [int(part.split(b",")[0]) for part in data.split(b'"id":')[1:]]


def price(seq: int, size: int = 1) -> Any:
    payload = {"topic": "t", "seq": seq, "generation": "g", "data": {"n": "x" * size}}
    return push_of("price", payload)


async def test_answers_of_a_turn_are_written_in_one_go_in_order() -> None:
    connection, raw = opened()
    for number in range(5):
        connection._hear(ping(number))
    assert raw.calls == []
    await asyncio.sleep(0)
    assert [ids(data) for data in raw.calls] == [[0, 1, 2, 3, 4]]
    connection._hear(ping(5))
    await asyncio.sleep(0)
    assert ids(raw.calls[1]) == [5]


async def test_pushes_and_answers_keep_their_order() -> None:
    connection, raw = opened()
    connection._hear(ping(1))
    connection.push(price(1))
    connection._hear(ping(2))
    await asyncio.sleep(0)
    (data,) = raw.calls
    assert data.index(b'"id":1') < data.index(b'"op":"event"') < data.index(b'"id":2')
    assert data.count(price(1).frame) == 1


async def test_what_was_said_stands_before_the_goodbye_and_nothing_behind_it() -> None:
    connection, raw = opened()
    connection._hear(ping(1))
    connection.close(WSCloseCode.OK, "over")
    connection._hear(ping(2))
    await asyncio.sleep(0)
    assert [ids(raw.calls[0]), *raw.calls[1:]] == [[1], b"goodbye"]


async def test_much_of_one_turn_does_not_wait_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_GATHERED_BYTES", 200)
    connection, raw = opened()
    for number in range(20):
        connection._hear(ping(number))
    assert raw.calls
    await asyncio.sleep(0)
    assert [one for data in raw.calls for one in ids(data)] == list(range(20))


async def test_reader_that_is_full_in_the_middle_of_a_turn_gets_the_newest_price_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STREAM_GATHERED_BYTES", 1_000)
    connection, raw = opened()
    raw.most = 3_000
    for seq in range(1, 101):
        connection.push(price(seq, 400))
    assert connection.paused_at is not None
    # What is above the buffer is at most what is gathered at once.
    assert sum(map(len, raw.calls)) < 3_000 + 2_000
    raw.most = 10**9
    connection.resume_writing()
    await asyncio.sleep(0)
    frames = b"".join(raw.calls)
    assert frames.endswith(b'"data":{"n":"' + b"x" * 400 + b'"}}')
    assert b'"seq":100,' in frames and b'"seq":50,' not in frames
    assert framed(b"")[:1] == frames[:1]


async def test_frames_beyond_a_slice_wait_in_order_and_stop_the_reading() -> None:
    connection, raw = opened()
    now = 0.0
    connection._door.turns = Turns(slice_s=1.0, clock=lambda: now)
    most = limits.STREAM_QUEUED_FRAMES_MAX
    hears(connection, text_frame(ping(0)))
    now = 2.0
    for number in range(1, most + 1):
        hears(connection, text_frame(ping(number)))
    assert raw.reads and len(connection._door.turns) == most
    hears(connection, text_frame(ping(most + 1)))
    assert not raw.reads
    hears(connection, close_frame())
    for _ in range(3):
        await asyncio.sleep(0)
    assert raw.reads
    assert ids(b"".join(raw.calls)) == list(range(most + 2))
    assert raw.calls[-1] == b"goodbye"


async def test_who_reads_again_is_read_from_only_when_few_frames_wait() -> None:
    connection, raw = opened()
    held_up(connection)
    connection.pause_writing()
    for number in range(limits.STREAM_QUEUED_FRAMES_MAX + 1):
        hears(connection, text_frame(ping(number)))
    connection.resume_writing()
    assert not raw.reads
    await asyncio.sleep(0)
    assert raw.reads


async def test_who_is_gone_is_not_heard_any_more() -> None:
    connection, raw = opened()
    held_up(connection)
    hears(connection, text_frame(ping(1)))
    hears(connection, close_frame())
    connection.on_ws_disconnected(connection._transport)  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.sleep(0)
    assert raw.calls == []


def held_up(connection: Connection) -> None:
    """From now on frames wait for the next turn of the loop."""
    now = 0.0
    connection._door.turns = Turns(slice_s=1.0, clock=lambda: now)
    connection._door.turns.take(lambda _: None, None)
    now = 2.0


async def test_frames_that_wait_are_bounded_by_their_weight_too() -> None:
    connection, raw = opened()
    held_up(connection)
    heavy = b" " * (limits.STREAM_FRAME_BYTES_MAX - 40)
    hears(connection, text_frame(ping(1) + heavy))
    hears(connection, text_frame(ping(2) + heavy))
    assert raw.reads
    hears(connection, text_frame(ping(3)[:-1] + heavy + b"}"))
    assert not raw.reads
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert raw.reads and ids(b"".join(raw.calls)) == [1, 2, 3]


async def test_frame_that_is_too_large_waits_nowhere() -> None:
    connection, raw = opened()
    held_up(connection)
    hears(connection, text_frame(b" " * (limits.STREAM_FRAME_BYTES_MAX + 1)))
    assert not connection._door.turns
    await asyncio.sleep(0)
    assert b"too_large" in raw.calls[0]


async def test_who_is_not_admitted_yet_is_kept_few_bytes() -> None:
    connection, raw = opened()
    connection._early = []
    half = b" " * (limits.STREAM_EARLY_BYTES_MAX // 2)
    hears(connection, text_frame(half))
    hears(connection, text_frame(half))
    assert not connection.closing
    hears(connection, text_frame(b" "))
    assert connection.closing and raw.calls == [b"goodbye"] and connection._early is None


async def test_many_goodbyes_are_one_and_nothing_stands_behind_it() -> None:
    connection, raw = opened()
    held_up(connection)
    hears(connection, text_frame(ping(1)))
    for _ in range(100):
        hears(connection, close_frame())
    hears(connection, text_frame(ping(2)))
    assert len(connection._door.turns) == 2
    connection.push(price(1))
    for _ in range(3):
        await asyncio.sleep(0)
    connection.push(price(2))
    await asyncio.sleep(0)
    said = b"".join(raw.calls)
    assert ids(said)[:1] == [1] and said.endswith(b"goodbye") and said.count(b"goodbye") == 1
    assert price(1).frame in said and b'"id":2' not in said


async def test_array_gives_up_the_loop_and_is_answered_as_one() -> None:
    connection, raw = opened()
    held_up(connection)
    frame = orjson.dumps([QUOTE | {"id": number} for number in range(100)])
    hears(connection, text_frame(frame))
    now = 0.0
    turns = connection._door.turns

    def clock() -> float:
        nonlocal now
        now += 0.1
        return now

    turns._clock = clock
    await asyncio.sleep(0)
    door: Any = connection._door
    assert 0 < len(door.asked) < 100 and connection.in_flight == 100
    while turns:
        await asyncio.sleep(0)
    assert len(door.asked) == 100
    for done in door.asked:
        done(Refusal("overloaded", ""))
    await asyncio.sleep(0)
    assert ids(b"".join(raw.calls)) == list(range(100)) and connection.in_flight == 0
