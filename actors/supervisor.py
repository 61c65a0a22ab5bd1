"""The supervisor: fills every slot with a living actor and every bucket with an owner.

Each round, in order:
  1. ping all instances; one that is dead or silent is ended by its pid and forgotten;
  2. empty slots are filled, each in a task of its own; who fills no slot is ended, a shard
     not before all its buckets are elsewhere, and so is one that had better be on another
     node, one at a time;
  3. buckets go to the living shards by rendezvous hashing: `Take` to the new owner, then
     the new directory to everybody (doors first: from here on they refuse the old owner's
     answers), then `Release` to the old owner. What nobody serves is taken at once, by each
     shard by itself: one that stands still holds up nobody else. What somebody serves is moved a
     share at a time, and not before the new owner has answered to `Prepare`: until the doors know
     of it the old one goes on answering.
How many slots there are stands in Postgres and is changed by `Scale`. The supervisor holds
nothing that cannot be asked again: a new one finds the actors by name (`engine.adoption`) and
asks each shard what it owns. Two at once do no harm, since ownership is an UPDATE in Postgres and
a directory of an older owner is refused by incarnation. A `Take` names the incarnations that it is
to overtake: a shard that comes to it late, when it was forgotten, takes nothing from its successor.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from actors import draining
from actors.asking import Asking
from actors.ending import Ending
from actors.node_watch import NodeWatch
from actors.ports import Buckets, Launcher, Log, WantedNumbers
from actors.tasks import Tasks
from actors.telling import Telling
from engine import adoption, placement
from engine import buckets as bucketing
from engine.awake import AwakeClock, Silences
from engine.control import (
    Directory,
    Drain,
    Instance,
    Ping,
    Pong,
    Prepare,
    Release,
    Scale,
    StatusWanted,
    Take,
    Taken,
    Wanted,
)
from engine.errors import RiseCurveError, TransientError
from engine.limits import BUCKETS
from engine.messages import BucketOwner
from engine.ownership import Claims, Ownership
from engine.settings import ActorSettings

TAKE_TIMEOUT_S = 60.0
SHIFTS_AT_ONCE = 2
"""Shards that get served buckets at one time: loading takes processors that quotes need."""

SHIFT_BUCKETS_MAX = 320
"""Served buckets that move in one step, so that they are loaded within `TAKE_TIMEOUT_S`."""

AWAKE_STEP_S = 0.25
SILENCE_MAX_S = 4.0
"""A role that answers no ping for this long is taken for stopped; a dead one shows at once."""
BUSY_MAX_S = 30.0
"""One that works meanwhile, or waits for a processor. To start another one in its place would take
from all what there is too little of.
"""
STARTS_AT_ONCE = 4
"""On a busy machine a start takes its time: all at once would fail together, again and again."""

GATHER_S = 60.0
"""Shards that start together are waited for so long, so that a bucket moves once. One that cannot
start is not."""

SPREAD = ("shard", "gateway")
"""Roles that are moved to a node that joins later: those of which there is one each."""

Slots = Callable[[Wanted], Mapping[str, str]]


class Supervisor:
    """Plain class; `slots` says which slots there are, and their roles. `run` is the loop."""

    def __init__(
        self,
        *,
        slots: Slots,
        settings: ActorSettings,
        launcher: Launcher,
        owners: Buckets,
        wanted: WantedNumbers,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._slots_of = slots
        self._slots: dict[str, str] = {}
        self._wanted = wanted
        self._numbers: Wanted | None = None
        self._nodes = NodeWatch(launcher, log)
        self._settings = settings
        self._launcher = launcher
        self._buckets = owners
        self._log = log
        # Wall time in milliseconds, so that a new supervisor's directories are newer.
        self._clock = clock
        self._instances: dict[str, Instance] = {}
        self._owners = Ownership()
        self._launching, self._ending = Tasks(), Ending(launcher, log)
        self._failing: dict[str, str] = {}
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._unhurried = asyncio.Semaphore(1)
        self._displaced = ""
        self._retiring, self._rescues = Tasks(), Tasks()
        self._rescued: dict[str, frozenset[int]] = {}
        self._gathering_since: float | None = None
        self._version = 0
        self._telling = Telling(launcher, log, lambda: self.directory)
        self._awake = AwakeClock(AWAKE_STEP_S)
        self._silences = Silences(self._awake)
        self._shifts = Tasks()
        self._work = self._launching, self._retiring, self._rescues, self._shifts
        self._shifting = asyncio.Semaphore(SHIFTS_AT_ONCE)
        self._asking = Asking()
        self._takes = 0
        self._taking = 0
        self._restarts = 0
        self._draining = False
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            StatusWanted: self._status,
            Scale: self._scale,
            Drain: self._drain,
        }

    async def run(self) -> None:
        """Adopt what is there, then look after it until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_awake())
            tasks.create_task(self._nodes.run())
            tasks.create_task(self._look_after())
            for mine in (*self._work, self._ending):
                tasks.create_task(mine.watch())

    async def _stay_awake(self) -> None:
        # After a stop of its own all pings have run out at once, and nobody is at fault.
        while True:
            self._awake.tick(time.monotonic())
            await asyncio.sleep(AWAKE_STEP_S)

    async def _look_after(self) -> None:
        await self._learn()
        await self._adopt()
        while True:
            if not self._draining:
                await self._round()
            await asyncio.sleep(self._settings.ping_interval_s)

    @property
    def ready(self) -> bool:
        """Every slot filled and nobody else there, everybody was told who is there, every bucket
        where it is to be.
        """
        filled = bool(self._slots) and self._instances.keys() == self._slots.keys()
        return filled and not self._telling.untold() and not self._misplaced()

    @property
    def directory(self) -> Directory:
        """The present one."""
        return Directory(self._version, tuple(self._instances.values()), self._owners.rows)

    # ---------------------------------------------------------------------- rounds

    async def _learn(self) -> None:
        # Guessing how many are wanted could end shards that are; so nothing begins before.
        while self._numbers is None:
            try:
                self._numbers = await self._wanted.read()
            except TransientError as error:
                self._log.warning("wanted_unknown", error=str(error))
                await asyncio.sleep(self._settings.ping_interval_s)
        self._slots = dict(self._slots_of(self._numbers))

    async def _adopt(self) -> None:
        found = await self._launcher.existing()
        adopted = adoption.adopt(found, self._slots)
        self._instances.update(adopted.kept)
        for one in adopted.ended:
            if self._settings.kill_stopped or one not in found.silent:
                self._ending.start(one)
        silent = {one.name for one in found.silent}
        await self._recall({one.name for one in self._instances.values()} & silent)
        claims = _claims(await self._ping_all())
        self._owners.hear_claims(claims)
        # An earlier supervisor may have died after a `Take`, before it told anybody.
        self._version = self._next_version()
        await self._telling.tell_all()
        await self._release_superseded(claims)

    async def _recall(self, silent: set[str]) -> None:
        # What they cannot say themselves: else it would be taken from one that is only busy.
        if silent:
            try:
                known = await self._buckets.owners()
            except TransientError as error:
                self._log.warning("owners_unknown", error=str(error))
            else:
                self._owners.hear(one for one in known if one.owner in silent)

    async def _round(self) -> None:
        takes = self._takes
        quiet = not self._taking
        claims = _claims(await self._ping_all())
        if quiet and self._takes == takes:
            # Else a pong may tell of before a `Take` that was answered since.
            self._forget_unclaimed(claims)
            await self._settle_claims(claims)
        for slot, role in self._slots.items():
            there = slot in self._instances or slot in self._ending
            if not there and slot not in self._launching:
                self._launching.start(slot, self._fill(slot, role))
        if not self._shifts and not self._rescues:
            self._spread()
            self._retire_idle()
        self._take_orphans()
        if not self._shifts:
            self._shifts.start("all", self._shift_all())
        await self._telling.tell_all()
        self._silences.keep({one.name for one in self._instances.values()})

    async def _ping_all(self) -> list[Pong]:
        instances = list(self._instances.values())
        answers = await asyncio.gather(*(self._ping(one) for one in instances))
        return [pong for pong in answers if pong is not None]

    async def _ping(self, instance: Instance) -> Pong | None:
        try:
            pong = await self._launcher.ask(
                instance.name, Ping(), timeout_s=self._settings.ping_timeout_s
            )
            assert isinstance(pong, Pong)
            if not pong.started:
                raise TransientError("shard_unavailable", f"Expected {instance.name} to be built")
        except RiseCurveError as error:
            self._missing(instance, error)
            return None
        self._silences.heard(instance.name)
        if pong.instance != instance and self._instances.get(instance.slot) == instance:
            # It was silent when it was adopted: where it runs is known only now.
            self._instances[instance.slot] = pong.instance
            self._version = self._next_version()
        return pong

    def _missing(self, instance: Instance, error: RiseCurveError) -> None:
        if self._instances.get(instance.slot) != instance or self._draining:
            return
        silent_for_s = self._silences.silent_s(instance.name)
        if error.code != "actor_died":
            busy = self._launcher.is_busy(instance)
            if silent_for_s < (BUSY_MAX_S if busy else SILENCE_MAX_S):
                return
        self._log.warning("role_missing", slot=instance.slot, error=str(error))
        del self._instances[instance.slot]
        self._asking.give_up(instance.name)
        self._displaced = "" if self._displaced == instance.slot else self._displaced
        self._restarts += 1
        self._version = self._next_version()
        if self._settings.kill_stopped:
            self._ending.start(instance)

    async def _fill(self, slot: str, role: str) -> None:
        # Where all is served a shard more may take its time: a start takes processors from quotes.
        hurried = role != "shard" or self._owned() < BUCKETS
        try:
            async with self._starts if hurried else self._unhurried:
                placed = tuple(self._instances.values())
                instance = await self._launcher.launch(slot, role, placed)
        except RiseCurveError as error:
            self._log.error("role_cannot_start", slot=slot, error=str(error))
            self._failing[slot] = str(error)
            await asyncio.sleep(self._settings.ping_interval_s)
            return
        self._log.info("role_started", slot=slot, pid=instance.pid, node=instance.node)
        self._failing.pop(slot, None)
        self._instances[slot] = instance
        self._version = self._next_version()
        await self._telling.tell(instance)

    def _forget_unclaimed(self, claims: Claims) -> None:
        # A shard that was fenced let go of a bucket by itself: it is to be taken again.
        unclaimed = self._owners.forget_unclaimed(claims)
        if unclaimed:
            self._log.warning("buckets_unclaimed", buckets=unclaimed)

    async def _settle_claims(self, claims: Claims) -> None:
        # The reply to a `Take` was lost: it owns them, or did until another one took them.
        if self._owners.hear_claims(claims):
            self._version = self._next_version()
        await self._release_superseded(claims)

    async def _release_superseded(self, claims: Claims) -> None:
        superseded = self._owners.superseded(claims)
        if superseded:
            await self._release(superseded, self._owners.rows)

    # --------------------------------------------------------------------- scaling

    async def _scale(self, change: Scale) -> Wanted:
        self._numbers = await self._wanted.write(change)
        self._slots = dict(self._slots_of(self._numbers))
        self._log.info("scaled", slots=sorted(self._slots))
        return self._numbers

    def _leaves(self, slot: str) -> bool:
        return slot not in self._slots or slot == self._displaced

    def _spread(self) -> None:
        # A node that joined is given its share; the slot is filled again, there.
        if not self.ready or self._displaced:
            return
        for role in SPREAD:
            one = placement.displaced(self._nodes.found, self._instances.values(), role)
            if one is not None:
                self._log.info("role_displaced", slot=one.slot, node=one.node)
                self._displaced = one.slot
                return

    def _retire_idle(self) -> None:
        # Called between moves, so that no `Take` is under way to any of them.
        owning = self._owners.names
        for slot, instance in self._instances.items():
            spare = self._leaves(slot) and instance.name not in owning
            if spare and slot not in self._retiring:
                self._retiring.start(slot, self._retire(instance))

    async def _retire(self, instance: Instance) -> None:
        try:
            timeout = self._settings.drain_timeout_s
            await self._launcher.ask(instance.name, Drain(), timeout_s=timeout)
        except RiseCurveError as error:
            self._log.warning("role_not_drained", slot=instance.slot, error=str(error))
        if self._instances.get(instance.slot) == instance:
            del self._instances[instance.slot]
            self._version = self._next_version()
        try:
            await self._ending.end(instance)
        finally:
            self._displaced = "" if self._displaced == instance.slot else self._displaced
        self._log.info("role_retired", slot=instance.slot, pid=instance.pid)

    # -------------------------------------------------------------------- ownership

    def _owned(self) -> int:
        return len(self._owners.of({one.name for one in self._instances.values()}))

    def _gathering(self) -> bool:
        # Whether to wait for shards that start: when nothing is owned yet, or all of it is,
        # so that nothing is taken by one to be moved to another at once.
        there = self._instances.keys() | self._failing.keys()
        missing = any(r == "shard" and s not in there for s, r in self._slots.items())
        if not missing or (self._owners and self._owned() < BUCKETS):
            self._gathering_since = None
            return False
        now = time.monotonic()
        self._gathering_since = self._gathering_since or now
        return now - self._gathering_since < GATHER_S

    def _shares(self) -> list[tuple[Instance, frozenset[int]]]:
        # What each shard that stays is to own.
        shards = {
            slot: instance
            for slot, instance in self._instances.items()
            if instance.role == "shard" and not self._leaves(slot) and slot not in self._retiring
        }
        return [(shards[slot], share) for slot, share in bucketing.shares(tuple(sorted(shards)))]

    def _misplaced(self) -> int:
        # Buckets that nobody owns, or another shard than is to.
        return self._owners.misplaced((one.name, share) for one, share in self._shares())

    def _take_orphans(self) -> None:
        if self._gathering():
            return
        served = self._owners.of({one.name for one in self._instances.values()})
        served |= frozenset().union(*self._rescued.values())
        for instance, share in self._shares():
            if share - served and instance.name not in self._rescues:
                self._rescued[instance.name] = share - served
                self._rescues.start(instance.name, self._rescue(instance))

    async def _rescue(self, instance: Instance) -> None:
        try:
            await self._move(instance, self._rescued[instance.name])
        finally:
            del self._rescued[instance.name]

    async def _shift_all(self) -> None:
        if self._gathering():
            return
        await asyncio.gather(*(self._shift(instance, share) for instance, share in self._shares()))

    async def _shift(self, instance: Instance, share: frozenset[int]) -> None:
        # One share after the other; what cannot be prepared stays where it is served.
        async with self._shifting:
            buckets = sorted(self._held_by_others(instance, share))
            for at in range(0, len(buckets), SHIFT_BUCKETS_MAX):
                part = frozenset(buckets[at : at + SHIFT_BUCKETS_MAX])
                if not await self._is_prepared(instance, part) or self._leaves(instance.slot):
                    return
                await self._move(instance, self._held_by_others(instance, part))

    def _held_by_others(self, instance: Instance, share: frozenset[int]) -> frozenset[int]:
        others = {one.name for one in self._instances.values()} - {instance.name}
        return self._owners.of(others) & share

    async def _is_prepared(self, instance: Instance, buckets: frozenset[int]) -> bool:
        try:
            await self._answer(instance, Prepare(buckets))
        except RiseCurveError as error:
            self._log.warning("shard_cannot_prepare", slot=instance.slot, error=str(error))
            return False
        return True

    async def _move(self, instance: Instance, buckets: frozenset[int]) -> None:
        if not buckets:
            return
        before = self._owners.owners_of(buckets)
        self._takes += 1
        self._taking += 1
        try:
            known = {one.bucket: one.incarnation for one in await self._buckets.owners()}
            overtaken = {bucket: known.get(bucket, 0) for bucket in buckets}
            taken = await self._answer(instance, Take(buckets, overtaken))
        except RiseCurveError as error:
            self._log.warning("shard_cannot_take", slot=instance.slot, error=str(error))
            return
        finally:
            self._taking -= 1
        assert isinstance(taken, Taken)
        self._owners.hear(taken.owners)
        self._version = self._next_version()
        await self._telling.tell_all()
        self._log.info("buckets_moved", slot=instance.slot, buckets=len(buckets))
        await self._release(before - {instance.name}, taken.owners)

    async def _answer(self, instance: Instance, command: Prepare | Take) -> Any:
        # One that is forgotten is not heard.
        if self._instances.get(instance.slot) != instance:
            raise TransientError("actor_died", f"Expected {instance.name}, it was given up")
        asked = self._launcher.ask(instance.name, command, timeout_s=TAKE_TIMEOUT_S)
        return await self._asking.answer(instance.name, asked)

    async def _release(self, names: set[str], owners: Sequence[BucketOwner]) -> None:
        living = {one.name for one in self._instances.values()}
        for name in names & living:
            try:
                await self._launcher.ask(name, Release(tuple(owners)), timeout_s=2.0)
            except RiseCurveError as error:
                self._log.warning("shard_cannot_release", name=name, error=str(error))

    # -------------------------------------------------------------------- directory

    def _next_version(self) -> int:
        return max(self._version + 1, int(self._clock() * 1000))

    # ------------------------------------------------------------------------ state

    async def _status(self, _: StatusWanted) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "restarts": self._restarts,
            "buckets_owned": self._owned(),
            # Served, by another shard than is to: what nobody serves is not among them.
            "buckets_to_move": self._owned() + self._misplaced() - BUCKETS,
            "wanted": asdict(self._numbers) if self._numbers else {},
            "slots": sorted(self._slots),
            "untold": self._telling.untold(),
            "failing": {slot: why for slot, why in self._failing.items() if slot in self._slots},
            "instances": [asdict(one) for one in self._instances.values()],
            "nodes": [asdict(one) for one in self._nodes.found],
        }

    async def _drain(self, message: Drain) -> None:
        self._draining = True
        for tasks in self._work:
            tasks.cancel()
        timeout_s, ones = self._settings.drain_timeout_s, list(self._instances.values())
        drained = draining.drain(ones, self._launcher, self._log, timeout_s=timeout_s)
        _, ended = await asyncio.gather(drained, self._ending.join(timeout_s=timeout_s))
        if not ended:
            self._log.warning("roles_not_ended")


def _claims(pongs: Sequence[Pong]) -> Claims:
    return {pong.name: dict(pong.buckets) for pong in pongs}
