"""One subscription of the stream client: its place in the topic, and what waits to be read.

Every message of the door is one of these, in the order of the code:
  1. the topic is being subscribed (again): the answer will say what was missed, dropped;
  2. a `gap`, another generation, or numbers left out: subscribe again from where we stand;
  3. a number that was had before: dropped;
  4. else it is the next one.
What the reader does not read is bounded: when it is full the rest is dropped, and asked for
again when the reader has caught up.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.client_types import Event, StreamError

WAITING_MAX = 10_000


class Subscription:
    """`async for event in subscription`. `again` is called when it wants to be subscribed."""

    def __init__(self, topic: str, again: Callable[["Subscription"], None]) -> None:
        self.topic = topic
        self.seq: int | None = None
        self.generation: str | None = None
        self.pending = True
        self.begun = False
        self._again = again
        self._full = False
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self._ended: StreamError | None = None
        self._closed = False

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._ended is not None:
                raise self._ended
            if self._closed:
                raise StopAsyncIteration
            if self._full:
                self._full = False
                self._lost()
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    def place(self) -> dict[str, Any]:
        """What to subscribe with."""
        if self.seq is None or self.generation is None:
            return {"topic": self.topic}
        return {"topic": self.topic, "since": self.seq, "generation": self.generation}

    def subscribed(self, data: dict[str, Any]) -> None:
        """The door's answer: what was missed, or the topic as it stands."""
        first, self.begun, self.pending = not self.begun, True, False
        if data.get("gap") or "missed" not in data:
            self._stand(data["generation"], data["seq"])
            snapshot = Event(
                self.topic,
                "snapshot",
                seq=data["seq"],
                from_seq=data["seq"],
                generation=data["generation"],
                data=data["snapshot"],
                gap=not first,
            )
            self._put(snapshot)
            return
        for one in data["missed"]:
            self.hear(one | {"topic": self.topic})

    def hear(self, message: dict[str, Any]) -> None:
        """One message as the door pushed it."""
        if self.pending or self._full:
            return
        seq, generation = message["seq"], message["generation"]
        if seq is None and message["event"] != "gap":
            self._put(_event(message))
            return
        first = message.get("fromSeq", seq)
        if seq is None or not self._follows(first, generation):
            self._lost()
        elif (self.seq is None or seq > self.seq) and self._put(_event(message)):
            self._stand(generation, seq)

    def end(self, error: StreamError | None = None) -> None:
        """No more; the reader gets what waits, then the error or the end."""
        self._closed, self._ended = True, error
        self._news.set()

    def _follows(self, first: int, generation: str) -> bool:
        if self.seq is None:
            return True
        return generation == self.generation and first <= self.seq + 1

    def _stand(self, generation: str | None, seq: int | None) -> None:
        self.generation, self.seq = generation, seq

    def _put(self, event: Event) -> bool:
        if len(self._waiting) >= WAITING_MAX:
            self._full = True
            return False
        self._waiting.append(event)
        self._news.set()
        return True

    def _lost(self) -> None:
        if not self.pending:
            self.pending = True
            self._again(self)


def _event(message: dict[str, Any]) -> Event:
    return Event(
        message["topic"],
        message["event"],
        seq=message["seq"],
        from_seq=message.get("fromSeq", message["seq"]),
        generation=message["generation"],
        data=message["data"],
    )
