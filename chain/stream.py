"""The live subscription: new heads, logs of our topics, and shreds, on a socket of its own.

A socket that also carries requests gets its pushes tens of milliseconds late (Nagle), so
nothing is asked here. One `LiveStream` is one connection: it is never reconnected, a new
one is made, because a reconnected one would neither be subscribed nor know what it missed.

What is preconfirmed comes either as shreds or as logs without a block hash, never as both:
  1. the node takes the subscription to shreds: hashless logs are left out;
  2. it refuses: that is remembered for a while, and hashless logs are passed on, if any;
  3. its shreds are spelt in a way we do not know, from the first or from a later one on: the
     stream ends, and the next is as in 2.

A trade is told in some five messages, so each is read in the socket's own callback: by a library
that hands messages over to a task they were half of what the listener did.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
from picows import (
    WSAutoPingStrategy,
    WSError,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from chain import shreds
from curves.values import value
from engine.errors import TransientError
from engine.limits import SUBSCRIPTION_QUEUE

PING_S = 10.0
"""Between two pings, and for a pong. Silence is noticed sooner, by the heads that do not come."""

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""One log, head or shred; far above any, far below what would hurt."""

PARTS_MAX = 1024
"""Of a message; nodes send each in one."""

REFUSED_S = 600.0
"""A node that has no shreds is asked again after this: it may have been updated."""

_HASHLESS = (None, "0x" + "00" * 32)
_HASHLESS_MARK = b'"blockHash":null'
_NEVER = b"\0"
"""Of no JSON."""


@value
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
        self._kinds: dict[str, str] = {}
        self._logs_mark = _NEVER
        self._asked: tuple[int, str, asyncio.Future[dict[str, Any]]] | None = None
        self._asked_count = 0
        self._transport: WSTransport | None = None
        self._queue: asyncio.Queue[Frame | TransientError] = asyncio.Queue(SUBSCRIPTION_QUEUE)
        self._ended = False

    async def frames(self) -> AsyncIterator[Frame]:
        """Connect and subscribe; frames are buffered from the moment this returns.

        The iterator ends only by raising. More than SUBSCRIPTION_QUEUE frames unread end it.
        """
        if not self._url:
            raise TransientError("stale_chain", "Expected a WebSocket URL, was none")
        try:
            async with asyncio.timeout(self._timeout_s):
                self._transport, _ = await ws_connect(
                    lambda: _Listener(self.hear, self.end),
                    self._url,
                    websocket_handshake_timeout=self._timeout_s,
                    enable_auto_ping=True,
                    auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
                    auto_ping_idle_timeout=PING_S,
                    auto_ping_reply_timeout=PING_S,
                    max_frame_size=MESSAGE_BYTES_MAX,
                )
                await self._subscribe(self._transport)
        except (OSError, TimeoutError, ValueError, WSError, TransientError) as error:
            await self.close()
            raise TransientError("stale_chain", f"No subscription: {error!r}") from error
        return self._drain()

    def refuse_shreds(self, reason: str) -> None:
        """A shred that was passed on cannot be read: the next streams do as in case 2."""
        if self._refusals is not None:
            self._refusals.note(self._url, reason)

    async def close(self) -> None:
        """End the connection, at once: a frozen peer would never say goodbye."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.disconnect(graceful=False)
            await _gone(transport)

    def hear(self, message: bytes, received_ns: int) -> None:
        """One message as it came: an answer, or a push."""
        if self._ended or self._is_told_by_shreds(message):
            return
        try:
            found = _parsed(message)
            if not self._is_answer(found):
                self._take(found, received_ns)
        except TransientError as error:
            self.end(error)

    def end(self, error: TransientError) -> None:
        """Nothing comes after this; what was buffered is still given."""
        if self._ended:
            return
        self._ended = True
        if self._asked is not None and not self._asked[2].done():
            self._asked[2].set_exception(error)
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(error)
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def _subscribe(self, transport: WSTransport) -> None:
        # Shreds first: a hashless log before the answer could be told twice otherwise.
        if self._refusals is not None and self._refusals.reason(self._url) is None:
            answer = await self._ask(transport, "shred", ["shreds", False])
            if not isinstance(answer.get("result"), str):
                self._refusals.note(self._url, f"refused: {answer.get('error')!r:.200}")
        for kind, params in (("head", ["newHeads"]), ("log", ["logs", {"topics": [self._topics]}])):
            answer = await self._ask(transport, kind, params)
            if not isinstance(answer.get("result"), str):
                raise TransientError("stale_chain", f"Expected a subscription, was {answer}")

    async def _ask(self, transport: WSTransport, kind: str, params: list[Any]) -> dict[str, Any]:
        self._asked_count += 1
        number, answered = self._asked_count, asyncio.get_running_loop().create_future()
        self._asked = number, kind, answered
        request = {"jsonrpc": "2.0", "id": number, "method": "eth_subscribe", "params": params}
        transport.send(WSMsgType.TEXT, orjson.dumps(request))
        answer: dict[str, Any] = await answered
        return answer

    def _is_told_by_shreds(self, message: bytes) -> bool:
        # Half of all messages where there are shreds, and not worth reading; spelt otherwise they
        # are left out when they were read.
        return self._shreds and self._logs_mark in message and _HASHLESS_MARK in message

    def _is_answer(self, message: dict[str, Any]) -> bool:
        if self._asked is None or message.get("id") != self._asked[0]:
            return False
        _, kind, answered = self._asked
        self._asked = None
        # At once: what is pushed next may stand in the same buffer.
        if isinstance(message.get("result"), str):
            self._kinds[message["result"]] = kind
            self._shreds |= kind == "shred"
            if kind == "log":
                self._logs_mark = b'"subscription":' + orjson.dumps(message["result"])
        if not answered.done():
            answered.set_result(message)
        return True

    def _take(self, message: dict[str, Any], received_ns: int) -> None:
        params = message.get("params")
        if not isinstance(params, dict):
            return
        name = params.get("subscription")
        kind = self._kinds.get(name) if isinstance(name, str) else None
        if kind is None:
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
        except asyncio.QueueFull as error:
            raise TransientError("stale_chain", "The subscription fell behind") from error

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


class _Listener(WSListener):
    # Whole messages to `hear`, the end of the connection to `end`.

    def __init__(
        self, hear: Callable[[bytes, int], None], end: Callable[[TransientError], None]
    ) -> None:
        self._hear = hear
        self._end = end
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            received_ns = time.time_ns()
            if frame.fin and not self._parts:
                self._hear(frame.get_payload_as_bytes(), received_ns)
            else:
                self._part(frame, received_ns)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._end(TransientError("stale_chain", "The subscription ended: the connection is gone"))

    def _part(self, frame: WSFrame, received_ns: int) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._parts_bytes += frame.payload_size
        if self._parts_bytes > MESSAGE_BYTES_MAX or len(self._parts) > PARTS_MAX:
            text = f"Expected {MESSAGE_BYTES_MAX} bytes and {PARTS_MAX} parts a message at most"
            self._end(TransientError("stale_chain", text))
        elif frame.fin:
            whole = b"".join(self._parts)
            self._parts, self._parts_bytes = [], 0
            self._hear(whole, received_ns)


async def _gone(transport: WSTransport) -> None:
    try:
        await transport.wait_disconnected()
    except (OSError, WSError):
        return


def _parsed(message: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise TransientError("stale_chain", f"Expected JSON, was {message[:100]!r}") from error
    if not isinstance(parsed, dict):
        raise TransientError("stale_chain", f"Expected an object, was {message[:100]!r}")
    return parsed
