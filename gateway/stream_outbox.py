"""What waits for one slow reader: of each topic the newest price, the rest bounded.

The cases of a message, in the order of the code:
  1. a `gap` of its topic waits: the reader will subscribe again, the message is dropped;
  2. a price, and one of its topic waits: that one is taken out, the numbers it accounted for
     go to what stands behind it in the topic, if they follow on each other;
  3. another event, and as many wait as may: all that waits of its topic becomes one `gap`;
  4. else it waits at the end.
So at most two messages a topic and `others_max` in all wait, whatever the reader does.
"""

from collections import OrderedDict
from dataclasses import dataclass

from gateway.coalescing import PRICE
from gateway.stream_events import GAP, Push, gap_of


@dataclass(slots=True, eq=False)
class _Waiting:
    push: Push
    from_seq: int | None


class Outbox:
    """First in, first out, but for the prices that give way."""

    def __init__(self, others_max: int) -> None:
        self._others_max = others_max
        self._others = 0
        self._last = 0
        self._queue: OrderedDict[int, _Waiting] = OrderedDict()
        self._topics: dict[str, list[int]] = {}
        self._prices: dict[str, int] = {}
        self._gaps: set[str] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def offer(self, push: Push) -> None:
        """Let it wait."""
        if push.topic in self._gaps:
            return
        if push.event == PRICE:
            self._put(push)
            before = self._prices.get(push.topic)
            if before is not None:
                self._give_way(push.topic, before)
            self._prices[push.topic] = self._last
        elif push.event == GAP or self._others >= self._others_max:
            self.forget(push.topic)
            self._put(gap_of(push.topic))
            self._gaps.add(push.topic)
        else:
            self._others += 1
            self._put(push)

    def take(self) -> bytes | None:
        """The next frame, or None."""
        if not self._queue:
            return None
        key, waiting = self._queue.popitem(last=False)
        push = waiting.push
        keys = self._topics[push.topic]
        keys.remove(key)
        if not keys:
            del self._topics[push.topic]
        if push.event == GAP:
            self._gaps.discard(push.topic)
        elif push.event != PRICE:
            self._others -= 1
        elif self._prices.get(push.topic) == key:
            del self._prices[push.topic]
        if waiting.from_seq is None or waiting.from_seq == push.from_seq:
            return push.frame
        return push.spanning(waiting.from_seq)

    def forget(self, topic: str) -> None:
        """Drop what waits of a topic."""
        for key in self._topics.pop(topic, ()):
            event = self._queue.pop(key).push.event
            self._others -= event not in (PRICE, GAP)
        self._prices.pop(topic, None)
        self._gaps.discard(topic)

    def _put(self, push: Push) -> None:
        self._last += 1
        self._queue[self._last] = _Waiting(push, push.from_seq)
        self._topics.setdefault(push.topic, []).append(self._last)

    def _give_way(self, topic: str, key: int) -> None:
        keys = self._topics[topic]
        at = keys.index(key)
        old, heir = self._queue.pop(key), self._queue[keys[at + 1]]
        del keys[at]
        follows = (
            old.push.seq is not None
            and heir.from_seq == old.push.seq + 1
            and heir.push.generation == old.push.generation
        )
        if follows:
            heir.from_seq = old.from_seq
