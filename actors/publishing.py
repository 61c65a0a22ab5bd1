"""From changes to ticks: numbering per topic, fenced publication, in order, never blocking.

A token's topic is numbered by its owner: `seq` without a gap within a `generation`, which
is new with each incarnation, and whenever a tick could not be published. So a client that
sees a new generation asks for a snapshot, and a gap in `seq` is always a loss it can see.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from actors.ports import Log, Ticks
from engine import text, ticks
from engine.errors import TransientError
from engine.group import Change, Group
from engine.limits import MAILBOX_MAX
from engine.market import PoolOpened, SalesResumed, SoldOut
from engine.messages import Tick


@dataclass(frozen=True, slots=True)
class _Parcel:
    bucket: int
    incarnation: int
    ticks: tuple[Tick, ...]


class Publisher:
    """One queue, drained in order by `run`. `lost(bucket, incarnation)` is told of a fence."""

    def __init__(self, port: Ticks, log: Log, lost: Callable[[int, int], None]) -> None:
        self._ticks = port
        self._log = log
        self._lost = lost
        self._queue: asyncio.Queue[_Parcel] = asyncio.Queue(MAILBOX_MAX)
        self._trades: asyncio.Queue[Tick] = asyncio.Queue(MAILBOX_MAX)
        self._generations: dict[int, str] = {}
        self._down = False
        self.published = 0
        self.dropped = 0

    def open(self, bucket: int, incarnation: int) -> None:
        """A bucket is owned with this incarnation: its topics get a new generation."""
        self._generations[bucket] = f"{incarnation}-{secrets.token_hex(4)}"

    def close(self, bucket: int) -> None:
        """A bucket is not owned any more."""
        self._generations.pop(bucket, None)

    def generation(self, bucket: int) -> str:
        """The generation of the topics of a bucket's tokens."""
        return self._generations.get(bucket, "")

    def publish(self, group: Group, changes: list[Change]) -> None:
        """Number and queue the ticks of `changes`; a full queue drops and says so."""
        for change in changes:
            made = tuple(self._ticks_of(group, change))
            parcel = _Parcel(change.bucket, group.incarnations[change.bucket], made)
            try:
                self._queue.put_nowait(parcel)
            except asyncio.QueueFull:
                self._drop(parcel)

    async def run(self) -> None:
        """Drain until cancelled: all that waits in one round trip, each bucket's ticks in order."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_buckets())
            tasks.create_task(self._run_trades())

    async def _run_buckets(self) -> None:
        while True:
            parcels = [await self._queue.get()]
            while not self._queue.empty():
                parcels.append(self._queue.get_nowait())
            try:
                await self._send(_merged(parcels))
            finally:
                for _ in parcels:
                    self._queue.task_done()

    async def _run_trades(self) -> None:
        # The topics of all trades and of a wallet have many writers and are numbered by Redis.
        while True:
            tick = await self._trades.get()
            try:
                await self._ticks.publish_counted("trades", tick.event, tick.data)
                mine = text.topic_of_user(str(tick.data["userAddress"]))
                await self._ticks.publish_counted(mine, "user", {"event": tick.event} | tick.data)
            except TransientError:
                self.dropped += 1
            finally:
                self._trades.task_done()

    async def flush(self) -> None:
        """Wait until everything queued is sent or dropped, at most 2 s."""
        try:
            async with asyncio.timeout(2.0):
                await self._queue.join()
                await self._trades.join()
        except TimeoutError:
            self._log.warning("ticks_unsent", waiting=self._queue.qsize())

    async def _send(self, parcels: list[_Parcel]) -> None:
        try:
            answers = await self._ticks.publish_all(
                [(parcel.bucket, parcel.incarnation, parcel.ticks) for parcel in parcels]
            )
        except TransientError as error:
            for parcel in parcels:
                self._drop(parcel)
            if not self._down:
                self._log.warning("ticks_down", error=str(error))
            self._down = True
            return
        for parcel, accepted in zip(parcels, answers, strict=True):
            if accepted:
                self._sent(parcel)
            else:
                self._lost(parcel.bucket, parcel.incarnation)
        if self._down:
            self._log.info("ticks_back")
        self._down = False

    def _sent(self, parcel: _Parcel) -> None:
        self.published += len(parcel.ticks)
        for tick in parcel.ticks:
            if tick.event in ("transaction", "retracted") and not self._trades.full():
                self._trades.put_nowait(tick)

    def _drop(self, parcel: _Parcel) -> None:
        self.dropped += len(parcel.ticks)
        if parcel.bucket in self._generations:
            self.open(parcel.bucket, parcel.incarnation)

    def _ticks_of(self, group: Group, change: Change) -> list[Tick]:
        data: list[tuple[str, dict[str, object]]] = []
        if change.market is not None:
            # The price first: it is what somebody waits for.
            price = ticks.price_data(change.market, change.as_of, change.received_ns)
            data.append(("price", price))
        # Before what came in its place: a transaction that is sealed otherwise than it was
        # preconfirmed has the same identity, and the last word on it must be the true one.
        for shown in change.retracted:
            data.append(("retracted", ticks.retracted_data(shown, change.as_of)))
        if change.market is not None:
            for effect in change.effects:
                event = ticks.event_of(effect)
                if event is not None:
                    data.append(("transaction", ticks.transaction_data(event, change.events_as_of)))
                elif isinstance(effect, SoldOut | PoolOpened | SalesResumed):
                    data.append(("graduation", price))
        topic, generation = text.topic_of_token(change.token), self.generation(change.bucket)
        return [
            Tick(topic, name, group.next_seq(change.token), generation, fields)
            for name, fields in data
        ]


def _merged(parcels: list[_Parcel]) -> list[_Parcel]:
    # One parcel a bucket and incarnation, in order; a lower incarnation is refused anyway.
    ticks: dict[tuple[int, int], list[Tick]] = {}
    for parcel in parcels:
        ticks.setdefault((parcel.bucket, parcel.incarnation), []).extend(parcel.ticks)
    return [_Parcel(bucket, number, tuple(made)) for (bucket, number), made in ticks.items()]
