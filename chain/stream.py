"""The live subscription: new heads and logs of our topics, on a socket of its own.

A socket that also carries requests gets its pushes tens of milliseconds late (Nagle), so
nothing is asked here. One `LiveStream` is one connection: it is never reconnected, a new
one is made, because a reconnected one would neither be subscribed nor know what it missed.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import websockets
from websockets.asyncio.client import ClientConnection, connect

from engine.errors import TransientError
from engine.limits import SUBSCRIPTION_QUEUE

PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 10.0
FRAME_BYTES_MAX = 16 * 1024 * 1024
"""One log or one head; far above either, far below what would hurt."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One push. `kind` is "head" or "log"; `received_ns` the wall clock at the socket."""

    kind: str
    payload: dict[str, Any]
    received_ns: int


class LiveStream:
    """One connection's life. Everything that ends it is a TransientError("stale_chain")."""

    def __init__(self, ws_url: str, topics: Sequence[str], *, timeout_s: float = 5.0) -> None:
        self._url = ws_url
        self._topics = list(topics)
        self._timeout_s = timeout_s
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[Frame | TransientError] = asyncio.Queue(SUBSCRIPTION_QUEUE)
        self._overflowed = False

    async def frames(self) -> AsyncIterator[Frame]:
        """Connect and subscribe; frames are buffered from the moment this returns.

        The iterator ends only by raising. More than SUBSCRIPTION_QUEUE frames unread end it.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                self._socket = await connect(
                    self._url,
                    ping_interval=PING_INTERVAL_S,
                    ping_timeout=PING_TIMEOUT_S,
                    open_timeout=None,
                    close_timeout=1.0,
                    compression=None,
                    max_size=FRAME_BYTES_MAX,
                )
                kinds = await self._subscribe(self._socket)
        except (OSError, TimeoutError, websockets.WebSocketException, TransientError) as error:
            await self.close()
            raise TransientError("stale_chain", f"No subscription: {error!r}") from error
        self._reader = asyncio.create_task(self._read(self._socket, kinds))
        return self._drain()

    async def close(self) -> None:
        """End the connection, at once: a frozen peer would never say goodbye."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self._socket is not None:
            self._socket.transport.abort()
            await self._socket.wait_closed()
            self._socket = None

    async def _subscribe(self, socket: ClientConnection) -> dict[str, str]:
        wanted: list[tuple[str, list[Any]]] = [
            ("head", ["newHeads"]),
            ("log", ["logs", {"topics": [self._topics]}]),
        ]
        kinds: dict[str, str] = {}
        for number, (kind, params) in enumerate(wanted, 1):
            request = {"jsonrpc": "2.0", "id": number, "method": "eth_subscribe", "params": params}
            await socket.send(orjson.dumps(request).decode())
            kinds[await self._reply(socket, number, kinds)] = kind
        return kinds

    async def _reply(self, socket: ClientConnection, number: int, kinds: dict[str, str]) -> str:
        # Pushes of the first subscription may come before the second one is answered.
        for _ in itertools.repeat(None, SUBSCRIPTION_QUEUE):
            message = await socket.recv()
            received_ns = time.time_ns()
            answer = _parsed(message)
            if answer.get("id") == number:
                if isinstance(answer.get("result"), str):
                    return str(answer["result"])
                break
            self._take(answer, kinds, received_ns)
        raise TransientError("stale_chain", f"Expected a subscription, was {answer}")

    async def _read(self, socket: ClientConnection, kinds: dict[str, str]) -> None:
        end = TransientError("stale_chain", "The subscription fell behind")
        try:
            while not self._overflowed:
                message = await socket.recv()
                received_ns = time.time_ns()
                self._take(_parsed(message), kinds, received_ns)
        except (OSError, websockets.WebSocketException) as error:
            end = TransientError("stale_chain", f"The subscription ended: {error!r}")
        except TransientError as error:
            end = error
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(end)

    def _take(self, message: dict[str, Any], kinds: dict[str, str], received_ns: int) -> None:
        params = message.get("params")
        kind = kinds.get(params.get("subscription", "")) if isinstance(params, dict) else None
        if not isinstance(params, dict) or kind is None:
            return
        payload = params.get("result")
        if not isinstance(payload, dict):
            raise TransientError("stale_chain", f"Expected a {kind}, was {payload!r}")
        try:
            self._queue.put_nowait(Frame(kind, payload, received_ns))
        except asyncio.QueueFull:
            self._overflowed = True

    async def _drain(self) -> AsyncIterator[Frame]:
        while True:
            item = await self._queue.get()
            if isinstance(item, TransientError):
                raise item
            yield item


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise TransientError("stale_chain", f"Expected JSON, was {message[:100]!r}") from error
    if not isinstance(parsed, dict):
        raise TransientError("stale_chain", f"Expected an object, was {message[:100]!r}")
    return parsed
