"""One loop over all ticks, out to the readers of each topic; encoded once a topic, and what a
topic with many readers says in a short time goes out together (`coalescing`).

The cases of a message, in the order of the code:
  0. one of all trades or of a wallet that nobody reads here, which four of seven are: its number is
     remembered, and no more of it is read;
  1. a new epoch of the topics of all trades and of wallets, of which many are quiet: `gap` to
     whoever reads one;
  2. its bucket has been heard with a higher incarnation: an old owner, refused;
  3. same generation and a `seq` that was heard already: a repeat, dropped;
  4. else it is remembered as the topic's last and goes, with its round, to each reader.
A bucket's new owner may have nothing to say of a quiet token, though the old one died before
it took something back: `owned` says `gap` to the readers, who ask for a snapshot. So do readers
of the list of tokens, in which that market stands too. When listening begins again, something may
be missing of every topic: `gap` to all readers.
Putting never waits: a reader whose queue is full is the reader's own trouble.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any, Protocol

import orjson

from curves.values import value
from engine.buckets import bucket_of
from engine.limits import TOPICS_REMEMBERED_MAX
from engine.text import token_of_topic
from gateway import coalescing
from gateway.coalescing import PRICE, Coalescer, Message
from gateway.metrics import Metrics
from gateway.ports import Log, Ticks

LIST_TOPIC = "tokens"
TRADES_TOPIC = "trades"
USER_TOPIC = "user:"
RESTART_PAUSE_S = 1.0

_COUNTED = re.compile(
    rb'\{"topic":"(trades|user:0x[0-9a-f]{40})",.*,"seq":([0-9]+),"generation":"([0-9a-z-]+)"\}'
)
"""As Redis counts and ends them (`storage/lua/counted.lua`). Inside a text quotes are escaped."""


class Reader(Protocol):
    """One subscriber. `push` never waits and never raises."""

    def push(self, packet: Any) -> None: ...


@value
class Last:
    """Where a topic's numbering stands."""

    generation: str
    seq: int
    incarnation: int = field(default=-1, compare=False)


class Fanout:
    """`encode(event, shown)` makes the one packet that all readers of a message share, of what is
    shown of it: `topic`, `seq`, `generation`, `data`, and `fromSeq` and `toSeq` where they matter.

    `saw(token, version)` is told what a message names of a token, before any reader.
    """

    def __init__(
        self,
        *,
        ticks: Ticks,
        encode: Callable[[str, dict[str, Any]], Any],
        metrics: Metrics,
        log: Log,
        topics_max: int = TOPICS_REMEMBERED_MAX,
        saw: Callable[[bytes, tuple[int, int]], None] | None = None,
        interval_s: Callable[[int], float] = coalescing.interval_s,
    ) -> None:
        self._ticks = ticks
        self._encode = encode
        self._metrics = metrics
        self._log = log
        self._topics_max = topics_max
        self._saw = saw
        self._readers: dict[str, dict[Reader, None]] = {}
        self._rounds = Coalescer(self._push, interval_s=interval_s)
        self._last: OrderedDict[str, Last] = OrderedDict()
        self._incarnations: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._has_listened = False

    def join(self, topic: str, reader: Reader) -> None:
        """From now on `reader` gets every message of `topic` above `last`."""
        readers = self._readers.setdefault(topic, {})
        if reader not in readers:
            readers[reader] = None
            self._metrics.subscriptions.inc()

    def leave(self, topic: str, reader: Reader) -> None:
        """No more messages of `topic`."""
        readers = self._readers.get(topic, {})
        if reader in readers:
            del readers[reader]
            self._metrics.subscriptions.dec()
            if not readers:
                del self._readers[topic]

    def last(self, topic: str) -> Last | None:
        """The last message of a topic that has gone out to its readers; None: not one was heard
        since listening began (again).
        """
        waiting = self._rounds.first(topic)
        if waiting is not None:
            return Last(waiting.generation, waiting.from_seq - 1)
        return self._last.get(topic)

    def see(self, topic: str, data: dict[str, Any]) -> None:
        """A message as it was published is shown to somebody, again or late."""
        if self._saw is not None:
            for token, version in versions_named(topic, data):
                self._saw(token, version)

    async def run(self) -> None:
        """Listen until cancelled. A fault is logged once and listening begins again."""
        while True:
            try:
                async for message in self._ticks.listen(on_subscribed=self._begin):
                    self.hear(message)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._log.error("fanout_failed", exc_info=error)
            await asyncio.sleep(RESTART_PAUSE_S)

    def hear(self, message: bytes) -> None:
        """One message as it was published."""
        if self._is_unread(message):
            return
        try:
            tick = orjson.loads(message)
            if "epoch" in tick:
                self._begin_trades_anew()
                return
            topic, event = tick["topic"], tick["event"]
            bucket, incarnation = int(tick["bucket"]), int(tick["incarnation"])
            last = Last(str(tick["generation"]), int(tick["seq"]), incarnation)
            named = versions_named(topic, tick["data"]) if self._saw else ()
        except (ValueError, KeyError, TypeError) as error:
            self._log.warning("tick_unreadable", error=repr(error))
            return
        self._metrics.ticks.inc()
        for token, version in named:
            if self._saw is not None:
                self._saw(token, version)
        if not self._accept(bucket, incarnation) or not self._remember(topic, last):
            self._metrics.ticks_refused.inc()
            return
        readers = self._readers.get(topic)
        if readers:
            new = Message(event, last.seq, last.generation, tick["data"], last.seq)
            self._rounds.offer(topic, new, readers=len(readers))

    def owned(self, owners: Iterable[tuple[int, int]]) -> None:
        """(bucket, incarnation) as they are now. Whoever reads a topic of a bucket that has a
        new owner, and has not heard of it yet, is told so.
        """
        risen = {b: i for b, i in owners if i > self._owners.get(b, 0)}
        known = {bucket for bucket in risen if bucket in self._owners}
        self._owners |= risen
        if not known:
            return
        for topic in list(self._readers):
            token, last = token_of_topic(topic), self._last.get(topic)
            bucket = bucket_of(token) if token else None
            heard = bucket in known and last and last.incarnation >= risen[bucket]
            if (bucket not in known or heard) and topic != LIST_TOPIC:
                continue
            self._say_gap(topic)

    def _is_unread(self, message: bytes) -> bool:
        found = _COUNTED.fullmatch(message)
        if found is None or (topic := found[1].decode()) in self._readers:
            return False
        self._metrics.ticks.inc()
        if not self._remember(topic, Last(found[3].decode(), int(found[2]), 0)):
            self._metrics.ticks_refused.inc()
        return True

    def _begin_trades_anew(self) -> None:
        for topic in list(self._readers):
            if topic == TRADES_TOPIC or topic.startswith(USER_TOPIC):
                self._say_gap(topic)

    def _say_gap(self, topic: str) -> None:
        self._rounds.flush(topic)
        payload: dict[str, Any] = {"topic": topic, "seq": None, "generation": None, "data": {}}
        self._give(topic, [self._encode("gap", payload)])

    def _begin(self) -> None:
        self._rounds.flush_all()
        self._last.clear()
        if self._has_listened:
            # Of a topic that is quiet from here on nobody would see that something is missing.
            for topic in list(self._readers):
                self._say_gap(topic)
        self._has_listened = True

    def _push(self, topic: str, messages: list[Message]) -> None:
        self._give(topic, [self._encoded(topic, message) for message in messages])

    def _encoded(self, topic: str, message: Message) -> Any:
        shown: dict[str, Any] = {"topic": topic, "seq": message.seq}
        if message.event == PRICE or message.from_seq != message.seq:
            shown |= {"fromSeq": message.from_seq, "toSeq": message.seq}
        shown |= {"generation": message.generation, "data": message.data}
        return self._encode(message.event, shown)

    def _give(self, topic: str, packets: list[Any]) -> None:
        readers = list(self._readers.get(topic, ()))
        for reader in readers:
            for packet in packets:
                reader.push(packet)
        self._metrics.pushed.inc(len(packets) * len(readers))

    def _accept(self, bucket: int, incarnation: int) -> bool:
        if bucket < 0:
            return True
        if incarnation < self._incarnations.get(bucket, 0):
            return False
        self._incarnations[bucket] = incarnation
        return True

    def _remember(self, topic: str, last: Last) -> bool:
        known = self._last.get(topic)
        if known is not None and known.generation == last.generation and last.seq <= known.seq:
            return False
        self._last[topic] = last
        self._last.move_to_end(topic)
        if len(self._last) > self._topics_max:
            self._last.popitem(last=False)
        return True


def versions_named(topic: str, data: dict[str, Any]) -> list[tuple[bytes, tuple[int, int]]]:
    """(token, version) of each market that a message shows. Raises ValueError, KeyError and
    TypeError for what no shard says.
    """
    found = []
    for row in data["items"] if topic == LIST_TOPIC else [data]:
        token, as_of = token_of_topic(topic), row.get("asOf")
        if token is None and "tokenAddress" in row:
            token = bytes.fromhex(row["tokenAddress"][2:])
        if token is not None and as_of:
            incarnation, changes = as_of["version"]
            found.append((token, (int(incarnation), int(changes))))
    return found
