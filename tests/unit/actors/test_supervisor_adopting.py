"""A supervisor comes after one that died: what is there but not well has no slot filled twice."""

import asyncio

import pytest

from actors import ending
from actors import supervisor as module
from engine.control import Scale, StatusWanted, Take
from engine.errors import TransientError
from engine.limits import BUCKETS
from tests.support.supervisor_world import World, running
from tests.support.tasks import beside


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 0.3)
    monkeypatch.setattr(ending, "AGAIN_S", 0.01)


async def left(**settings):
    """A world whose supervisor has just died, and who was there."""
    world = World(**settings)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        there = {one.slot: one.name for one in world.supervisor.directory.instances}
    world.supervisor = world.build()
    return world, there


def never_two(world, slot):
    """Notes every launch into the slot while one that had it was not ended."""
    launch, twice = world.launcher.launch, []

    async def launched(one, role, placed):
        if one == slot:
            mine = [name for name in world.launcher.roles if name.startswith(f"{slot}/")]
            twice.extend(name for name in mine if name not in world.launcher.dead)
        return await launch(one, role, placed)

    world.launcher.launch = launched
    return twice


async def test_role_that_its_launcher_did_not_live_to_start_is_replaced():
    world, there = await left()
    world.launcher.unstarted.add(there["listener"])
    twice = never_two(world, "listener")
    async with running(world):
        assert there["listener"] in world.launcher.killed
        assert {one.name for one in world.living("listener")} != {there["listener"]}
        assert twice == [] and len(world.launcher.killed) == 1


async def test_silent_role_is_ended_before_its_slot_is_filled_and_nothing_is_ready_before():
    world, there = await left()
    world.launcher.silent.add(there["gateway-0"])
    twice = never_two(world, "gateway-0")
    started = world.launcher.count
    async with beside([world.supervisor.run()]):
        await world.until(lambda: world.living("gateway"))
        status = await world.supervisor.handlers[StatusWanted](StatusWanted())
        assert status["untold"] == ["gateway-0"] and not status["ready"]
        await world.until(lambda: world.supervisor.ready)
        assert world.launcher.killed == [there["gateway-0"]] and twice == []
        assert world.launcher.count == started + 1
        status = await world.supervisor.handlers[StatusWanted](StatusWanted())
        assert status["untold"] == []


async def test_role_that_answers_again_in_time_is_kept_and_known_by_what_it_says():
    world, there = await left()
    shard = there["shard-0"]
    world.launcher.silent.add(shard)
    before, started = dict(world.store.rows), world.launcher.count
    async with beside([world.supervisor.run()]):
        await world.until(lambda: world.supervisor._owned() == BUCKETS)
        assert not world.supervisor.ready
        world.launcher.silent.discard(shard)
        await world.until(lambda: world.supervisor.ready)
        one = world.supervisor._instances["shard-0"]
        assert one == world.launcher.instances[shard] and one.pid
        assert world.launcher.killed == [] and world.launcher.count == started
        # Nobody took anything from it meanwhile.
        assert world.store.rows == before


async def test_buckets_of_a_silent_shard_are_taken_though_postgres_was_away_at_first():
    world, there = await left()
    world.launcher.silent.add(there["shard-0"])
    owners, asked = world.store.owners, []

    async def away():
        asked.append(1)
        if len(asked) == 1:
            raise TransientError("store_unavailable", "down")
        return await owners()

    world.store.owners = away
    async with running(world):
        assert there["shard-0"] in world.launcher.killed
        assert "owners_unknown" in world.supervisor._log.events()


async def test_busy_role_that_is_silent_when_it_is_adopted_is_given_more_time(monkeypatch):
    world, there = await left()
    world.launcher.silent.add(there["listener"])
    world.launcher.busy.add(there["listener"])
    async with beside([world.supervisor.run()]):
        await asyncio.sleep(1.0)
        assert world.launcher.killed == []
        monkeypatch.setattr(module, "BUSY_MAX_S", 0.3)
        await world.until(lambda: world.supervisor.ready)
        assert world.launcher.killed == [there["listener"]]


async def test_role_that_says_for_long_that_it_is_not_built_is_replaced():
    world = World()
    async with running(world):
        victim = world.living("listener")[0].name
        world.launcher.unstarted.add(victim)
        await world.until(lambda: victim in world.launcher.killed)
        await world.until(lambda: world.supervisor.ready)


async def test_slot_stays_empty_until_its_last_one_is_known_to_have_ended():
    world, there = await left()
    world.launcher.unstarted.add(there["listener"])
    kill, refusals = world.launcher.kill, 5

    async def refused(instance):
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise TransientError("shard_unavailable", "Expected Ray's head to answer")
        await kill(instance)

    world.launcher.kill = refused
    twice = never_two(world, "listener")
    async with running(world):
        assert twice == [] and world.launcher.killed == [there["listener"]]
        assert world.supervisor._log.events().count("role_not_ended") == 1


async def test_two_that_are_ended_for_one_slot_both_end_before_it_is_filled():
    world, there = await left()
    second = "listener/99"
    world.launcher.roles[second] = world.launcher.make("listener", second)
    world.launcher.unstarted |= {there["listener"], second}
    kill, go = world.launcher.kill, asyncio.Event()

    async def slow(instance):
        if instance.name == second:
            await go.wait()
        await kill(instance)

    world.launcher.kill = slow
    twice = never_two(world, "listener")
    async with beside([world.supervisor.run()]):
        await world.until(lambda: there["listener"] in world.launcher.killed)
        await asyncio.sleep(0.1)
        assert not world.living("listener")
        go.set()
        await world.until(lambda: world.supervisor.ready)
        assert twice == []


async def test_silent_ones_are_left_alone_with_the_kill_switched_off():
    world, there = await left(kill_stopped=False)
    spare = "shard-0/99"
    world.launcher.roles[spare] = world.launcher.make("shard-0", spare)
    world.launcher.silent |= {there["listener"], spare}
    async with running(world):
        assert world.launcher.killed == []
        assert world.living("listener")[0].name != there["listener"]


async def test_role_that_is_being_launched_by_this_supervisor_is_not_ended():
    world, _ = await left()
    world.launcher.start_s = 0.2
    async with running(world):
        await world.supervisor.handlers[Scale](Scale(shards=3))
        await world.until(lambda: len(world.owners()) == 3 and world.supervisor.ready)
        assert world.launcher.killed == []


async def test_take_is_not_asked_of_a_silent_shard_for_what_it_has():
    world, there = await left()
    world.launcher.silent.add(there["shard-0"])
    world.launcher.asked.clear()
    async with beside([world.supervisor.run()]):
        await world.until(lambda: world.supervisor._owned() == BUCKETS)
        await asyncio.sleep(0.1)
        assert not [n for n, m in world.launcher.asked if isinstance(m, Take)]
