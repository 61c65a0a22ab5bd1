"""What read replicas are told, over Redis: a channel a bucket, and one for all shards' beats.

Nothing is kept: who was not there asks the shard. What waits for a slow door waits in Redis,
which cuts it off at `client-output-buffer-limit`; here one message is read after another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from engine.packed_states import pack_beat, pack_states, unpack_beat, unpack_states
from engine.states import Beat, BucketStates, Cut, Deaf, Heard, Listening, Published
from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

LOOK_S = 0.05
"""How often it is looked which buckets are in use: a new one waits so long."""

QUIET_LOOK_S = 0.2
"""So often where no bucket is heard: the first one is wanted by who is answered elsewhere."""

SILENCE_S = 1.0
SILENCES_MAX = 3
RECONNECT_MIN_S = 0.05
RECONNECT_MAX_S = 1.0


class States:
    """Publishes, and hears, `BucketStates` and `Beat`."""

    def __init__(self, client: "Redis", *, namespace: str = valkey.NAMESPACE) -> None:
        self._client = client
        self._publish = valkey.Script(client, "publish_states")
        self._namespace = namespace
        self._beats = f"{namespace}:beats"
        self._prefix = f"{namespace}:state:"

    async def publish(self, messages: Sequence[BucketStates | Beat]) -> Published:
        """In order, each or not at all.

        Raises TransientError (store_unavailable); whether they went out is then unknown.
        """
        places: dict[int, int] = {}
        arguments: list[str | int | bytes] = [len(messages)]
        named = [_named(message) for message in messages]
        for message, marks in zip(messages, named, strict=True):
            arguments += [*self._packed(message), len(marks)]
            for bucket, incarnation in marks:
                arguments += [places.setdefault(bucket, len(places) + 1), incarnation]
        if not places:
            return Published(())
        keys = [f"{self._namespace}:fence:{bucket}" for bucket in places]
        answers = await self._publish.run(keys, arguments)
        buckets = {place: bucket for bucket, place in places.items()}
        refused: dict[tuple[int, int], None] = {}
        doors = None
        for message, marks, answer in zip(messages, named, answers, strict=True):
            if answer[0] < 0:
                lost = {buckets[place] for place in answer[1:]}
                refused |= {mark: None for mark in marks if mark[0] in lost}
            elif isinstance(message, Beat):
                doors = int(answer[0])
        return Published(tuple(refused), doors)

    async def doors(self, buckets: Sequence[int]) -> dict[int, int]:
        """How many hear the messages of each bucket. Raises TransientError (store_unavailable)."""
        async with valkey.guarded():
            found: Any = await self._client.pubsub_numsub(*(f"{self._prefix}{b}" for b in buckets))
        return {int(bytes(name).decode().removeprefix(self._prefix)): int(n) for name, n in found}

    async def listen(self, wanted: Callable[[], frozenset[int]]) -> AsyncIterator[Heard]:
        """All beats, and what is said of the buckets that are `wanted`, for ever. A lost
        connection is made anew; what was said meanwhile is missing.
        """
        pause_s = RECONNECT_MIN_S
        while True:
            try:
                async for heard in self._subscribed(wanted):
                    pause_s = RECONNECT_MIN_S
                    yield heard
            except Exception as error:
                if not valkey.unavailable(error):
                    raise
            yield Cut()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)

    async def _subscribed(self, wanted: Callable[[], frozenset[int]]) -> AsyncIterator[Heard]:
        pubsub = self._client.pubsub()
        loop = asyncio.get_running_loop()
        here: frozenset[int] = frozenset()
        look_at = heard_at = loop.time()
        silences = 0
        try:
            await valkey.whole(pubsub.subscribe(self._beats))
            while silences < SILENCES_MAX:
                if loop.time() >= look_at:
                    look_at = loop.time() + LOOK_S
                    now = wanted()
                    for bucket in here - now:
                        yield Deaf(bucket)
                    await self._change(pubsub, here, now)
                    here = now
                with valkey.cancellable():
                    reply = await pubsub.get_message(timeout=LOOK_S if here else QUIET_LOOK_S)
                if reply is not None:
                    heard_at, silences = loop.time(), 0
                    heard = self._heard(reply)
                    if heard is not None:
                        yield heard
                elif loop.time() - heard_at > SILENCE_S * (silences + 1):
                    silences += 1
                    await valkey.whole(pubsub.ping())
        finally:
            await _close(pubsub)

    async def _change(self, pubsub: "PubSub", before: frozenset[int], now: frozenset[int]) -> None:
        gone = [f"{self._prefix}{bucket}" for bucket in before - now]
        come = [f"{self._prefix}{bucket}" for bucket in now - before]
        if gone:
            await valkey.whole(pubsub.unsubscribe(*gone))
        if come:
            await valkey.whole(pubsub.subscribe(*come))

    def _heard(self, reply: dict[str, Any]) -> Heard | None:
        channel = bytes(reply["channel"] or b"").decode()
        if reply["type"] == "subscribe" and channel != self._beats:
            return Listening(int(channel.removeprefix(self._prefix)))
        if reply["type"] != "message":
            return None
        try:
            packed = orjson.loads(reply["data"])
            return unpack_beat(packed) if channel == self._beats else unpack_states(packed)
        except (ValueError, TypeError, IndexError):
            return None  # of another build: missing, which shows as a gap

    def _packed(self, message: BucketStates | Beat) -> tuple[str, bytes]:
        if isinstance(message, Beat):
            return self._beats, orjson.dumps(pack_beat(message))
        return f"{self._prefix}{message.bucket}", orjson.dumps(pack_states(message))


def _named(message: BucketStates | Beat) -> list[tuple[int, int]]:
    if isinstance(message, BucketStates):
        return [(message.bucket, message.incarnation)]
    return [(one.bucket, one.incarnation) for each in message.standings for one in each.marks]


async def _close(pubsub: "PubSub") -> None:
    try:
        await pubsub.aclose()  # type: ignore[no-untyped-call]
    except Exception as error:
        if not valkey.unavailable(error):
            raise
