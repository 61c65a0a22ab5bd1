"""Guards around python-engineio, whose queues, frames and packets have no bounds of their own.

- `OutQueue`: bounded; what does not fit is dropped and the socket is marked for eviction.
- `GuardedWebSocket`: refuses binary and malformed frames before the library sees them, and
  can cut the connection of a reader that does not read.
- `guard` also puts an `Intake` on each socket: every packet that comes is paid for, and a socket
  that does not wait when it is told to is cut.
- A socket's `take`, when somebody has set it, is shown each text frame of its WebSocket before
  the library: what it takes the library never sees. `written` is the way back, and that of
  what many readers share: `Shared`, a frame that is made once.
- `TextPacket`: only text packets of the five plain kinds, with an event name that is not one
  of the library's own.
"""

import asyncio
import re
import socket as sockets
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import orjson
import socketio
from aiohttp import web
from engineio import packet  # type: ignore[import-untyped]
from socketio.packet import Packet

from engine.limits import (
    SOCKET_GATHERED_BYTES,
    SOCKET_IN_A_ROW_MAX,
    SOCKET_KERNEL_BYTES,
    SOCKET_QUEUE_MAX,
)
from gateway import bodies
from gateway.intake import Intake
from gateway.stream_protocol import framed

_CONNECT, _DISCONNECT, _EVENT, _ACK = 0, 1, 2, 3
_RESERVED = frozenset({"connect", "disconnect", "connect_error", "*"})
# An engine frame is "4" and a Socket.IO packet, which begins with a digit, or a short signal.
_MESSAGE_FRAME = re.compile(r"4[0-9]")
_SIGNAL_FRAME = re.compile(r"[012356][a-z]{0,8}")


class Json:
    """What the library encodes and decodes with; numbers stay exact on the way in."""

    loads = staticmethod(bodies.loads)

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Compact JSON text."""
        return orjson.dumps(value).decode()


class TextPacket(Packet):  # type: ignore[misc]
    """A Socket.IO packet without binary parts. Raises ValueError for any other."""

    uses_binary_events = False
    json = Json

    def decode(self, encoded_packet: str) -> int:
        """As the library does, with the shapes it takes for granted checked."""
        if not isinstance(encoded_packet, str) or encoded_packet[:1] not in ("0", "1", "2", "3"):
            raise ValueError("Expected a text packet")
        super().decode(encoded_packet)
        if self.packet_type in (_EVENT, _ACK):
            self._check_list()
        elif self.packet_type == _CONNECT and not isinstance(self.data, dict | None):
            raise ValueError("Expected an object")
        return 0

    def _check_list(self) -> None:
        if not isinstance(self.data, list):
            raise ValueError("Expected a list")
        if self.packet_type == _EVENT and (
            not self.data or not isinstance(self.data[0], str) or self.data[0] in _RESERVED
        ):
            raise ValueError("Expected an event's name")


class OutQueue(asyncio.Queue[Any]):
    """What waits for one reader. Never waits, never raises; `overflowed` marks the slow, and so
    does `stuck_s`, for how long nothing was taken of what waits.
    """

    def __init__(
        self, most: int = SOCKET_QUEUE_MAX, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._moved_at = clock()
        self._takers = 0
        self.overflowed = False

    @property
    def is_written(self) -> bool:
        """Whether all that was put is out: who takes of it has come back for more."""
        return self._takers > 0 and self.empty()

    @property
    def stuck_s(self) -> float:
        """Seconds since something was taken, or since something waits; 0: nothing does."""
        return 0.0 if self.empty() else self._clock() - self._moved_at

    def moved(self) -> None:
        """The reader took something."""
        self._moved_at = self._clock()

    async def get(self) -> Any:
        """The next packet, when there is one."""
        self._takers += 1
        try:
            return await super().get()
        finally:
            self._takers -= 1

    def get_nowait(self) -> Any:
        """The next packet."""
        self.moved()
        return super().get_nowait()

    def put_nowait(self, item: Any) -> None:
        """None, the end, always fits."""
        if item is not None and self.qsize() >= self._most:
            self.overflowed = True
            return
        if self.empty():
            self._moved_at = self._clock()
        super().put_nowait(item)

    async def put(self, item: Any) -> None:
        """As `put_nowait`."""
        self.put_nowait(item)

    async def join(self) -> None:
        """Returns at once: the library waits here for a reader that may never read again."""


class GuardedWebSocket:
    """The library's WebSocket over aiohttp; see `engineio.async_drivers.aiohttp`."""

    def __init__(self, handler: Any, server: Any) -> None:
        self._handler = handler
        self._server = server
        self._socket: web.WebSocketResponse | None = None
        self._request: web.Request | None = None
        self._raw: asyncio.Transport | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._shared_at = float("-inf")
        # The handler is a method of the library's socket: eviction comes by that way.
        self._engine = handler.__self__
        self._engine.guard = self
        self._queue: OutQueue = self._engine.queue

    async def __call__(self, environ: dict[str, Any]) -> web.StreamResponse:
        request: web.Request = environ["aiohttp.request"]
        self._request = request
        self._socket = web.WebSocketResponse(
            max_msg_size=self._server.max_http_buffer_size, compress=False
        )
        await self._socket.prepare(request)
        self._raw = request.transport
        _bound_kernel(request)
        await self._handler(self)
        return self._socket

    async def close(self) -> None:
        """A goodbye, if the reader still reads."""
        self._flush()
        if self._socket is not None and not self._socket.closed:
            await self._socket.close()

    async def send(self, message: str | bytes) -> None:
        """Waits while the reader's buffers are full; the queue behind it is what is bounded."""
        assert self._socket is not None, "Expected an open socket"
        self._flush()
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message)
        self._queue.moved()

    async def wait(self) -> str:
        """The next text frame that nobody takes. Raises OSError at the end, and for a frame of no
        known kind.
        """
        assert self._socket is not None, "Expected an open socket"
        taken = 0
        while True:
            frame = (await self._socket.receive()).data
            if not isinstance(frame, str):
                raise OSError("Expected a text frame")
            if not self._is_taken(frame):
                if not _well_formed(frame):
                    raise OSError("Expected a frame of a known kind")
                return frame
            taken += 1
            if taken % SOCKET_IN_A_ROW_MAX == 0:
                await asyncio.sleep(0)

    def _is_taken(self, frame: str) -> bool:
        take = self._engine.take
        # While a poll is being upgraded its frames are the library's alone.
        return take is not None and self._engine.upgraded and take(frame)

    def write(self, text: str) -> bool:
        """Write a text frame in this turn of the loop, behind all that was sent before. False, and
        nothing is written: something still waits, the reader is slow, or this is the end.
        """
        return self.write_frame(framed(text.encode()))

    def write_frame(self, frame: bytes) -> bool:
        """As `write`, of a whole frame."""
        if not self._queue.is_written or not self._is_open or self._is_slow:
            return False
        if not self._gathered:
            # One call of the kernel for all that is written until then.
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append(frame)
        self._gathered_bytes += len(frame)
        if self._gathered_bytes >= SOCKET_GATHERED_BYTES:
            self._flush()
        return True

    def write_shared(self, frame: bytes) -> bool:
        """As `write_frame`, of what thousands get in the same turn: at once, since mostly there is
        no more of it to gather for this reader; what does come in the same turn is gathered.
        """
        # uvloop's clock stands still within a turn; by another loop's nothing would be gathered.
        now = asyncio.get_running_loop().time()
        if self._gathered or now == self._shared_at:
            return self.write_frame(frame)
        raw = self._raw
        if raw is None or not self._queue.is_written or not self._is_open or self._is_slow:
            return False
        raw.write(frame)
        self._shared_at = now
        return True

    @property
    def _is_open(self) -> bool:
        # Until a poll is upgraded its messages go by polls.
        is_closing = self._raw is None or self._raw.is_closing() or not self._engine.upgraded
        return not is_closing and self._socket is not None and not self._socket.closed

    @property
    def _is_slow(self) -> bool:
        return self._request is not None and self._request.protocol.writing_paused

    def _flush(self) -> None:
        if self._gathered and self._raw is not None and self._is_open:
            self._raw.write(b"".join(self._gathered))
        self._gathered.clear()
        self._gathered_bytes = 0

    def cut(self) -> None:
        """End the connection without a word."""
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()


def _bound_kernel(request: web.Request) -> None:
    # The system's own buffer grows to megabytes for a reader that stands still.
    raw = request.transport.get_extra_info("socket") if request.transport else None
    if raw is not None:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, SOCKET_KERNEL_BYTES)


def _well_formed(frame: str) -> bool:
    return bool(_MESSAGE_FRAME.match(frame) or _SIGNAL_FRAME.fullmatch(frame))


WAIT_S: "ContextVar[float | None]" = ContextVar("wait_s", default=None)
"""Of the packet being handled: None, or the seconds after which it would have been welcome."""


def guard(server: socketio.AsyncServer, intake: Callable[[dict[str, Any]], Intake]) -> None:
    """Put the guards into a server that was just made; `intake` is called for each socket
    with what it came with."""
    connected = server.eio.handlers["connect"]

    async def connect(sid: str, environ: dict[str, Any]) -> Any:
        _meter(server.eio.sockets[sid], intake(environ))
        return await connected(sid, environ)

    server.eio.handlers["connect"] = connect
    server.eio.create_queue = OutQueue
    # A copy: the library shares one table among all servers of the process.
    server.eio._async = server.eio._async | {"websocket": GuardedWebSocket}


def _meter(socket: Any, intake: Intake) -> None:
    receive = socket.receive

    async def metered(packet: Any) -> None:
        if not intake.is_spent:
            WAIT_S.set(intake.took(len(packet.data) if isinstance(packet.data, str) else 1))
            await receive(packet)
        if intake.is_spent:
            cut(socket)

    socket.intake = intake
    socket.take = None
    socket.receive = metered


def cut(socket: Any) -> None:
    """End a socket's connection without a word; what remains of it is for `evict`."""
    guarded = getattr(socket, "guard", None)
    if guarded is not None:
        guarded.cut()


async def evict(socket: Any) -> None:
    """Cut a socket off and forget what waited for it."""
    cut(socket)
    await socket.close(wait=False, abort=True)
    socket.queue.put_nowait(None)


def written(socket: Any, text: str) -> bool:
    """Write a Socket.IO packet at once if that is its turn; see `GuardedWebSocket.write`."""
    guarded = getattr(socket, "guard", None)
    return guarded is not None and guarded.write(text)


class Shared(packet.Packet):  # type: ignore[misc]
    """An engine packet that many readers get, with its frame of a WebSocket."""

    def __init__(self, text: bytes) -> None:
        super().__init__(packet.MESSAGE, text.decode())
        self.frame = framed(b"4" + text)


def shared(socket: Any, packet: Shared) -> None:
    """Send it: at once if that is its turn, or behind what waits."""
    guarded = getattr(socket, "guard", None)
    if guarded is None or not guarded.write_shared(packet.frame):
        socket.queue.put_nowait(packet)


def encode_text(text: str) -> Any:
    """An engine packet of a frame's text, `4…`."""
    return packet.Packet(packet.MESSAGE, text[1:])


def encode_shown(event: str, shown: dict[str, Any]) -> Shared:
    """As `encode_event`, of what the fan-out shows."""
    return encode_event(event, orjson.dumps(shown))


def encode_event(event: str, payload: bytes) -> Shared:
    """An engine packet with one Socket.IO event, encoded once and shared by all its readers."""
    return Shared(b"%d[%b,%b]" % (_EVENT, orjson.dumps(event), payload))
