"""What is pushed on the stream door: events as frames, amounts as integers of base units.

`seq` counts a topic's messages. `fromSeq` to `toSeq` are the numbers that a message accounts
for: more than its own when prices that stood before it in the topic gave way to a newer one, for
all readers in a round of the fan-out or for one that was slow. So what follows `toSeq` begins
with `toSeq + 1`, or something was lost.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from engine import text
from gateway.coalescing import PRICE
from gateway.stream_protocol import VERSION, framed

GAP = "gap"

# As `engine.ticks` and the lists write them: (name here, decimals).
_EXACT = {
    "price": ("priceE18", text.PRICE_DECIMALS),
    "pricePerToken": ("pricePerTokenE18", text.PRICE_DECIMALS),
    **{
        name: (f"{name}Wei", text.DECIMALS)
        for name in (
            "marketCap",
            "sold",
            "raised",
            "ethAmount",
            "tokenAmount",
            "volume24h",
            "volumeEth",
            "volumeToken",
            "ethToPool",
            "tokensToPool",
            "burned",
            "gasFee",
        )
    },
}


@dataclass(slots=True, eq=False)
class Push:
    """One message of a topic, encoded once for all its readers. `seq` None: a `gap`."""

    event: str
    topic: str
    seq: int | None
    generation: str | None
    data: bytes
    frame: bytes
    from_seq: int | None = None

    def spanning(self, from_seq: int) -> bytes:
        """The frame that accounts for the numbers from `from_seq` on."""
        return _frame(self, from_seq)


def push_of(event: str, shown: dict[str, Any]) -> Push:
    """Of `{topic, seq, generation, data}`, with `fromSeq` or without, as the fan-out gives it."""
    data = orjson.dumps(exact(shown["data"]))
    made = Push(event, shown["topic"], shown["seq"], shown["generation"], data, b"")
    made.from_seq = shown.get("fromSeq", made.seq)
    made.frame = _frame(made, made.from_seq)
    return made


def gap_of(topic: str) -> Push:
    """Something of this topic was left out for a reader: he should subscribe again."""
    return push_of(GAP, {"topic": topic, "seq": None, "generation": None, "data": {}})


def exact(data: Any) -> Any:
    """The same with every amount and price that is a decimal string as an integer string."""
    if isinstance(data, list):
        return [exact(one) for one in data]
    if not isinstance(data, dict):
        return data
    found: dict[str, Any] = {}
    for name, value in data.items():
        known = _EXACT.get(name)
        if known is None:
            # Most values are text or a number: no call for those.
            found[name] = exact(value) if isinstance(value, dict | list) else value
        elif isinstance(value, str):
            found[known[0]] = str(text.base_units(value, known[1]))
        else:
            found[known[0]] = value
    return found


def _frame(push: Push, from_seq: int | None) -> bytes:
    head: dict[str, Any] = {
        "v": VERSION,
        "op": "event",
        "event": push.event,
        "topic": push.topic,
        "seq": push.seq,
        "generation": push.generation,
    }
    if push.seq is not None and (push.event == PRICE or from_seq != push.seq):
        head |= {"fromSeq": from_seq, "toSeq": push.seq}
    return framed(orjson.dumps(head)[:-1] + b',"data":' + push.data + b"}")
