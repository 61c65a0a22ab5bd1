"""What nobody serves is taken by each shard by itself: who stands still holds up nobody else."""

import asyncio

import pytest

from actors import supervisor as module
from engine.control import Take, Taken
from engine.limits import BUCKETS
from tests.support.supervisor_world import World, running
from tests.unit.actors.test_supervisor_frozen import freeze_at

SOON_S = 3.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 60.0)


def shards_world(count, **settings):
    world = World(**settings)
    world.wanted.now = type(world.wanted.now)(count, 1, 0)
    return world


async def soon(world, condition):
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.01)


def served(world, name):
    return len(world.supervisor._owners.of({name}))


async def test_shard_that_stands_still_in_a_take_delays_the_rescue_of_no_other_bucket():
    world = shards_world(4)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 4)
        names = sorted(one.name for one in world.living("shard"))
        world.launcher.start_s = 60.0  # nobody comes back: the others take
        frozen = freeze_at(world, Take, lambda name: name == names[0])
        world.launcher.dead.add(names[1])
        await soon(world, lambda: frozen and served(world, names[3]) > BUCKETS * 0.3)
        # The take of `names[0]` is under way for a minute; the other one takes its share.
        world.launcher.dead.add(names[2])
        await soon(world, lambda: served(world, names[3]) > BUCKETS * 0.45)
        takes = [n for n, m in world.launcher.asked if isinstance(m, Take) and n == names[0]]
        assert len(takes) <= 1  # of what hangs in one nothing is asked for again


async def test_end_of_one_that_is_stopped_delays_nobody_and_comes_before_its_slot_is_filled():
    world = shards_world(4)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 4)
        names = sorted(one.name for one in world.living("shard"))
        kill, ended = world.launcher.kill, asyncio.Event()

        async def slow(instance):
            if instance.name == names[0]:
                await ended.wait()
            await kill(instance)

        world.launcher.kill = slow
        world.launcher.dead |= {names[0], names[1]}
        slots = [name.split("/")[0] for name in names]
        await soon(world, lambda: any(n.startswith(slots[1] + "/") for n in new(world, names)))
        await soon(world, lambda: not {names[0], names[1]} & world.owners())
        await soon(world, lambda: world.supervisor._owned() == BUCKETS)
        assert not any(n.startswith(slots[0] + "/") for n in new(world, names))
        ended.set()
        await soon(world, lambda: any(n.startswith(slots[0] + "/") for n in new(world, names)))
        await world.until(lambda: world.supervisor.ready)


async def test_supervisor_that_comes_after_another_one_waits_for_the_end_of_nobody():
    world = shards_world(2)
    async with running(world):
        owners = world.supervisor.directory.owners
    for name in ("shard-0/98", "shard-0/99"):  # which nobody knows any more
        world.launcher.roles[name] = world.launcher.make("shard-0", name)
    kill, ended = world.launcher.kill, asyncio.Event()

    async def slow(instance):
        await ended.wait()
        await kill(instance)

    world.launcher.kill = slow
    world.supervisor = world.build()
    task = asyncio.create_task(world.supervisor.run())
    await soon(world, lambda: world.supervisor.ready)
    assert world.supervisor.directory.owners == owners and world.launcher.killed == []
    ended.set()
    await soon(world, lambda: sorted(world.launcher.killed) == ["shard-0/98", "shard-0/99"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def new(world, names):
    return {one.name for one in world.living("shard")} - set(names)


async def test_late_take_of_a_shard_that_was_forgotten_takes_nothing_from_who_took_it_since(
    monkeypatch,
):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 0.1)
    world = shards_world(2, kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        dead, _ = (one.name for one in world.living("shard"))
        late = []
        ask = world.launcher.ask

        async def asked(name, message, *, timeout_s):
            if isinstance(message, Take) and not late:
                late.append((name, message))
                world.launcher.silent.add(name)
                await asyncio.sleep(timeout_s)
            return await ask(name, message, timeout_s=timeout_s)

        world.launcher.ask = asked
        world.launcher.dead.add(dead)
        await world.until(lambda: late and world.supervisor.ready)
        owners = world.supervisor.directory.owners
        ((name, command),) = late
        assert command.buckets and name not in world.owners()
        # It wakes up, and does what it was told.
        assert await world.launcher.roles[name].take(command) == Taken(())
        assert {o.bucket: o for o in owners} == world.store.rows
        await asyncio.sleep(0.1)
        assert world.supervisor.directory.owners == owners
