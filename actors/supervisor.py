"""The supervisor: fills every slot with a living actor and every bucket with an owner.

Each round, in order:
  1. ping all instances; one that is dead or silent is ended by its pid and forgotten;
  2. empty slots are filled, each in a task of its own;
  3. buckets go to the living shards by rendezvous hashing: `Take` to the new owner, then
     the new directory to everybody (doors first: from here on they refuse the old owner's
     answers), then `Release` to the old owner.
It holds nothing that cannot be asked again: a new supervisor finds the actors by name and
asks each shard what it owns. Two at once do no harm, since ownership is an UPDATE in
Postgres and a directory of an older owner is refused by incarnation.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.ports import Buckets, Launcher, Log
from engine import buckets as bucketing
from engine.control import (
    Directory,
    Drain,
    Instance,
    Ping,
    Pong,
    Release,
    StatusWanted,
    Take,
    Taken,
)
from engine.errors import RiseCurveError, TransientError
from engine.limits import BUCKETS
from engine.messages import BucketOwner
from engine.settings import ActorSettings

ROLE = "supervisor"
TAKE_TIMEOUT_S = 60.0
SILENCE_MAX_S = 4.0
"""A role that answers no ping for this long is taken for stopped; a dead one shows at once."""
DOORS = ("gateway", "stream_gateway")
DRAIN_ORDER = (*DOORS, "listener", "shard", "recorder")


class Supervisor:
    """Plain class; `slots` maps each slot to its role. `run` is the loop."""

    def __init__(
        self,
        *,
        slots: Mapping[str, str],
        settings: ActorSettings,
        launcher: Launcher,
        owners: Buckets,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._slots = dict(slots)
        self._settings = settings
        self._launcher = launcher
        self._buckets = owners
        self._log = log
        # Wall time in milliseconds, so that a new supervisor's directories are newer.
        self._clock = clock
        self._instances: dict[str, Instance] = {}
        self._owners: dict[int, BucketOwner] = {}
        self._launching: dict[str, asyncio.Task[None]] = {}
        self._version = 0
        self._told: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._moves: asyncio.Task[None] | None = None
        self._restarts = 0
        self._draining = False
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            StatusWanted: self._status,
            Drain: self._drain,
        }

    async def run(self) -> None:
        """Adopt what is there, then look after it until cancelled."""
        await self._adopt()
        while True:
            if not self._draining:
                await self._round()
            await asyncio.sleep(self._settings.ping_interval_s)

    @property
    def ready(self) -> bool:
        """Every slot filled, every bucket owned by a living shard."""
        living = {one.name for one in self._instances.values()}
        owned = sum(owner.owner in living for owner in self._owners.values())
        return len(self._instances) == len(self._slots) and owned == BUCKETS

    @property
    def directory(self) -> Directory:
        """The present one."""
        owners = tuple(self._owners[bucket] for bucket in sorted(self._owners))
        return Directory(self._version, tuple(self._instances.values()), owners)

    # ---------------------------------------------------------------------- rounds

    async def _adopt(self) -> None:
        for instance in await self._launcher.existing():
            if instance.role == ROLE:
                continue  # ourselves among them
            if instance.slot in self._slots and instance.slot not in self._instances:
                self._instances[instance.slot] = instance
            else:
                await self._launcher.kill(instance)
        pongs = await self._ping_all()
        for pong in pongs:
            self._note(pong)
        # An earlier supervisor may have died after a `Take`, before it told anybody.
        self._version = self._next_version()
        await self._tell_all()
        await self._release_superseded(pongs)

    async def _round(self) -> None:
        moving = self._moves is not None and not self._moves.done()
        pongs = await self._ping_all()
        if not moving:
            self._forget_unclaimed(pongs)
            await self._settle_claims(pongs)
        for slot, role in self._slots.items():
            if slot not in self._instances and slot not in self._launching:
                task = asyncio.create_task(self._fill(slot, role))
                self._launching[slot] = task
        if self._moves is None or self._moves.done():
            self._moves = asyncio.create_task(self._balance())
        await self._tell_all()

    async def _ping_all(self) -> list[Pong]:
        instances = list(self._instances.values())
        answers = await asyncio.gather(*(self._ping(one) for one in instances))
        return [pong for pong in answers if pong is not None]

    async def _ping(self, instance: Instance) -> Pong | None:
        try:
            pong = await self._launcher.ask(
                instance.name, Ping(), timeout_s=self._settings.ping_timeout_s
            )
        except RiseCurveError as error:
            await self._missing(instance, error)
            return None
        assert isinstance(pong, Pong)
        self._heard[instance.name] = time.monotonic()
        return pong

    async def _missing(self, instance: Instance, error: RiseCurveError) -> None:
        if self._instances.get(instance.slot) != instance or self._draining:
            return
        silent_for_s = time.monotonic() - self._heard.setdefault(instance.name, time.monotonic())
        if error.code != "actor_died" and silent_for_s < SILENCE_MAX_S:
            return
        self._log.warning("role_missing", slot=instance.slot, error=str(error))
        del self._instances[instance.slot]
        self._restarts += 1
        self._version = self._next_version()
        if self._settings.kill_stopped:
            await self._launcher.kill(instance)

    async def _fill(self, slot: str, role: str) -> None:
        try:
            instance = await self._launcher.launch(slot, role)
        except RiseCurveError as error:
            self._log.error("role_cannot_start", slot=slot, error=str(error))
            await asyncio.sleep(self._settings.ping_interval_s)
            return
        finally:
            self._launching.pop(slot, None)
        self._log.info("role_started", slot=slot, pid=instance.pid)
        self._instances[slot] = instance
        self._version = self._next_version()
        await self._tell(instance)

    def _forget_unclaimed(self, pongs: Sequence[Pong]) -> None:
        # A shard that was fenced let go of a bucket by itself: it is to be taken again.
        claims = {pong.name: dict(pong.buckets) for pong in pongs}
        unclaimed = [
            owner.bucket
            for owner in self._owners.values()
            if owner.owner in claims and claims[owner.owner].get(owner.bucket) != owner.incarnation
        ]
        for bucket in unclaimed:
            del self._owners[bucket]
        if unclaimed:
            self._log.warning("buckets_unclaimed", buckets=len(unclaimed))

    async def _settle_claims(self, pongs: Sequence[Pong]) -> None:
        # The reply to a `Take` was lost: it owns them, or did until another one took them.
        before = dict(self._owners)
        for pong in pongs:
            self._note(pong)
        if self._owners != before:
            self._version = self._next_version()
        await self._release_superseded(pongs)

    async def _release_superseded(self, pongs: Sequence[Pong]) -> None:
        superseded = {
            pong.name
            for pong in pongs
            for bucket, incarnation in pong.buckets
            if incarnation < self._owners[bucket].incarnation
        }
        if superseded:
            await self._release(superseded, tuple(self._owners.values()))

    def _note(self, pong: Pong) -> None:
        for bucket, incarnation in pong.buckets:
            self._own(BucketOwner(bucket, pong.name, incarnation))

    def _own(self, owner: BucketOwner) -> None:
        known = self._owners.get(owner.bucket)
        if known is None or known.incarnation < owner.incarnation:
            self._owners[owner.bucket] = owner

    # -------------------------------------------------------------------- ownership

    async def _balance(self) -> None:
        if not self._owners and any(self._slots[slot] == "shard" for slot in self._launching):
            return  # at the first start, so that nothing is taken by one to be moved at once
        shards = {s: i for s, i in self._instances.items() if i.role == "shard"}
        wanted = bucketing.assign(sorted(shards))
        await asyncio.gather(*(self._move(shards[slot], share) for slot, share in wanted.items()))

    async def _move(self, instance: Instance, share: frozenset[int]) -> None:
        missing = frozenset(
            bucket
            for bucket in share
            if bucket not in self._owners or self._owners[bucket].owner != instance.name
        )
        if not missing:
            return
        before = {self._owners[b].owner for b in missing if b in self._owners}
        try:
            taken = await self._launcher.ask(instance.name, Take(missing), timeout_s=TAKE_TIMEOUT_S)
        except RiseCurveError as error:
            self._log.warning("shard_cannot_take", slot=instance.slot, error=str(error))
            return
        assert isinstance(taken, Taken)
        for owner in taken.owners:
            self._own(owner)
        self._version = self._next_version()
        await self._tell_all()
        self._log.info("buckets_moved", slot=instance.slot, buckets=len(missing))
        await self._release(before - {instance.name}, taken.owners)

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

    async def _tell_all(self) -> None:
        late = [i for i in self._instances.values() if self._told.get(i.name) != self._version]
        doors = [one for one in late if one.role in DOORS]
        await asyncio.gather(*(self._tell(one) for one in doors))
        await asyncio.gather(*(self._tell(one) for one in late if one not in doors))
        names = {one.name for one in self._instances.values()}
        self._told = {name: v for name, v in self._told.items() if name in names}
        self._heard = {name: t for name, t in self._heard.items() if name in names}

    async def _tell(self, instance: Instance) -> None:
        directory = self.directory
        try:
            await self._launcher.ask(instance.name, directory, timeout_s=1.0)
        except TransientError as error:
            self._log.warning("role_not_told", slot=instance.slot, error=str(error))
        else:
            self._told[instance.name] = directory.version

    # ------------------------------------------------------------------------ state

    async def _status(self, _: StatusWanted) -> dict[str, Any]:
        living = {one.name for one in self._instances.values()}
        owned = sum(owner.owner in living for owner in self._owners.values())
        return {
            "ready": self.ready,
            "restarts": self._restarts,
            "buckets_owned": owned,
            "slots": sorted(self._slots),
            "instances": [
                {"slot": i.slot, "role": i.role, "name": i.name, "pid": i.pid}
                for i in self._instances.values()
            ],
        }

    async def _drain(self, message: Drain) -> None:
        self._draining = True
        for task in [*self._launching.values(), *([self._moves] if self._moves else [])]:
            task.cancel()
        for role in DRAIN_ORDER:
            ones = [i for i in self._instances.values() if i.role == role]
            timeout = self._settings.drain_timeout_s / len(DRAIN_ORDER)
            results = await asyncio.gather(
                *(self._launcher.ask(i.name, message, timeout_s=timeout) for i in ones),
                return_exceptions=True,
            )
            for instance, result in zip(ones, results, strict=True):
                if isinstance(result, BaseException):
                    self._log.warning("role_not_drained", slot=instance.slot, error=str(result))
