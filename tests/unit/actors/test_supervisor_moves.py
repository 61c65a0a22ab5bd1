"""Buckets that are served move once their new owner is prepared, whoever dies meanwhile."""

import asyncio

from engine.control import (
    Ping,
    Scale,
    StatusWanted,
)
from engine.limits import BUCKETS
from tests.support.supervisor_world import World, new_shards, running


def steps(world, name):
    return [step for step, one in world.order if one == name and step in ("prepare", "take")]


async def test_what_somebody_serves_is_prepared_first_and_what_nobody_does_is_taken_at_once():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = {one.name for one in world.living("shard")}
        await world.supervisor.handlers[Scale](Scale(shards=4))
        await world.until(lambda: world.supervisor.ready)
        made = new_shards(world, before)
        assert len(made) == 2
        assert all(steps(world, name)[:2] == ["prepare", "take"] for name in made)
        assert all(steps(world, name) == ["take"] for name in before)


async def test_shard_that_cannot_prepare_takes_nothing_and_the_old_ones_go_on():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = {one.name for one in world.living("shard")}
        owners = world.supervisor.directory.owners
        world.refuses = True
        await world.supervisor.handlers[Scale](Scale(shards=3))
        await world.until(lambda: new_shards(world, before))
        await world.until(lambda: ("prepare", *new_shards(world, before)) in world.order)
        await asyncio.sleep(0.1)
        assert world.supervisor.directory.owners == owners and not world.supervisor.ready
        status = await world.supervisor.handlers[StatusWanted](StatusWanted())
        assert status["buckets_owned"] == BUCKETS and 200 < status["buckets_to_move"] < 500
        world.refuses = False
        await world.until(lambda: world.supervisor.ready)
        assert len(world.owners()) == 3


async def test_buckets_of_a_dead_shard_are_taken_while_another_one_prepares():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = {one.name for one in world.living("shard")}
        world.gate.clear()
        await world.supervisor.handlers[Scale](Scale(shards=3))
        await world.until(lambda: any(step == "prepare" for step, _ in world.order))
        victim = min(before)
        world.launcher.dead.add(victim)
        await world.until(
            lambda: victim not in world.owners() and world.supervisor._owned() == BUCKETS
        )
        world.gate.set()
        await world.until(lambda: world.supervisor.ready)
        assert len(world.owners()) == 3


async def test_supervisor_that_dies_while_a_shard_prepares_leaves_the_move_to_the_next():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = {o.bucket: o for o in world.supervisor.directory.owners}
        world.gate.clear()
        await world.supervisor.handlers[Scale](Scale(shards=4))
        await world.until(lambda: any(step == "prepare" for step, _ in world.order))
    world.supervisor._shifts.cancel()
    world.gate.set()
    world.supervisor = world.build()
    async with running(world):
        assert len(world.owners()) == 4
        after = {o.bucket: o for o in world.supervisor.directory.owners}
        moved = [b for b in after if after[b].owner != before[b].owner]
        assert all(after[b].incarnation == before[b].incarnation + 1 for b in moved)
        assert all(after[b] == before[b] for b in set(after) - set(moved))


async def test_shard_that_is_not_wanted_any_more_when_it_is_prepared_gets_nothing():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        before = world.supervisor.directory.owners
        world.gate.clear()
        await world.supervisor.handlers[Scale](Scale(shards=3))
        await world.until(lambda: any(step == "prepare" for step, _ in world.order))
        await world.supervisor.handlers[Scale](Scale(shards=2))
        world.gate.set()
        await world.until(lambda: world.supervisor.ready)
        assert world.supervisor.directory.owners == before


async def test_pong_from_before_a_take_does_not_have_the_buckets_taken_again():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        names = {one.name for one in world.living("shard")}
        before = {o.bucket: o for o in world.supervisor.directory.owners}
        world.gate.clear()
        await world.supervisor.handlers[Scale](Scale(shards=3))
        await world.until(lambda: any(step == "prepare" for step, _ in world.order))
        (name,) = new_shards(world, names)
        ask = world.launcher.ask

        async def late(to, message, *, timeout_s):
            answer = await ask(to, message, timeout_s=timeout_s)
            if isinstance(message, Ping) and to == name:
                # It has answered, and takes before that is heard of.
                world.gate.set()
                await world.until(lambda: name in world.owners())
            return answer

        world.launcher.ask = late
        await world.until(lambda: world.supervisor.ready)
        await asyncio.sleep(0.1)
        after = {o.bucket: o for o in world.supervisor.directory.owners}
        moved = [b for b in after if after[b].owner != before[b].owner]
        assert moved and all(after[b].incarnation == before[b].incarnation + 1 for b in moved)
