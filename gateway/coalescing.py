"""What a topic says within an interval goes out together, to many readers at once.

The cases of a message, in the order of the code:
  1. nothing waits, and the topic's last round was an interval ago: it goes out now;
  2. it is the first that waits: a round is due an interval after the last one;
  3. it waits behind the others; when as many wait as may, the round is now.
In a round a price gives way to a newer one of its topic, and the numbers it accounted for go to
what stands behind it, if they follow on each other. Other events all go out, in order.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curves.values import value
from engine.limits import (
    FANOUT_INTERVAL_MIN_S,
    FANOUT_INTERVAL_S,
    FANOUT_READER_S,
    FANOUT_WAITING_MAX,
    TOPICS_REMEMBERED_MAX,
)

PRICE = "price"


@value
class Message:
    """One of a topic. It accounts for the numbers from `from_seq` to `seq`."""

    event: str
    seq: int
    generation: str
    data: Any
    from_seq: int


def folded(messages: Sequence[Message]) -> list[Message]:
    """The same but for the prices that give way."""
    newest = max((at for at, one in enumerate(messages) if one.event == PRICE), default=-1)
    found: list[Message] = []
    left: Message | None = None
    for at, one in enumerate(messages):
        heir = one
        if left is not None and left.generation == one.generation and left.seq + 1 == one.from_seq:
            heir = replace(one, from_seq=left.from_seq)
        left = heir if one.event == PRICE and at < newest else None
        if left is None:
            found.append(heir)
    return found


def interval_s(readers: int) -> float:
    """Between two rounds of a topic: so long as one round to all its readers may take. What is
    too short to matter is none.
    """
    found = min(readers * FANOUT_READER_S, FANOUT_INTERVAL_S)
    return found if found >= FANOUT_INTERVAL_MIN_S else 0.0


@dataclass(slots=True)
class _Round:
    due: asyncio.TimerHandle
    messages: list[Message] = field(default_factory=list)


class Coalescer:
    """`send(topic, messages)` is called for each round, from `offer` or in a later turn."""

    def __init__(
        self,
        send: Callable[[str, list[Message]], None],
        *,
        interval_s: Callable[[int], float] = interval_s,
        topics_max: int = TOPICS_REMEMBERED_MAX,
    ) -> None:
        self._send = send
        self._interval_s = interval_s
        self._topics_max = topics_max
        self._rounds: dict[str, _Round] = {}
        self._sent_at: dict[str, float] = {}

    def offer(self, topic: str, message: Message, *, readers: int) -> None:
        """One message of a topic that so many read."""
        waiting = self._rounds.get(topic)
        if waiting is None:
            interval_s = self._interval_s(readers)
            if not interval_s:
                self._send(topic, [message])
                return
            loop = asyncio.get_running_loop()
            due_at = self._sent_at.get(topic, 0.0) + interval_s
            if due_at <= loop.time():
                self._note(topic, loop.time())
                self._send(topic, [message])
                return
            waiting = self._rounds[topic] = _Round(loop.call_at(due_at, self.flush, topic))
        waiting.messages.append(message)
        if len(waiting.messages) >= FANOUT_WAITING_MAX:
            self.flush(topic)

    def first(self, topic: str) -> Message | None:
        """The oldest that waits: what stands before it has gone out."""
        waiting = self._rounds.get(topic)
        return waiting.messages[0] if waiting else None

    def flush(self, topic: str) -> None:
        """What waits of a topic goes out now."""
        waiting = self._rounds.pop(topic, None)
        if waiting is not None:
            waiting.due.cancel()
            self._note(topic, asyncio.get_running_loop().time())
            self._send(topic, folded(waiting.messages))

    def flush_all(self) -> None:
        """What waits of any topic goes out now."""
        for topic in list(self._rounds):
            self.flush(topic)

    def _note(self, topic: str, now: float) -> None:
        self._sent_at.pop(topic, None)
        self._sent_at[topic] = now
        if len(self._sent_at) > self._topics_max:
            del self._sent_at[next(iter(self._sent_at))]
