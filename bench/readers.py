"""Socket.IO readers over raw sockets: cheap enough that hundreds fit beside what is measured."""

import asyncio
import re
import socket
import struct
import time
from array import array
from typing import cast

MASK = bytes(4)
STAMP = b'"at":'
NUMBERS = re.compile(rb'"fromSeq":([0-9]+),"toSeq":([0-9]+)')
SMALL_BUFFER = 8 * 1024
_TEXT, _CLOSE = 1, 8


class Reader(asyncio.Protocol):
    """One subscriber of `topic`: keeps the delays of what it is pushed, in microseconds, and for
    how many of the topic's numbers that stands: one price may stand for those before it.

    What comes between `keep` and `settle` is only stamped, and looked at by `settle`: thousands of
    readers in one loop would measure each other's parsing.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self._kept: list[tuple[int, bytes]] | None = None
        self.delays_us = array("q")
        self.accounted = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_ended = False

    @property
    def stamped(self) -> int:
        """Pieces that came and were not looked at."""
        return len(self._kept or ())

    def keep(self) -> None:
        """Begin anew, and look at nothing until `settle`."""
        self.delays_us, self.accounted = array("q"), 0
        self._kept = []

    def settle(self) -> None:
        """Look at what was kept, and from now on at everything at once."""
        kept, self._kept = self._kept or [], None
        for now_ns, data in kept:
            self._hear(data, now_ns)

    def stop_reading(self) -> None:
        """Read nothing any more, and stay connected."""
        assert self._transport is not None
        self._transport.pause_reading()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport = transport
        transport.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def connection_lost(self, error: Exception | None) -> None:
        """The door ended it, or we did."""
        self.is_ended = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("Expected a subscription"))

    def data_received(self, data: bytes) -> None:
        """Frames, after the answer to the upgrade."""
        now_ns = time.monotonic_ns()
        if self._kept is not None:
            self._kept.append((now_ns, data))
        else:
            self._hear(data, now_ns)

    def _hear(self, data: bytes, now_ns: int) -> None:
        self._buffer += data
        if not self._is_open:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head, head
            self._is_open, self._buffer = True, bytearray(rest)
        while (frame := self._frame()) is not None:
            self._take(*frame, now_ns=now_ns)

    def _frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size == 126:
            if len(buffer) < 4:
                return None
            (size,), start = struct.unpack_from(">H", buffer, 2), 4
        elif size == 127:
            if len(buffer) < 10:
                return None
            (size,), start = struct.unpack_from(">Q", buffer, 2), 10
        if len(buffer) < start + size:
            return None
        kind, body = buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return kind, body

    def _take(self, kind: int, body: bytes, *, now_ns: int) -> None:
        if kind == _CLOSE:
            self.close()
        elif kind == _TEXT:
            self._take_text(body, now_ns)

    def _take_text(self, body: bytes, now_ns: int) -> None:
        if body.startswith(b"42"):
            at = body.index(STAMP) + len(STAMP)
            sent_ns = int(body[at : body.index(b",", at)])
            self.delays_us.append((now_ns - sent_ns) // 1_000)
            numbers = NUMBERS.search(body)
            self.accounted += int(numbers[2]) - int(numbers[1]) + 1 if numbers else 1
        elif body == b"2":
            self._send(b"3")
        elif body.startswith(b"0"):
            self._send(b"40")
        elif body.startswith(b"40"):
            self._send(b'421["subscribe",{"topic":"' + self._topic.encode() + b'"}]')
        elif body.startswith(b"431"):
            assert b'"success":true' in body, body
            self.ready.set_result(None)

    def _send(self, body: bytes) -> None:
        assert self._transport is not None and len(body) < 126
        self._transport.write(bytes([0x81, 0x80 | len(body)]) + MASK + body)


async def connect(port: int, topic: str, *, has_small_buffer: bool) -> Reader:
    """A reader that is subscribed."""
    raw = socket.socket()
    raw.setblocking(False)
    if has_small_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    _, reader = await loop.create_connection(lambda: Reader(topic), sock=raw)
    await asyncio.wait_for(reader.ready, 60)
    return reader
