"""The listener: follows one chain and feeds its consumers.

Start, reconnect and recovery are one path: subscribe and buffer, back-fill over HTTP to
the node's head, then take the buffered frames. A block that came both ways is a duplicate
by its hash, and an event by its identity. Blocks are sealed in order, linked by parent
hash, with all logs read by block hash. A frame, in order:
  1. head: its block and every one missing before it are read and sealed;
  2. shred, or a log without a block hash: preconfirmed, shown above the tip until the seal;
  3. log of a block above the tip: like a head, without waiting for it;
  4. log of a sealed block: it must be among that block's events, else receipts decide. Those of
     one block that wait for its seal are looked at together.
What contradicts the window is a reorg, see `actors/sealing.py`; one that is too deep, and a
hole that nothing explains, halt the listener: no more beats, so that nothing is sold as
fresh. While the node gives nothing new, no beat is sent either.

What is sealed waits for the node's answers, so it has a task of its own, in order: what is
preconfirmed of the next block does not wait for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from actors.chain_ports import Decoder, Frame, L, Source, Stream, StreamFactory
from actors.chain_ports import Log as Place
from actors.feed import BACKOFF_S_MAX, BACKOFF_S_MIN, Consumer, Send
from actors.ports import Log
from actors.preview import Preview
from actors.sealing import READ_BATCH, Sealer
from engine.chain_view import ChainView
from engine.errors import ConsistencyError, TransientError
from engine.limits import BACKFILL_RANGE, FEED_BATCH_MAX, SUBSCRIPTION_QUEUE
from engine.messages import Block, BlockHeader, FeedPosition
from engine.open_blocks import OpenBlocks
from engine.settings import ChainSettings

SILENCE_S_MIN = 3.0
SILENCE_BLOCKS = 3
HEARD_LATE_S = 0.05
FRESH_BLOCKS = 2
FINALITY_PAUSE_S = 0.2
"""Of a block time: finality is not urgent, and the block's own events go first."""

READABLE_S = 1.0
"""How long a block that was announced may stay unreadable over HTTP."""

TURN_S = 0.005
"""Of frames in a row, before others have the loop."""

PUSHED_A_TURN = 256
"""Of pushed logs that are looked at in a row: a millisecond, before others have the loop."""

T = TypeVar("T")
Sealing = Callable[[], Awaitable[None]]
"""What a frame asks for that waits for the node."""


class ChainListener(Generic[L]):
    """Plain class; `start`, then `subscribe` consumers. Every consumer gets every sealed block
    after its position, in order, until it answers; so at least once, and never with a gap."""

    def __init__(
        self,
        *,
        chain: ChainSettings,
        source: Source[L],
        stream_factory: StreamFactory,
        decoder: Decoder[L],
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        silence_s: float | None = None,
    ) -> None:
        self._chain = chain
        self._source = source
        self._stream_factory = stream_factory
        self._decoder = decoder
        self._log = log
        self._clock = clock
        self._silence_s = silence_s or max(SILENCE_S_MIN, SILENCE_BLOCKS * chain.block_time_s)
        self._wall_ns = wall_ns
        self._open = OpenBlocks(chain.chain_id)
        self._sealer: Sealer[L] = Sealer(
            chain=chain,
            source=source,
            decoder=decoder,
            log=log,
            sealed=self._on_sealed,
            rewound=self._forget_open,
            revised=self._on_revised,
            clock=clock,
            wall_ns=wall_ns,
        )
        self._preview = self._new_preview()
        self._ready = asyncio.Event()
        self._sealed = asyncio.Event()
        self._halted: str | None = None
        self._consumers: dict[str, tuple[Consumer, asyncio.Task[None]]] = {}
        self._pushed: list[tuple[Place, Frame]] = []
        self._heard_at = 0.0
        self._main: asyncio.Task[None] | None = None
        self._connected = False
        self._troubled = False
        self._counts = {"connections": 0, "shred_gaps": 0, "preconfirmed": 0}

    # --------------------------------------------------------------------- public

    async def start(self, position: FeedPosition) -> None:
        """Begin to follow. The decoder knows the tokens up to `position`, from storage.

        Returns at once: a node that is away is waited for. See `ready` and `run`.
        """
        self._sealer.learnt = max(position.number, self._sealer.learnt)
        self._main = asyncio.create_task(self._work())

    async def ready(self) -> None:
        """Wait until the window is filled to the node's head for the first time."""
        await self._ready.wait()

    async def run(self) -> None:
        """Wait until stopped. Raises what broke the work: that is a bug, the process should end."""
        assert self._main is not None, "Expected start() before run()"
        await asyncio.wait({self._main})
        if not self._main.cancelled():
            self._main.result()

    async def stop(self) -> None:
        """End all tasks and connections."""
        tasks = [task for _, task in self._consumers.values()]
        tasks += [self._main] if self._main else []
        self._consumers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def subscribe(
        self,
        name: str,
        send: Send,
        buckets: frozenset[int] | None,
        *,
        position: FeedPosition | None = None,
        trail: tuple[FeedPosition, ...] = (),
    ) -> None:
        """Feed `name` from `position`, or from where it says it is. Renewed by repeating.
        `trail` has earlier positions of it, newest first.

        With `buckets`: market events of these buckets only; None: every event.
        """
        found = self._consumers.get(name)
        if found is not None:
            if found[0].renew(send, buckets, trail=trail):
                return
            found[1].cancel()
        consumer = Consumer(
            name=name,
            send=send,
            buckets=buckets,
            position=position,
            supply=self,
            chain=self._chain,
            log=self._log,
            trail=trail,
            clock=self._clock,
        )
        self._consumers[name] = consumer, asyncio.create_task(self._feed(consumer))

    def unsubscribe(self, name: str) -> None:
        """Feed `name` no more."""
        found = self._consumers.pop(name, None)
        if found is not None:
            found[1].cancel()

    def status(self) -> dict[str, Any]:
        """Counters and lags, flat but for `consumers`."""
        view, tip_at = self._sealer.view, self._sealer.tip_at
        return {
            "tip": view.tip.number if view else None,
            "base": view.base if view else None,
            "finalised": view.finalised if view else None,
            "tip_age_s": round(self._clock() - tip_at, 3) if view else None,
            "ready": self._ready.is_set(),
            "connected": self._connected,
            "halted": self._halted,
            **self._counts,
            **self._sealer.counts,
            "consumers": {name: one.status() for name, (one, _) in self._consumers.items()},
        }

    # ------------------------------------------------------- what consumers draw from

    @property
    def window(self) -> ChainView | None:
        """See `feed.Supply`."""
        usable = self._ready.is_set() and self._halted is None
        return self._sealer.view if usable else None

    @property
    def fresh(self) -> bool:
        """See `feed.Supply`."""
        if self._clock() - self._sealer.tip_at > FRESH_BLOCKS * self._chain.block_time_s:
            return False
        # A node that is hours behind and catching up gives new blocks too.
        age_s = self._wall_ns() / 1e9 - self._sealer.tip.timestamp
        return not self._chain.head_age_max_s or age_s <= self._chain.head_age_max_s

    @property
    def open_blocks(self) -> OpenBlocks:
        """See `feed.Supply`."""
        return self._open

    @property
    def tip_at(self) -> float:
        """See `feed.Supply`."""
        return self._sealer.tip_at

    @property
    def tip_at_ns(self) -> int:
        """See `feed.Supply`."""
        return self._sealer.tip_at_ns

    async def newest_of(self, positions: Sequence[FeedPosition]) -> FeedPosition | None:
        """See `feed.Supply`."""
        for at in range(0, len(positions), READ_BATCH):
            part = positions[at : at + READ_BATCH]
            headers = await self._source.headers_at([one.number for one in part])
            for one, header in zip(part, headers, strict=True):
                if header.hash == one.hash:
                    return one
        return None

    async def history(self, position: FeedPosition, upto: int) -> AsyncIterator[list[Block]]:
        """See `feed.Supply`. The last block of each range is sent, empty or not, as a marker."""
        first = max(position.number + 1, self._chain.first_block)
        for start in range(first, upto + 1, BACKFILL_RANGE):
            last = min(start + BACKFILL_RANGE - 1, upto)
            logs = await self._source.range_logs(start, last)
            self._decoder.learn(logs)
            numbers = sorted({log.block_number for log in logs if self._decoder.ours(log)} | {last})
            for at in range(0, len(numbers), min(READ_BATCH, FEED_BATCH_MAX - 1)):
                yield await self._read_again(numbers[at : at + READ_BATCH])

    # ------------------------------------------------------------------ following

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._follow_finality())

    async def _feed(self, consumer: Consumer) -> None:
        await consumer.run()
        found = self._consumers.get(consumer.name)
        if found and found[0] is consumer and (consumer.halted or "").startswith("gone"):
            del self._consumers[consumer.name]

    async def _follow(self) -> None:
        pause_s = BACKOFF_S_MIN
        while True:
            tip_before = self._sealer.tip_at
            try:
                await self._one_connection()
            except ConsistencyError as error:
                self._halted = str(error)
                self._log.error("listener_halted", reason=self._halted)
                return
            except TransientError as error:
                if not self._troubled:
                    self._log.warning("listener_trouble", error=str(error))
                self._troubled = True
            moved = self._sealer.tip_at > tip_before
            pause_s = BACKOFF_S_MIN if moved else min(pause_s * 2, BACKOFF_S_MAX)
            await asyncio.sleep(pause_s)

    async def _one_connection(self) -> None:
        stream = self._stream_factory()
        try:
            try:
                frames = await stream.frames()
            except TransientError:
                # No subscription: at least poll the head over HTTP, once a round.
                await self._catch_up()
                raise
            self._counts["connections"] += 1
            # What was open may have been missed meanwhile: the seal tells.
            self._forget_open()
            self._pushed = []
            await self._catch_up()
            self._connected = True
            self._log.info("listener_connected", recovered=self._troubled)
            self._troubled = False
            await self._take_all(stream, frames)
        finally:
            self._connected = False
            await stream.close()

    async def _take_all(self, stream: Stream, frames: AsyncIterator[Frame]) -> None:
        sealing: asyncio.Queue[Sealing] = asyncio.Queue(SUBSCRIPTION_QUEUE)
        self._heard_at = asyncio.get_running_loop().time()
        tasks = [
            asyncio.create_task(self._take_frames(stream, frames, sealing)),
            asyncio.create_task(self._keep_sealing(sealing)),
            asyncio.create_task(self._watch_silence()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        # The graver one: a connection that ended does not hide a chain that cannot be.
        errors = [one for one in ended if isinstance(one, Exception)]
        for error in sorted(errors, key=lambda one: isinstance(one, TransientError)):
            raise error

    async def _take_frames(
        self, stream: Stream, frames: AsyncIterator[Frame], sealing: "asyncio.Queue[Sealing]"
    ) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.time()
        async for frame in frames:
            if frame.kind == "head":
                _put(sealing, self._head(frame))
                self._heard_at = loop.time()
            elif frame.kind == "shred":
                self._shred(frame, stream)
            elif (work := self._log_frame(frame)) is not None:
                _put(sealing, work)
            # Frames that wait are no pause: what they bring would neither be sent nor sealed.
            if frame.kind == "head" or loop.time() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = loop.time()

    async def _watch_silence(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            heard_at = self._heard_at
            await asyncio.sleep(heard_at + self._silence_s - loop.time())
            # Where the process itself stood still, what waits is heard first.
            if heard_at == self._heard_at:
                await asyncio.sleep(HEARD_LATE_S)
            if heard_at == self._heard_at:
                message = f"Expected a head within {self._silence_s} s, was none"
                raise TransientError("stale_chain", message)

    async def _keep_sealing(self, sealing: "asyncio.Queue[Sealing]") -> None:
        while True:
            work = await sealing.get()
            await work()

    def _head(self, frame: Frame) -> Sealing:
        header = self._source.header_of(frame.payload)
        self._sealer.seen(header.number, frame.received_ns)
        return lambda: self._readable(lambda: self._sealer.reach(header))

    def _shred(self, frame: Frame, stream: Stream) -> None:
        try:
            shred = self._source.shred_of(frame.payload)
        except TransientError as error:
            stream.refuse_shreds(str(error))
            raise
        if shred.block_number <= self._sealer.tip.number:
            return
        self._sealer.seen(shred.block_number, frame.received_ns)
        gaps = self._preview.gaps
        self._previewed(self._preview.shred(shred, frame.received_ns))
        self._counts["shred_gaps"] += self._preview.gaps - gaps

    def _log_frame(self, frame: Frame) -> Sealing | None:
        place = self._source.place_of(frame.payload)
        self._sealer.seen(place.block_number, frame.received_ns)
        if place.block_hash is not None:
            return self._pushed_log(place, frame)
        log = self._source.log_of(frame.payload)
        if log.block_number > self._sealer.tip.number and self._decoder.ours(log):
            self._previewed(self._preview.log(log, frame.received_ns))
        return None

    def _pushed_log(self, place: Place, frame: Frame) -> Sealing | None:
        waiting = self._pushed
        if len(waiting) >= SUBSCRIPTION_QUEUE:
            raise TransientError("stale_chain", "Expected blocks to be read faster")
        if waiting and waiting[-1][0].block_hash == place.block_hash:
            waiting.append((place, frame))
            return None
        self._pushed = waiting = [(place, frame)]
        return lambda: self._pushed_logs(waiting)

    async def _pushed_logs(self, waiting: list[tuple[Place, Frame]]) -> None:
        logs = waiting.copy()
        waiting.clear()  # what comes from now on is looked at anew
        for at, (place, frame) in enumerate(logs, 1):
            if not self._sealer.holds(place):
                await self._sealed_log(self._source.log_of(frame.payload))
            if at % PUSHED_A_TURN == 0:
                await asyncio.sleep(0)

    async def _sealed_log(self, log: L) -> None:
        if log.block_number > self._sealer.tip.number:
            await self._readable(lambda: self._sealer.reach_hash(log))
        await self._readable(lambda: self._sealer.must_hold(log))

    def _previewed(self, something: bool) -> None:
        if something:
            self._counts["preconfirmed"] += 1
            self._wake(self._ready.is_set())

    async def _readable(self, read: Callable[[], Awaitable[None]]) -> None:
        # A block may be announced before it can be read; a lagging replica says "not found".
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READABLE_S
        pause_s = 0.005
        while True:
            try:
                return await read()
            except TransientError:
                if loop.time() > deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)

    async def _catch_up(self) -> None:
        await self._sealer.catch_up()
        self._ready.set()
        self._wake(True)

    async def _read_again(self, numbers: list[int]) -> list[Block]:
        headers = await self._source.headers_at(numbers)
        pairs = zip(headers, await self._source.blocks_logs(headers), strict=True)
        decode = self._decoder.decode
        return [Block(one, decode(logs, block_time=one.timestamp)) for one, logs in pairs]

    def _on_sealed(self, header: BlockHeader) -> None:
        self._open.seal(header.number)
        self._preview.sealed(header.number)
        self._sealed.set()
        self._wake(self._ready.is_set())

    def _forget_open(self) -> None:
        self._open.clear()
        self._preview = self._new_preview()

    def _on_revised(self, ancestor: FeedPosition) -> None:
        for consumer, _ in self._consumers.values():
            consumer.go_back(ancestor)

    def _new_preview(self) -> Preview[L]:
        order = self._source.shred_order()
        return Preview(self._open, self._decoder, order, log=self._log)

    def _wake(self, ready: bool) -> None:
        if ready:
            for consumer, _ in self._consumers.values():
                consumer.wake()

    # ------------------------------------------------------------------- finality

    async def _follow_finality(self) -> None:
        troubled = False
        await self._ready.wait()
        while True:
            self._sealed.clear()
            await asyncio.sleep(FINALITY_PAUSE_S * self._chain.block_time_s)
            try:
                number = await self._source.finalised()
                view = self._sealer.view
                if view is not None and view.finalise(number):
                    self._wake(True)
                troubled = False
            except TransientError as error:
                if not troubled:
                    self._log.warning("finality_unknown", error=str(error))
                troubled = True
            await self._sealed.wait()


def _put(sealing: "asyncio.Queue[Sealing]", work: Sealing) -> None:
    try:
        sealing.put_nowait(work)
    except asyncio.QueueFull as error:
        raise TransientError("stale_chain", "Expected blocks to be read faster") from error
