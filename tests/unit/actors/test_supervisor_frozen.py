"""A shard that freezes while it is asked for something is waited for no longer than it is there."""

import asyncio

import pytest

from actors import supervisor as module
from actors.asking import Asking
from engine.control import Prepare, Scale, StatusWanted, Take
from engine.errors import TransientError
from engine.limits import BUCKETS
from engine.messages import BucketOwner
from tests.support.supervisor_world import World, new_shards, running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 0.1)


def freeze_at(world, kind, who):
    """Whoever `who` says answers neither that command nor anything after it, and does not die."""
    frozen = []
    ask = world.launcher.ask

    async def asked(name, message, *, timeout_s):
        if isinstance(message, kind) and not frozen and who(name):
            frozen.append(name)
            world.launcher.silent.add(name)
            await asyncio.sleep(timeout_s)
            raise TransientError("shard_unavailable", name)
        return await ask(name, message, timeout_s=timeout_s)

    world.launcher.ask = asked
    return frozen


async def test_shard_that_freezes_at_a_take_leaves_no_bucket_without_an_owner():
    world = World(kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        dead, _ = (one.name for one in world.living("shard"))
        frozen = freeze_at(world, Take, lambda _: True)
        world.launcher.dead.add(dead)
        await world.until(lambda: frozen)
        await world.until(lambda: world.supervisor._owned() == BUCKETS and world.supervisor.ready)
        assert not {dead, *frozen} & world.owners()
        assert world.supervisor._taking == 0


async def test_status_counts_as_to_move_what_is_served_elsewhere_and_not_what_nobody_serves():
    world = World(kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        dead, _ = (one.name for one in world.living("shard"))
        freeze_at(world, Take, lambda _: True)
        world.launcher.start_s = 60.0
        module.SILENCE_MAX_S = 60.0
        world.launcher.dead.add(dead)
        await world.until(lambda: world.supervisor._owned() < BUCKETS)
        status = await world.supervisor.handlers[StatusWanted](StatusWanted())
        assert 400 < status["buckets_owned"] < 600
        assert status["buckets_to_move"] == 0 and not status["ready"]


async def test_shard_that_freezes_while_it_prepares_holds_up_no_other_move():
    world = World(kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = {one.name for one in world.living("shard")}
        frozen = freeze_at(world, Prepare, lambda name: name not in before)
        await world.supervisor.handlers[Scale](Scale(shards=5))
        await world.until(lambda: frozen)
        await world.until(lambda: world.supervisor.ready)
        assert len(world.owners()) == 5 and frozen[0] not in world.owners()


async def test_shard_that_waits_for_its_turn_and_freezes_is_not_asked(monkeypatch):
    monkeypatch.setattr(module, "SHIFTS_AT_ONCE", 1)
    world = World(kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = {one.name for one in world.living("shard")}
        world.gate.clear()
        await world.supervisor.handlers[Scale](Scale(shards=4))
        await world.until(lambda: len(new_shards(world, before)) == 2)
        await world.until(lambda: any(step == "prepare" for step, _ in world.order))
        first = next(name for step, name in world.order if step == "prepare")
        (waits,) = new_shards(world, before) - {first}
        world.launcher.silent.add(waits)
        await world.until(lambda: waits not in {one.name for one in world.living("shard")})
        world.gate.set()
        await world.until(lambda: world.supervisor.ready)
        asked = [name for name, message in world.launcher.asked if isinstance(message, Prepare)]
        assert waits not in asked and len(world.owners()) == 4


async def test_late_take_of_a_shard_that_was_forgotten_is_not_heard_and_the_fenced_take_again():
    world = World(kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        dead, _ = (one.name for one in world.living("shard"))
        frozen = freeze_at(world, Take, lambda _: True)
        world.launcher.dead.add(dead)
        await world.until(lambda: frozen and world.supervisor.ready)
        owners = {o.bucket: o for o in world.supervisor.directory.owners}
        # It wakes, and takes in Postgres above whoever owns them by now.
        sleeper = world.launcher.roles[frozen[0]]
        world.launcher.silent.discard(frozen[0])
        bucket, owner = min(owners.items())
        sleeper.held |= await world.store.take(sleeper.name, [bucket])
        await asyncio.sleep(0.1)
        assert world.supervisor.directory.owners[bucket] == owner
        # What it publishes first fences the owner, which lets go of the bucket.
        del world.launcher.roles[owner.owner].held[bucket]
        await world.until(
            lambda: (
                world.supervisor.ready
                and world.supervisor.directory.owners[bucket].incarnation == owner.incarnation + 2
            )
        )
        assert world.supervisor.directory.owners[bucket] == BucketOwner(
            bucket, owner.owner, owner.incarnation + 2
        )


async def test_answer_that_comes_when_its_name_is_given_up_is_dropped():
    asking, here = Asking(), asyncio.Event()

    async def question():
        await here.wait()
        return "late"

    waiting = asyncio.create_task(asking.answer("shard-0/1", question()))
    other = asyncio.create_task(asking.answer("shard-1/1", question()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    here.set()
    await asyncio.sleep(0)  # it has answered, and nobody has read that
    asking.give_up("shard-0/1")
    with pytest.raises(TransientError, match="given up"):
        await waiting
    assert await other == "late"
    assert asking._under_way == {}
