"""Subscribers of both doors, and how long each tick took from the listener's socket to them.

A `price` tick carries when the listener received what it tells of (`receivedNs`); that clock and
ours are of one machine. A trade is told twice where it was preconfirmed: its first word counts,
and of prices those that were preconfirmed, for a seal carries the time of the block's first frame.
What came by a seal only has no delay of its own, and is counted: `unheard`.

Between `begin` and `settle` subscribers only stamp what comes: the cores that they would read it
on are those of the system that is measured, and a tick would wait for the reading of those before.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.readers import Reader
from engine.messages import PRECONFIRMED
from gateway.stream_protocol import VERSION

PRICE, TRANSACTION = "price", "transaction"
CONNECT_TIMEOUT_S = 60.0


class Ears(Protocol):
    """A connection of a door's subscriber."""

    @property
    def stamped(self) -> int: ...
    def keep(self) -> None: ...
    def settle(self) -> None: ...
    def close(self) -> None: ...


@dataclass
class Arrivals:
    """At one door since `begin`. `early_ns` is the earliest frame that a tick told of, `unheard`
    counts trades whose first word was not of `status`.
    """

    status: str = PRECONFIRMED
    """Of the prices that count."""

    delays_ns: "array[int]" = field(default_factory=lambda: array("q"))
    trades: dict[tuple[str, int], int] = field(default_factory=dict)
    early_ns: int = 0
    unheard: int = 0
    readers: list[Ears] = field(default_factory=list)
    _told: set[tuple[str, int]] = field(default_factory=set)

    def begin(self) -> None:
        """Forget, and only stamp what comes from now on."""
        self.settle()
        self.delays_ns, self.trades, self.early_ns = array("q"), {}, 0
        self.unheard, self._told = 0, set()

    @property
    def stamped(self) -> int:
        """How much has come that was not looked at."""
        return sum(reader.stamped for reader in self.readers)

    def settle(self) -> None:
        """Look at what has come, and go on stamping."""
        for reader in self.readers:
            reader.settle()
            reader.keep()

    def note(self, event: str, data: dict[str, Any], now_ns: int) -> None:
        """A message, at the wall clock's `now_ns`."""
        if event == TRANSACTION:
            trade = data["txHash"], data["position"]
            self.unheard += trade not in self.trades and data["status"] != self.status
            self.trades.setdefault(trade, now_ns)
        elif event == PRICE and data["asOf"]["status"] == self.status:
            received_ns = int(data["receivedNs"])
            told = data["tokenAddress"], received_ns
            # A seal below an open block tells the open one's price again.
            if received_ns and told not in self._told:
                self._told.add(told)
                self.delays_ns.append(now_ns - received_ns)
                self.early_ns = min(self.early_ns or received_ns, received_ns)

    def last_ms(self) -> float:
        """From the earliest frame to the last trade."""
        return (max(self.trades.values()) - self.early_ns) / 1e6


class TopicReader(Reader):
    """A raw Socket.IO subscriber of one topic, whose messages go to `arrivals`."""

    def __init__(self, topic: str, arrivals: Arrivals) -> None:
        super().__init__(topic)
        self._arrivals = arrivals

    def _take_text(self, body: bytes, now_ns: int) -> None:
        if not body.startswith(b"42"):
            super()._take_text(body, now_ns)
            return
        event, message = orjson.loads(body[2:])
        self._arrivals.note(event, message["data"], now_ns + _epoch_ns())


class StreamReader(WSListener):
    """A raw subscriber of topics at the stream door, whose messages go to `arrivals`."""

    def __init__(self, topics: Sequence[str], arrivals: Arrivals) -> None:
        self._topics = topics
        self._arrivals = arrivals
        self._waiting = set(range(len(topics)))
        self._kept: list[tuple[int, bytes]] | None = None
        self._transport: WSTransport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def stamped(self) -> int:
        """Messages that were not looked at."""
        return len(self._kept or ())

    def keep(self) -> None:
        """Look at nothing until `settle`."""
        self._kept = []

    def settle(self) -> None:
        """Look at what was kept, and from now on at everything at once."""
        kept, self._kept = self._kept or [], None
        for now_ns, body in kept:
            self._hear(body, now_ns)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        self._transport = transport
        for number, topic in enumerate(self._topics):
            asked = {"v": VERSION, "op": "subscribe", "id": number, "topic": topic}
            transport.send(WSMsgType.TEXT, orjson.dumps(asked))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """An answer or an event."""
        now_ns = time.monotonic_ns()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        if self._kept is not None:
            self._kept.append((now_ns, frame.get_payload_as_bytes()))
        else:
            self._hear(frame.get_payload_as_bytes(), now_ns)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The door ended it, or we did."""
        self._end("Expected subscriptions, was an end")

    def _hear(self, body: bytes, now_ns: int) -> None:
        message = orjson.loads(body)
        if message["op"] == "event":
            self._arrivals.note(message["event"], message["data"], now_ns + _epoch_ns())
        elif not message.get("ok"):
            self._end(f"Expected a subscription, was {body!r:.300}")
        elif message["op"] == "subscribe":
            self._waiting.discard(message["id"])
            if not self._waiting and not self.ready.done():
                self.ready.set_result(None)

    def _end(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))


@asynccontextmanager
async def subscribed(
    *, api_port: int, stream_url: str, tokens: Sequence[str], status: str
) -> AsyncIterator[dict[str, Arrivals]]:
    """Door → what arrives there of all tokens, while the context lasts."""
    socketio, stream = doors = Arrivals(status), Arrivals(status)
    topics = [f"token:{token.lower()}" for token in tokens]
    try:
        for topic in topics:
            socketio.readers.append(await _reader(api_port, topic, socketio))
        stream.readers.append(await _stream_reader(stream_url, topics, stream))
        yield {"socketio": socketio, "stream": stream}
    finally:
        for reader in [reader for door in doors for reader in door.readers]:
            reader.close()


async def _reader(port: int, topic: str, arrivals: Arrivals) -> TopicReader:
    loop = asyncio.get_running_loop()
    make = lambda: TopicReader(topic, arrivals)  # noqa: E731
    _, reader = await loop.create_connection(make, "127.0.0.1", port)
    await asyncio.wait_for(reader.ready, CONNECT_TIMEOUT_S)
    return reader


async def _stream_reader(url: str, topics: Sequence[str], arrivals: Arrivals) -> StreamReader:
    _, reader = await ws_connect(lambda: StreamReader(topics, arrivals), url)
    assert isinstance(reader, StreamReader)
    await asyncio.wait_for(reader.ready, CONNECT_TIMEOUT_S)
    return reader


def _epoch_ns() -> int:
    # From the clock that stamps to the wall's, which `receivedNs` is of.
    return time.time_ns() - time.monotonic_ns()
