"""The live subscription: new heads, logs of our topics, and shreds, on a socket of its own.

A socket that also carries requests gets its pushes tens of milliseconds late (Nagle), so
nothing is asked here. One `LiveStream` is one connection: it is never reconnected, a new
one is made, because a reconnected one would neither be subscribed nor know what it missed.

What is preconfirmed comes either as shreds or as logs without a block hash, never as both:
  1. the node takes the subscription to shreds: hashless logs are left out;
  2. it refuses: that is remembered for a while, and hashless logs are passed on, if any;
  3. its shreds are spelt in a way we do not know, from the first or from a later one on: the
     stream ends, and the next is as in 2.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import websockets
from websockets.asyncio.client import ClientConnection, connect

from chain import shreds
from engine.errors import TransientError
from engine.limits import SUBSCRIPTION_QUEUE

PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 10.0
FRAME_BYTES_MAX = 16 * 1024 * 1024
"""One log, head or shred; far above any, far below what would hurt."""

REFUSED_S = 600.0
"""A node that has no shreds is asked again after this: it may have been updated."""

_HASHLESS = (None, "0x" + "00" * 32)


@dataclass(frozen=True, slots=True)
class Frame:
    """One push. `kind` is "head", "log" or "shred"; `received_ns` the wall clock at the socket."""

    kind: str
    payload: dict[str, Any]
    received_ns: int


class Refusals:
    """Which URLs have no shreds that we can read, and why."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: dict[str, tuple[float, str]] = {}

    def note(self, url: str, reason: str) -> None:
        """Do not ask this URL for shreds for REFUSED_S."""
        self._refused[url] = self._clock(), reason

    def reason(self, url: str) -> str | None:
        """Why this URL is not asked, None: it may be."""
        since, reason = self._refused.get(url, (0.0, None))
        if reason is not None and self._clock() - since > REFUSED_S:
            del self._refused[url]
            return None
        return reason


class LiveStreams:
    """The factory: each call makes a stream to where `ws_url` points now.

    An empty URL makes one whose `frames` fails, so that the head is polled over HTTP.
    """

    def __init__(
        self, ws_url: Callable[[], str], topics: Sequence[str], *, timeout_s: float = 5.0
    ) -> None:
        self._ws_url = ws_url
        self._topics = topics
        self._timeout_s = timeout_s
        self._refusals = Refusals()

    def __call__(self) -> "LiveStream":
        return LiveStream(
            self._ws_url(), self._topics, timeout_s=self._timeout_s, refusals=self._refusals
        )

    @property
    def shreds_refused(self) -> str | None:
        """Why the present URL is not asked for shreds, None if it is."""
        return self._refusals.reason(self._ws_url())


class LiveStream:
    """One connection's life. Everything that ends it is a TransientError("stale_chain").

    Without `refusals` shreds are not asked for.
    """

    def __init__(
        self,
        ws_url: str,
        topics: Sequence[str],
        *,
        timeout_s: float = 5.0,
        refusals: Refusals | None = None,
    ) -> None:
        self._url = ws_url
        self._topics = list(topics)
        self._timeout_s = timeout_s
        self._refusals = refusals
        self._shreds = False
        self._spelling_known = False
        self._asked = 0
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[Frame | TransientError] = asyncio.Queue(SUBSCRIPTION_QUEUE)
        self._overflowed = False

    async def frames(self) -> AsyncIterator[Frame]:
        """Connect and subscribe; frames are buffered from the moment this returns.

        The iterator ends only by raising. More than SUBSCRIPTION_QUEUE frames unread end it.
        """
        if not self._url:
            raise TransientError("stale_chain", "Expected a WebSocket URL, was none")
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

    def refuse_shreds(self, reason: str) -> None:
        """A shred that was passed on cannot be read: the next streams do as in case 2."""
        if self._refusals is not None:
            self._refusals.note(self._url, reason)

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
        kinds: dict[str, str] = {}
        # Shreds first: a hashless log before the answer could be told twice otherwise.
        if self._refusals is not None and self._refusals.reason(self._url) is None:
            answer = await self._ask(socket, ["shreds", False], kinds)
            if isinstance(answer.get("result"), str):
                kinds[answer["result"]] = "shred"
                self._shreds = True
            else:
                self._refusals.note(self._url, f"refused: {answer.get('error')!r:.200}")
        for kind, params in (("head", ["newHeads"]), ("log", ["logs", {"topics": [self._topics]}])):
            answer = await self._ask(socket, params, kinds)
            if not isinstance(answer.get("result"), str):
                raise TransientError("stale_chain", f"Expected a subscription, was {answer}")
            kinds[answer["result"]] = kind
        return kinds

    async def _ask(
        self, socket: ClientConnection, params: list[Any], kinds: dict[str, str]
    ) -> dict[str, Any]:
        self._asked += 1
        number = self._asked
        request = {"jsonrpc": "2.0", "id": number, "method": "eth_subscribe", "params": params}
        await socket.send(orjson.dumps(request).decode())
        # Pushes of one subscription may come before the next one is answered.
        for _ in itertools.repeat(None, SUBSCRIPTION_QUEUE):
            message = await socket.recv()
            received_ns = time.time_ns()
            answer = _parsed(message)
            if answer.get("id") == number:
                return answer
            self._take(answer, kinds, received_ns)
        raise TransientError("stale_chain", "Expected an answer among so many pushes, was none")

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
        if kind == "shred" and not self._spelling_known:
            self._must_be_readable(payload)
        if kind == "log" and self._shreds and payload.get("blockHash") in _HASHLESS:
            return
        try:
            self._queue.put_nowait(Frame(kind, payload, received_ns))
        except asyncio.QueueFull:
            self._overflowed = True

    def _must_be_readable(self, payload: dict[str, Any]) -> None:
        # Until one with a log has been read: the listener reads each of them anyway, and says by
        # `refuse_shreds` what it cannot read.
        if shreds.is_known(payload):
            self._spelling_known = shreds.has_logs(payload)
            return
        reason = f"Expected a shred as we know it, was {payload!r:.300}"
        self.refuse_shreds(reason)
        raise TransientError("stale_chain", reason)

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
