"""Guards around python-engineio, whose queues, frames and packets have no bounds of their own.

- `OutQueue`: bounded; what does not fit is dropped and the socket is marked for eviction.
- `GuardedWebSocket`: refuses binary and malformed frames before the library sees them, and
  can cut the connection of a reader that does not read.
- `TextPacket`: only text packets of the five plain kinds, with an event name that is not one
  of the library's own.
"""

import asyncio
import json
import re
from typing import Any

import orjson
import socketio
from aiohttp import web
from engineio import packet  # type: ignore[import-untyped]
from socketio.packet import Packet

from engine.limits import SOCKET_QUEUE_MAX
from gateway import bodies

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
    """What waits for one reader. Never waits, never raises; `overflowed` marks the slow."""

    def __init__(self, most: int = SOCKET_QUEUE_MAX) -> None:
        super().__init__()
        self._most = most
        self.overflowed = False

    def put_nowait(self, item: Any) -> None:
        """None, the end, always fits."""
        if item is not None and self.qsize() >= self._most:
            self.overflowed = True
            return
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
        # The handler is a method of the library's socket: eviction comes by that way.
        handler.__self__.guard = self

    async def __call__(self, environ: dict[str, Any]) -> web.StreamResponse:
        request: web.Request = environ["aiohttp.request"]
        self._request = request
        self._socket = web.WebSocketResponse(
            max_msg_size=self._server.max_http_buffer_size, compress=False
        )
        await self._socket.prepare(request)
        await self._handler(self)
        return self._socket

    async def close(self) -> None:
        """A goodbye, if the reader still reads."""
        if self._socket is not None and not self._socket.closed:
            await self._socket.close()

    async def send(self, message: str | bytes) -> None:
        """Waits while the reader's buffers are full; the queue behind it is what is bounded."""
        assert self._socket is not None, "Expected an open socket"
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message)

    async def wait(self) -> str:
        """The next text frame. Raises OSError at the end, and for a frame of no known kind."""
        assert self._socket is not None, "Expected an open socket"
        message = await self._socket.receive()
        frame = message.data
        if not isinstance(frame, str) or not _well_formed(frame):
            raise OSError("Expected a text frame")
        return frame

    def cut(self) -> None:
        """End the connection without a word."""
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()


def _well_formed(frame: str) -> bool:
    return bool(_MESSAGE_FRAME.match(frame) or _SIGNAL_FRAME.fullmatch(frame))


def guard(server: socketio.AsyncServer) -> None:
    """Put the guards into a server that was just made."""
    server.eio.create_queue = OutQueue
    # A copy: the library shares one table among all servers of the process.
    server.eio._async = server.eio._async | {"websocket": GuardedWebSocket}


async def evict(socket: Any) -> None:
    """Cut a slow reader off and forget what waited for it."""
    cut = getattr(socket, "guard", None)
    if cut is not None:
        cut.cut()
    await socket.close(wait=False, abort=True)
    socket.queue.put_nowait(None)


def encode_event(event: str, payload: bytes) -> Any:
    """An engine packet with one Socket.IO event, encoded once and shared by all its readers."""
    text = f"{_EVENT}[{json.dumps(event)},{payload.decode()}]"
    return packet.Packet(packet.MESSAGE, text)
