"""Ticks over Redis: one channel for all, and a bounded stream a topic for resume."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from engine.limits import (
    LISTED_EVERY_MS,
    LISTED_KEPT_MAX,
    LISTED_ROWS_MAX,
    LISTED_WAITING_MAX,
    SAID_OPEN_MAX,
    TICK_STREAM_LENGTH,
    TICK_STREAM_S,
)
from engine.messages import FeedPosition, ListedRow, Sampled, Tick
from engine.said import OVERTAKEN, SAID, UNCLAIMED, Back, Claim, Gap, Item, Lift, Mark, ToSay
from engine.text import topic_of_user
from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

LIST_TOPIC = "tokens"
_LIST_HEAD = (
    f'{{"topic":"{LIST_TOPIC}","event":"{LIST_TOPIC}","bucket":-1,"incarnation":0,'
    '"data":{"items":['
)
RECONNECT_MIN_S = 0.05
RECONNECT_MAX_S = 1.0
# A half-open socket is silent: ask after each silence, give up after three without a word.
SILENCE_S = 1.0
SILENCES_MAX = 3
_ANSWERS = {0: OVERTAKEN, 1: SAID, 2: UNCLAIMED}
LINES_A_TURN = 64
"""Of one publication, before others have the loop: some milliseconds of pushes."""


class Ticks:
    """Publishes and hears ticks. A message is the JSON object
    `{topic, event, seq, generation, bucket, incarnation, data}`; what is published at once goes
    over the channel as one, a line each. A line of its own, `{epoch}`, says that the topics of all
    trades and of wallets begin anew: something may be missing in any of them.
    """

    def __init__(self, client: "Redis", *, namespace: str = valkey.NAMESPACE) -> None:
        self._client = client
        self._publish = valkey.Script(client, "publish")
        self._publish_counted = valkey.Script(client, "publish_counted", shared="counted")
        self._say_trades = valkey.Script(client, "say_trades", shared="counted")
        self._claim_said = valkey.Script(client, "claim_said")
        self._sample = valkey.Script(client, "sample", shared="counted")
        self._namespace = namespace
        self._channel = f"{namespace}:ticks"
        self._epoch = f"{namespace}:epoch"
        self._run = f"{namespace}:run"

    async def publish(self, bucket: int, incarnation: int, ticks: Sequence[Tick]) -> bool:
        """Publishes in order, all or none. False: a higher incarnation owns the bucket.

        Raises TransientError (store_unavailable); whether they went out is then unknown.
        """
        (accepted,) = await self.publish_all([(bucket, incarnation, ticks)])
        return accepted

    async def publish_all(self, parcels: Sequence[tuple[int, int, Sequence[Tick]]]) -> list[bool]:
        """`publish` of several (bucket, incarnation, ticks) in one round trip; an answer each.

        Raises TransientError (store_unavailable); whether they went out is then unknown.
        """
        arguments: list[str | int | bytes] = [
            self._channel,
            self._stream(""),
            TICK_STREAM_LENGTH,
            TICK_STREAM_S,
        ]
        for bucket, incarnation, ticks in parcels:
            arguments += [incarnation, len(ticks)]
            for tick in ticks:
                arguments += [tick.topic, _message(tick, bucket, incarnation)]
        fences = [f"{self._namespace}:fence:{bucket}" for bucket, _, _ in parcels]
        return [bool(answer) for answer in await self._publish.run(fences, arguments)]

    async def publish_counted(self, topic: str, event: str, data: dict[str, object]) -> None:
        """Publishes on a topic that no bucket owns; Redis counts its `seq`. Bucket is -1.

        Raises TransientError (store_unavailable).
        """
        await self._publish_counted.run(
            [self._counter(topic), self._stream(topic), self._epoch, self._run],
            [
                self._channel,
                TICK_STREAM_LENGTH,
                TICK_STREAM_S,
                secrets.token_hex(8),
                _counted(topic, event, data),
            ],
        )

    async def say_trades(self, parcels: Sequence[ToSay]) -> list[str]:
        """Says what of several buckets is to be said on the topics of all trades and of wallets, in
        one round trip; each bucket's all or none, and a sealed trade only above the bucket's mark,
        which goes with it. An answer each: SAID, OVERTAKEN by a higher incarnation that owns it, or
        UNCLAIMED, that is not under the bucket's last claim.

        Raises TransientError (store_unavailable); whether they went out is then unknown. The mark
        that the next claim gets knows, and after that claim they do not go out any more.
        """
        arguments: list[str | int | bytes] = [
            *(self._channel, self._stream(""), self._counter("")),
            *(TICK_STREAM_LENGTH, TICK_STREAM_S, secrets.token_hex(8), SAID_OPEN_MAX),
        ]
        for parcel in parcels:
            arguments += [parcel.incarnation, parcel.claim, len(parcel.items)]
            for item in parcel.items:
                arguments += _said(item)
        keys = [self._epoch, self._run]
        for parcel in parcels:
            keys += self._said_keys(parcel.bucket)
        return [_ANSWERS[answer] for answer in await self._say_trades.run(keys, arguments)]

    async def claim_said(self, claims: Sequence[Claim]) -> list[Mark | None]:
        """Up to which block the sealed trades of each bucket were said; where nobody knows, to the
        block of the claim; and what is open. From here on a lower incarnation says nothing, and
        nothing that was to be said under an earlier claim is. None: a higher one owns the bucket.

        Raises TransientError (store_unavailable).
        """
        keys: list[str] = []
        arguments: list[str | int | bytes] = []
        for one in claims:
            keys += self._said_keys(one.bucket)
            arguments += [one.incarnation, one.number, one.at.number, one.at.hash.hex()]
        marks = await self._claim_said.run(keys, arguments) if claims else []
        return [_mark(*mark) if mark else None for mark in marks]

    async def sample(self, rows: Sequence[ListedRow], *, left_out: int = 0) -> Sampled:
        """Hands on rows for the topic `tokens`, and publishes those that wait longest, of all
        callers together, if the last message was an interval ago. Without rows it only looks.
        Bounded: what does not fit is left out, and counted in the message.

        Raises TransientError (store_unavailable); whether they were taken is then unknown, and
        they may be given again.
        """
        parcels: dict[tuple[int, int], list[ListedRow]] = {}
        for row in rows:
            parcels.setdefault((row.bucket, row.incarnation), []).append(row)
        arguments: list[str | int | bytes] = [
            *(self._channel, LISTED_KEPT_MAX, TICK_STREAM_S, secrets.token_hex(8)),
            *(_LIST_HEAD, LISTED_EVERY_MS, LISTED_ROWS_MAX, LISTED_WAITING_MAX, left_out),
        ]
        for (_, incarnation), found in parcels.items():
            arguments += [incarnation, len(found)]
            for row in found:
                launch = b"" if row.launch is None else orjson.dumps(row.launch)
                arguments += [row.token.hex(), orjson.dumps(row.row), launch]
        keys = [self._counter(LIST_TOPIC), self._stream(LIST_TOPIC)]
        names = ("order", "rows", "launches", "left_out", "mark")
        keys += [f"{self._namespace}:list:{name}" for name in names]
        keys += [f"{self._namespace}:fence:{bucket}" for bucket, _ in parcels]
        waiting, due_ms, *taken = await self._sample.run(keys, arguments)
        refused = [one for one, ok in zip(parcels, taken, strict=True) if not ok]
        return Sampled(tuple(refused), int(waiting), int(due_ms) / 1e3)

    async def halted(self) -> dict[bytes, str]:
        """Tokens of which `status` said last that they are halted, with the reason.

        Raises TransientError (store_unavailable).
        """
        async with valkey.guarded():
            found: Any = await self._client.hgetall(f"{self._namespace}:halted")
        return {bytes.fromhex(token.decode()): why.decode() for token, why in found.items()}

    async def note_halted(self, tokens: Mapping[bytes, str]) -> None:
        """Remembers what `status` said of these tokens: why it is halted, empty for served.

        Raises TransientError (store_unavailable).
        """
        key = f"{self._namespace}:halted"
        halted: dict[Any, Any] = {token.hex(): why for token, why in tokens.items() if why}
        served = [token.hex() for token, why in tokens.items() if not why]
        async with valkey.guarded(), self._client.pipeline(transaction=False) as pipe:
            if halted:
                pipe.hset(key, mapping=halted)
            if served:
                pipe.hdel(key, *served)
            await pipe.execute()

    async def replay(self, topic: str, *, generation: str, after_seq: int) -> list[bytes] | None:
        """Messages of the topic after `after_seq`, in order; None when some of them are gone or
        the generation is another: the client needs a snapshot.

        Raises TransientError (store_unavailable).
        """
        async with valkey.guarded(), self._client.pipeline(transaction=False) as pipe:
            pipe.xrange(self._stream(topic))
            pipe.hget(self._counter(topic), "epoch")
            pipe.get(self._epoch)
            entries, epoch, now = await pipe.execute()
        if epoch and epoch != (now or b"0"):
            return None  # nobody knows what was missed
        messages: list[bytes] = [fields[b"message"] for _, fields in entries]
        heads = [orjson.loads(message) for message in messages]
        if not heads or heads[-1]["generation"] != generation or heads[-1]["seq"] < after_seq:
            return None
        found = [
            (head["seq"], message)
            for head, message in zip(heads, messages, strict=True)
            if head["generation"] == generation and head["seq"] > after_seq
        ]
        whole = [seq for seq, _ in found] == list(range(after_seq + 1, heads[-1]["seq"] + 1))
        return [message for _, message in found] if whole else None

    async def last(self, topic: str) -> tuple[int, str] | None:
        """(seq, generation) of the topic's newest message; None if it was silent for long.

        Raises TransientError (store_unavailable).
        """
        async with valkey.guarded():
            entries: Any = await self._client.xrevrange(self._stream(topic), count=1)
        if not entries:
            return None
        head = orjson.loads(entries[0][1][b"message"])
        return int(head["seq"]), str(head["generation"])

    async def listen(self, on_subscribed: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
        """Every message published from now on, for ever. A lost connection is made anew; what
        was published meanwhile is missing and shows as a gap in `seq`.

        `on_subscribed` is called each time that messages begin (again) to arrive.
        """
        pause_s = RECONNECT_MIN_S
        while True:
            try:
                async for kind, data in self._subscribed():
                    pause_s = RECONNECT_MIN_S
                    if kind == "message":
                        for at, message in enumerate(data.split(b"\n"), 1):
                            yield message
                            if at % LINES_A_TURN == 0:
                                await asyncio.sleep(0)
                    elif on_subscribed:
                        on_subscribed()
            except Exception as error:
                if not valkey.unavailable(error):
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)

    async def _subscribed(self) -> AsyncIterator[tuple[str, bytes]]:
        pubsub = self._client.pubsub()
        try:
            await valkey.whole(pubsub.subscribe(self._channel))
            silences = 0
            while silences < SILENCES_MAX:
                with valkey.cancellable():
                    reply = await pubsub.get_message(timeout=SILENCE_S)
                    if reply is None:
                        await pubsub.ping()
                silences = 0 if reply else silences + 1
                if reply and reply["type"] in ("message", "subscribe"):
                    yield reply["type"], _data(reply)
        finally:
            await _close(pubsub)

    def _said_keys(self, bucket: int) -> list[str]:
        return [f"{self._namespace}:{name}:{bucket}" for name in ("fence", "said", "open")]

    def _stream(self, topic: str) -> str:
        return f"{self._namespace}:stream:{topic}"

    def _counter(self, topic: str) -> str:
        return f"{self._namespace}:counter:{topic}"


def _mark(number: bytes, block_hash: bytes, messages: list[bytes]) -> Mark:
    found = tuple(orjson.loads(one + b"}")["data"] for one in messages if one)
    at = FeedPosition(int(number), bytes.fromhex(block_hash.decode()))
    return Mark(at, found, whole=len(found) == len(messages))


def _said(item: Item) -> list[str | int | bytes]:
    if isinstance(item, Back):
        return ["back", item.to.number, item.to.hash.hex(), "", "", "", ""]
    if isinstance(item, Lift):
        return ["lift", item.to.number, item.to.hash.hex(), "", "", "", ""]
    if isinstance(item, Gap):
        return ["gap", item.at.number, item.at.hash.hex(), "", "", "", ""]
    at, wallet = item.sealed_in, topic_of_user(str(item.data["userAddress"]))
    # Once for both topics; its wallet's has the event in it too.
    shown = orjson.dumps(item.data)
    mine = b'{"event":' + orjson.dumps(item.event) + b"," + shown[1:]
    kind = "sealed" if at else "open" if item.event == "transaction" else "retracted"
    kind = "untrue" if item.only_open else kind
    return [
        kind,
        at.number if at else -1,
        at.hash.hex() if at else "",
        _counted("trades", item.event, orjson.Fragment(shown)),
        wallet,
        _counted(wallet, "user", orjson.Fragment(mine)),
        f"{item.data['txHash']}:{item.data['position']}",
    ]


def _counted(topic: str, event: str, data: "dict[str, object] | orjson.Fragment") -> bytes:
    head = {"topic": topic, "event": event, "bucket": -1, "incarnation": 0, "data": data}
    return orjson.dumps(head)[:-1]


def _message(tick: Tick, bucket: int, incarnation: int) -> bytes:
    return orjson.dumps(
        {
            "topic": tick.topic,
            "event": tick.event,
            "seq": tick.seq,
            "generation": tick.generation,
            "bucket": bucket,
            "incarnation": incarnation,
            "data": tick.data,
        }
    )


def _data(reply: dict[str, Any]) -> bytes:
    data = reply["data"]
    return data if isinstance(data, bytes) else b""


async def _close(pubsub: "PubSub") -> None:
    try:
        await pubsub.aclose()  # type: ignore[no-untyped-call]
    except Exception as error:
        if not valkey.unavailable(error):
            raise
