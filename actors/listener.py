"""The listener: follows one chain and feeds its consumers.

Start, reconnect and recovery are one path: subscribe and buffer, back-fill over HTTP to
the node's head, then take the buffered frames. A block that came both ways is a duplicate
by its hash, and an event by its identity. Blocks are sealed in order, linked by parent
hash, with all logs read by block hash. A frame, in order:
  1. head: its block and every one missing before it are read and sealed;
  2. log of a block above the tip: the same, without waiting for the head;
  3. log of a sealed block: it must be among that block's events, else receipts decide.
A head that contradicts the window halts the listener: no more beats, so that nothing is
sold as fresh. While the node gives nothing new, no beat is sent either.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from actors.chain_ports import Decoder, Frame, L, Source, StreamFactory
from actors.feed import BACKOFF_S_MAX, BACKOFF_S_MIN, Consumer, Send
from actors.ports import Log
from engine.chain_view import ChainView, Duplicate, EventSeqs, Gap, Reorged
from engine.errors import ConsistencyError, TransientError
from engine.limits import BACKFILL_RANGE, FEED_BATCH_MAX
from engine.messages import Block, BlockHeader, ChainEvent, FeedPosition
from engine.settings import ChainSettings

SILENCE_S_MIN = 3.0
SILENCE_BLOCKS = 3
FRESH_BLOCKS = 2
FINALITY_PAUSE_S = 0.2
"""Of a block time: finality is not urgent, and the block's own events go first."""

READ_BATCH = 50
"""Blocks read at once while back-filling: their logs are held in memory together."""

READABLE_S = 1.0
"""How long a block that was announced may stay unreadable over HTTP."""

T = TypeVar("T")


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
        silence_s: float | None = None,
    ) -> None:
        self._chain = chain
        self._source = source
        self._stream_factory = stream_factory
        self._decoder = decoder
        self._log = log
        self._clock = clock
        self._silence_s = silence_s or max(SILENCE_S_MIN, SILENCE_BLOCKS * chain.block_time_s)
        self._view: ChainView | None = None
        self._ready = asyncio.Event()
        self._sealed = asyncio.Event()
        self._halted: str | None = None
        self._learnt = chain.first_block - 1
        self._seqs = EventSeqs()
        self._first_seen: dict[int, int] = {}
        self._tip_at = float("-inf")
        self._consumers: dict[str, tuple[Consumer, asyncio.Task[None]]] = {}
        self._main: asyncio.Task[None] | None = None
        self._connected = False
        self._troubled = False
        self._counts = {"connections": 0, "blocks": 0, "events": 0, "reread": 0, "false_pushes": 0}

    # --------------------------------------------------------------------- public

    async def start(self, position: FeedPosition) -> None:
        """Begin to follow. The decoder knows the tokens up to `position`, from storage.

        Returns at once: a node that is away is waited for. See `ready` and `run`.
        """
        self._learnt = max(position.number, self._learnt)
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
    ) -> None:
        """Feed `name` from `position`, or from where it says it is. Renewed by repeating.

        With `buckets`: market events of these buckets only; None: every event.
        """
        found = self._consumers.get(name)
        if found is not None:
            if found[0].renew(send, buckets, position):
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
        view = self._view
        return {
            "tip": view.tip.number if view else None,
            "base": view.base if view else None,
            "finalised": view.finalised if view else None,
            "tip_age_s": round(self._clock() - self._tip_at, 3) if view else None,
            "ready": self._ready.is_set(),
            "connected": self._connected,
            "halted": self._halted,
            **self._counts,
            "consumers": {name: one.status() for name, (one, _) in self._consumers.items()},
        }

    # ------------------------------------------------------- what consumers draw from

    @property
    def window(self) -> ChainView | None:
        """See `feed.Supply`."""
        usable = self._ready.is_set() and self._halted is None
        return self._view if usable else None

    @property
    def fresh(self) -> bool:
        """See `feed.Supply`."""
        return self._clock() - self._tip_at <= FRESH_BLOCKS * self._chain.block_time_s

    async def history(self, position: FeedPosition, upto: int) -> AsyncIterator[list[Block]]:
        """See `feed.Supply`. The last block of each range is sent, empty or not, as a marker."""
        if position.number >= 0:
            header = await self._source.header(position.number)
            if header is not None and header.hash != position.hash:
                raise ConsistencyError("unknown_position", f"Expected {header}, was {position}")
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
            tip_before = self._tip_at
            try:
                await self._one_connection()
            except ConsistencyError as error:
                # Part of a later step: an ordinary reorg becomes a `Reorg` message here.
                self._halted = str(error)
                self._log.error("listener_halted", reason=self._halted)
                return
            except TransientError as error:
                if not self._troubled:
                    self._log.warning("listener_trouble", error=str(error))
                self._troubled = True
            moved = self._tip_at > tip_before
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
            await self._catch_up()
            self._connected = True
            self._log.info("listener_connected", recovered=self._troubled)
            self._troubled = False
            await self._take_frames(frames)
        finally:
            self._connected = False
            await stream.close()

    async def _take_frames(self, frames: AsyncIterator[Frame]) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(heard + self._silence_s):
                    frame = await anext(frames)
            except TimeoutError as error:
                message = f"Expected a head within {self._silence_s} s, was none"
                raise TransientError("stale_chain", message) from error
            if frame.kind == "head":
                await self._head(frame)
                heard = loop.time()
            else:
                await self._log_frame(frame)

    async def _head(self, frame: Frame) -> None:
        header = self._source.header_of(frame.payload)
        self._seen(header.number, frame)
        await self._readable(lambda: self._reach(header))

    async def _log_frame(self, frame: Frame) -> None:
        log = self._source.log_of(frame.payload)
        self._seen(log.block_number, frame)
        if log.block_hash is None:
            return  # Preconfirmed: the overlay's, in a later part.
        if log.block_number > self._tip.number:
            await self._readable(lambda: self._reach_hash(log))
        await self._must_hold(log)

    def _seen(self, number: int, frame: Frame) -> None:
        if number > self._tip.number and len(self._first_seen) < self._chain.reorg_depth_max:
            self._first_seen.setdefault(number, frame.received_ns)

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

    # -------------------------------------------------------------------- sealing

    @property
    def _tip(self) -> BlockHeader:
        assert self._view is not None, "Expected an open window"
        return self._view.tip

    async def _catch_up(self) -> None:
        head = await self._source.head()
        if self._view is None:
            self._view = await self._open(head)
        await self._reach(head)
        self._ready.set()

    async def _open(self, head: BlockHeader) -> ChainView:
        first = max(self._chain.first_block - 1, 0)
        if head.number < first:
            raise TransientError("stale_chain", f"Expected block {first}, was {head.number}")
        base = max(first, head.number - self._chain.reorg_depth_max)
        while self._learnt < base:
            last = min(self._learnt + BACKFILL_RANGE, base)
            self._decoder.learn(await self._source.range_logs(self._learnt + 1, last))
            self._learnt = last
        (anchor,) = await self._source.headers(base, base)
        return ChainView(anchor, self._chain.reorg_depth_max)

    async def _reach_hash(self, log: L) -> None:
        if log.block_hash is None or log.block_number <= self._tip.number:
            return
        found = await self._source.header_and_logs(log.block_hash)
        if found is None:
            raise TransientError("stale_chain", f"Expected block {log.block_number}, was none")
        await self._reach(*found, pushed=log)

    async def _reach(
        self, header: BlockHeader, logs: list[L] | None = None, pushed: L | None = None
    ) -> None:
        assert self._view is not None
        verdict = self._view.judge(header)
        if isinstance(verdict, Gap):
            await self._fill(verdict.first, verdict.last)
            verdict = self._view.judge(header)
        if isinstance(verdict, Duplicate):
            return
        if isinstance(verdict, Reorged):
            raise _contradiction(verdict, self._tip)
        if logs is None:
            logs = await self._source.block_logs(header)
        await self._seal(header, logs, pushed)

    async def _fill(self, first: int, last: int) -> None:
        assert self._view is not None
        for start in range(first, last + 1, READ_BATCH):
            headers = await self._source.headers(start, min(start + READ_BATCH - 1, last))
            for header, logs in zip(headers, await self._source.blocks_logs(headers), strict=True):
                verdict = self._view.judge(header)
                if isinstance(verdict, Reorged):
                    raise _contradiction(verdict, self._tip)
                await self._seal(header, logs, None)

    async def _seal(self, header: BlockHeader, logs: list[L], pushed: L | None) -> None:
        assert self._view is not None
        events = self._decoder.decode(logs, block_time=header.timestamp)
        fault = self._seqs.fault(events)
        unexplained = pushed is not None and self._decoder.ours(pushed) and not _has(events, pushed)
        if fault is not None or unexplained:
            events = await self._from_receipts(header)
            fault = self._seqs.fault(events)
        if fault is not None:
            raise ConsistencyError("lost_log", f"{fault} in block {header.number}")
        self._seqs.note(events)
        self._view.extend(Block(header, events, self._first_seen.pop(header.number, 0)))
        self._tip_at = self._clock()
        self._counts["blocks"] += 1
        self._counts["events"] += len(events)
        for number in [n for n in self._first_seen if n <= header.number]:
            del self._first_seen[number]
        self._tell()

    async def _must_hold(self, log: L) -> None:
        assert self._view is not None
        block = self._view.block(log.block_number)
        if block is None or block.header.hash != log.block_hash:
            return  # Another fork's: its head decides.
        if not self._decoder.ours(log) or _has(block.events, log):
            return
        if await self._from_receipts(block.header) != block.events:
            # Consumers have this block without the event. A later part sends it anew.
            raise ConsistencyError("lost_log", f"Expected {log} among its block's events")
        self._counts["false_pushes"] += 1
        self._log.warning("pushed_log_unknown", block=log.block_number, log_index=log.log_index)

    async def _from_receipts(self, header: BlockHeader) -> tuple[ChainEvent, ...]:
        self._counts["reread"] += 1
        self._log.warning("block_reread_by_receipts", block=header.number)
        logs = await self._source.receipt_logs(header)
        return self._decoder.decode(logs, block_time=header.timestamp)

    async def _read_again(self, numbers: list[int]) -> list[Block]:
        headers = await self._source.headers_at(numbers)
        pairs = zip(headers, await self._source.blocks_logs(headers), strict=True)
        decode = self._decoder.decode
        return [Block(one, decode(logs, block_time=one.timestamp)) for one, logs in pairs]

    def _tell(self) -> None:
        if self._ready.is_set():
            for consumer, _ in self._consumers.values():
                consumer.wake()
            self._sealed.set()

    # ------------------------------------------------------------------- finality

    async def _follow_finality(self) -> None:
        troubled = False
        await self._ready.wait()
        while True:
            self._sealed.clear()
            await asyncio.sleep(FINALITY_PAUSE_S * self._chain.block_time_s)
            try:
                number = await self._source.finalised()
                if self._view is not None and self._view.finalise(number):
                    for consumer, _ in self._consumers.values():
                        consumer.wake()
                troubled = False
            except TransientError as error:
                if not troubled:
                    self._log.warning("finality_unknown", error=str(error))
                troubled = True
            await self._sealed.wait()


def _has(events: tuple[ChainEvent, ...], log: L) -> bool:
    at = bisect_left(events, log.log_index, key=lambda event: event.at.log_index)
    if at == len(events):
        return False
    found = events[at].at
    return found.log_index == log.log_index and found.tx_hash == log.tx_hash


def _contradiction(verdict: Reorged, tip: BlockHeader) -> ConsistencyError:
    return ConsistencyError(
        "reorg",
        f"Expected a block on {tip.number} 0x{tip.hash.hex()}, was {verdict.header.number} "
        f"0x{verdict.header.hash.hex()} on 0x{verdict.header.parent_hash.hex()}",
    )
