"""Subscribers of both doors, and how long each tick took from the listener's socket to them.

A `price` tick carries when the listener received what it tells of (`receivedNs`); that clock and
ours are of one machine. A trade is told twice where it was preconfirmed: its first word counts,
and of prices those that were preconfirmed, for a seal carries the time of the block's first frame.
What came by a seal only has no delay of its own, and is counted: `unheard`.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.readers import Reader
from engine.messages import PRECONFIRMED
from gateway.client import StreamClient, Subscription

PRICE, TRANSACTION = "price", "transaction"
CONNECT_TIMEOUT_S = 60.0


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
    _told: set[tuple[str, int]] = field(default_factory=set)

    def begin(self) -> None:
        """Forget."""
        self.delays_ns, self.trades, self.early_ns = array("q"), {}, 0
        self.unheard, self._told = 0, set()

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
        self._arrivals.note(event, message["data"], time.time_ns())


@asynccontextmanager
async def subscribed(
    *, api_port: int, stream_url: str, tokens: Sequence[str], status: str
) -> AsyncIterator[dict[str, Arrivals]]:
    """Door → what arrives there of all tokens, while the context lasts."""
    doors = {"socketio": Arrivals(status), "stream": Arrivals(status)}
    topics = [f"token:{token.lower()}" for token in tokens]
    readers: list[TopicReader] = []
    tasks: list[asyncio.Task[None]] = []
    async with StreamClient(stream_url) as client:
        try:
            for topic in topics:
                readers.append(await _reader(api_port, topic, doors["socketio"]))
                subscription = await client.subscribe(topic)
                tasks.append(asyncio.create_task(_follow(subscription, doors["stream"])))
            yield doors
        finally:
            for reader in readers:
                reader.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _reader(port: int, topic: str, arrivals: Arrivals) -> TopicReader:
    loop = asyncio.get_running_loop()
    make = lambda: TopicReader(topic, arrivals)  # noqa: E731
    _, reader = await loop.create_connection(make, "127.0.0.1", port)
    await asyncio.wait_for(reader.ready, CONNECT_TIMEOUT_S)
    return reader


async def _follow(subscription: Subscription, arrivals: Arrivals) -> None:
    async for event in subscription:
        arrivals.note(event.event, dict(event.data), time.time_ns())
