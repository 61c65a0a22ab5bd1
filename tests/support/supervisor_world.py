"""A supervisor over fakes of the roles and of Postgres, for its tests."""

import asyncio
import contextlib

from actors.supervisor import Supervisor
from engine import placement
from engine.control import (
    Directory,
    Drain,
    Prepare,
    Prepared,
    Release,
    Take,
    Taken,
)
from engine.errors import TransientError
from engine.messages import BucketOwner
from engine.settings import ActorSettings
from tests.support import fake_roles


def slots(wanted):
    return {"listener": "listener"} | placement.scaled(wanted)


class FakeRole:
    """`world.gate` holds up who prepares, `world.refuses` makes it fail."""

    def __init__(self, name, store, log, world=None):
        self.name, self.store, self.log, self.world = name, store, log, world
        self.held = {}
        self.directory = None
        self.handlers = {
            Prepare: self.prepare,
            Take: self.take,
            Release: self.release,
            Directory: self.route,
            Drain: self.drain,
        }

    async def prepare(self, command):
        self.log.append(("prepare", self.name))
        await self.world.gate.wait()
        if self.world.refuses:
            raise TransientError("stale_chain", "no head")
        return Prepared(command.buckets)

    async def take(self, command):
        self.log.append(("take", self.name))
        buckets, overtaken = sorted(command.buckets), command.overtaken
        taken = await self.store.take(self.name, buckets, overtaken=overtaken)
        self.held.update(taken)
        return Taken(tuple(BucketOwner(b, self.name, i) for b, i in taken.items()))

    def release(self, command):
        self.log.append(("release", self.name))
        for owner in command.owners:
            if self.held.get(owner.bucket, owner.incarnation) < owner.incarnation:
                del self.held[owner.bucket]

    def route(self, directory):
        self.log.append(("route", self.name))
        self.directory = directory

    def drain(self, _):
        self.log.append(("drain", self.name))

    @property
    def owners(self):
        return tuple(self.held.items())


class World:
    def __init__(self, **settings):
        self.store, self.order = fake_roles.Buckets(), []
        self.wanted = fake_roles.WantedNumbers()
        self.gate, self.refuses = asyncio.Event(), False
        self.gate.set()
        self.launcher = fake_roles.Launcher(lambda s, n: FakeRole(n, self.store, self.order, self))
        self.settings = ActorSettings(ping_interval_s=0.01, ping_timeout_s=0.05, **settings)
        self.supervisor = self.build()

    def build(self):
        return Supervisor(
            slots=slots,
            settings=self.settings,
            launcher=self.launcher,
            owners=self.store,
            wanted=self.wanted,
            log=fake_roles.Log(),
        )

    async def until(self, condition):
        async with asyncio.timeout(15):
            while not condition():
                await asyncio.sleep(0.01)

    def living(self, role):
        return [i for i in self.supervisor.directory.instances if i.role == role]

    def owners(self):
        return {owner.owner for owner in self.supervisor.directory.owners}


def new_shards(world, before):
    return {one.name for one in world.living("shard")} - before


@contextlib.asynccontextmanager
async def running(world):
    task = asyncio.create_task(world.supervisor.run())
    try:
        await world.until(lambda: world.supervisor.ready)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
