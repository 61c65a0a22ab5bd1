"""What a shard tells read replicas: the markets of buckets in use as they change, and beats.

One queue, sent in order, so that a beat never names what is still behind it. A message that is
lost, here or on its way, has a number all the same: replicas see the gap and ask again. A shard
that nobody listens to says nothing, and nothing of a bucket that no door hears any more.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import ceil

from actors.ports import Log, StatesOut
from engine.errors import TransientError
from engine.group import Change, Group
from engine.limits import REPLICA_BEAT_S, REPLICA_QUEUE_MAX
from engine.states import (
    Beat,
    BucketStates,
    Entry,
    Numbering,
    Place,
    Standing,
    place_of,
    state_of,
    touched,
)

SILENCE_MS_MAX = 10**9
UNHEARD_BEATS_MAX = 50
"""Beats that no door heard, one after the other, until nobody is listened for: two seconds."""

LOOK_S = 1.0
"""Between two questions which buckets no door hears."""

UNHEARD_LOOKS_MAX = 2
"""Such answers about a bucket, one after the other, until it is told of no more: 50 beats. One may
come while a door's connection is made anew."""

Silence = Callable[[Group], float]


class Replicator:
    """`silence_s` of a group is the age of its newest head beat; `lost(bucket, incarnation)` is
    told of a fence.
    """

    def __init__(
        self,
        port: StatesOut,
        log: Log,
        *,
        groups: Callable[[], Iterable[Group]],
        silence_s: Silence,
        lost: Callable[[int, int], None],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._port = port
        self._log = log
        self._groups = groups
        self._silence_s = silence_s
        self._lost = lost
        self._wall_ns = wall_ns
        self._numbering = Numbering()
        self._places: dict[str, Place] = {}
        self._queue: asyncio.Queue[BucketStates | Beat] = asyncio.Queue(REPLICA_QUEUE_MAX)
        self._in_use = asyncio.Event()
        self._unheard = 0
        self._unheard_looks: dict[int, int] = {}
        self._down = False
        self.published = 0
        self.dropped = 0

    def entry(self, group: Group, token: bytes, bucket: int) -> Entry:
        """A market, whole; its bucket is in use from now on."""
        self._numbering.use(bucket)
        self._in_use.set()
        self._unheard = 0
        self._unheard_looks.pop(bucket, None)
        seq = self._numbering.seq(bucket)
        return Entry(bucket, group.incarnations[bucket], seq, state_of(group, token))

    def close(self, bucket: int) -> None:
        """A bucket is not owned any more."""
        self._numbering.close(bucket)

    def forget(self, group: str) -> None:
        """A group is no more."""
        self._places.pop(group, None)

    def stop(self) -> None:
        """Say no more: replicas let go once their lease ends."""
        self._numbering.unused()

    def applied(
        self, group: Group, changes: Iterable[Change], previewed: Iterable[bytes] = ()
    ) -> None:
        """A group made a step: these changed, and those had something preconfirmed before it."""
        before, place = self._place(group), self._step(group)
        if not self._numbering.used:
            return
        for message in self._numbering.changed(
            group,
            touched([change.token for change in changes], previewed),
            place=place,
            silence_ms=self._silence_ms(group),
            made_ns=self._wall_ns(),
        ):
            self._put(message)
        if replace(before, step=place.step) != place:
            self._put_beat()  # of the markets that did not change, the block that they stand on

    def untold(self, group: Group) -> None:
        """A step that is not told: it broke off, or doors do not know yet whose the group is."""
        self._step(group)
        self._numbering.skip(group.incarnations)

    async def run(self) -> None:
        """Send and beat until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_queue())
            tasks.create_task(self._run_beats())
            tasks.create_task(self._run_looks())

    async def _run_beats(self) -> None:
        while True:
            await self._in_use.wait()
            await asyncio.sleep(REPLICA_BEAT_S)
            if self._numbering.used:
                self._put_beat()
            else:
                self._in_use.clear()

    async def _run_looks(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._numbering.used:
                await self._look()

    async def _look(self) -> None:
        # Who asks for a market has subscribed before, but maybe after it was counted.
        before = {one: self._unheard_looks.get(one, 0) for one in self._numbering.buckets}
        self._unheard_looks = dict(before)
        try:
            doors = await self._port.doors(sorted(before))
        except TransientError:
            return  # nothing was heard of anybody
        for bucket, looks in before.items():
            if self._unheard_looks.get(bucket) != looks:
                continue  # asked for meanwhile
            self._unheard_looks[bucket] = 0 if doors.get(bucket, 1) else looks + 1
            if self._unheard_looks[bucket] >= UNHEARD_LOOKS_MAX:
                self._numbering.drop(bucket)

    async def _run_queue(self) -> None:
        while True:
            messages = [await self._queue.get()]
            while not self._queue.empty():
                messages.append(self._queue.get_nowait())
            await self._send(messages)

    async def _send(self, messages: list[BucketStates | Beat]) -> None:
        try:
            done = await self._port.publish(messages)
        except TransientError as error:
            self.dropped += len(messages)
            if not self._down:
                self._log.warning("states_down", error=str(error))
            self._down = True
            return
        self.published += len(messages)
        if self._down:
            self._log.info("states_back")
        self._down = False
        for bucket, incarnation in done.refused:
            self._lost(bucket, incarnation)
        self._count_doors(done.doors)

    def _count_doors(self, doors: int | None) -> None:
        if doors is None:
            return
        self._unheard = 0 if doors else self._unheard + 1
        if self._unheard >= UNHEARD_BEATS_MAX:
            self._numbering.unused()

    def _put_beat(self) -> None:
        standings = tuple(
            Standing(self._place(group), self._silence_ms(group), marks)
            for group in self._groups()
            if (marks := self._numbering.marks(group))
        )
        if standings:
            self._put(Beat(self._wall_ns(), standings))

    def _place(self, group: Group) -> Place:
        known = self._places.get(group.name)
        return known or place_of(group, 0)

    def _step(self, group: Group) -> Place:
        self._places[group.name] = place_of(group, self._place(group).step + 1)
        return self._places[group.name]

    def _put(self, message: BucketStates | Beat) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.dropped += 1

    def _silence_ms(self, group: Group) -> int:
        return ceil(min(self._silence_s(group) * 1e3, SILENCE_MS_MAX))
