"""Slots stay filled, buckets owned; kills, stops and moves with fakes."""

import asyncio
import time
from dataclasses import replace

import pytest

from actors import node_watch
from actors import supervisor as module
from engine.control import (
    Drain,
    Scale,
    StatusWanted,
    Take,
)
from engine.errors import TransientError
from engine.limits import BUCKETS
from engine.messages import BucketOwner
from engine.placement import Node
from tests.support.supervisor_world import FakeRole, World, running
from tests.support.tasks import passed


async def test_start_fills_slots_and_buckets_and_tells_everybody():
    world = World()
    async with running(world):
        names = {i.name for i in world.living("shard")}
        await world.until(lambda: world.owners() == names)
        assert len(world.supervisor.directory.owners) == BUCKETS
        gateway = world.launcher.roles[world.living("gateway")[0].name]
        await world.until(lambda: gateway.directory.version == world.supervisor.directory.version)


async def test_dead_shard_is_replaced_and_its_buckets_owned_again():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        victim = world.living("shard")[0].name
        world.launcher.dead.add(victim)
        await world.until(lambda: victim not in world.owners() and world.supervisor.ready)
        await world.until(lambda: len(world.owners()) == 2)
        assert len(world.living("shard")) == 2


async def test_doors_hear_of_a_move_before_the_old_owner_lets_go():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2 and world.living("gateway"))
        # What was moved while the roles started is not what is looked at.
        await passed(0.1)
        world.order.clear()
        world.launcher.start_s = 0.2
        victim = world.living("shard")[0].name
        world.launcher.dead.add(victim)
        await world.until(lambda: victim not in world.owners() and len(world.owners()) == 2)
        await world.until(lambda: any(step == "release" for step, _ in world.order))
        release = next(i for i, (step, _) in enumerate(world.order) if step == "release")
        door = world.living("gateway")[0].name
        assert ("route", door) in world.order[:release]


async def test_owner_whose_answer_was_lost_is_told_that_others_own_its_buckets_now():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        first, second = (world.launcher.roles[one.name] for one in world.living("shard"))
        held = dict(second.held)
        # It took them, the supervisor never heard of it, and then they were taken again.
        first.held |= {bucket: 0 for bucket in held}
        await world.until(lambda: not set(first.held) & set(held))
        assert second.held == held and world.supervisor.ready


async def test_buckets_of_a_take_whose_answer_was_lost_are_known_by_the_next_ping():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        first = world.launcher.roles[world.living("shard")[0].name]
        first.held = {bucket: incarnation + 5 for bucket, incarnation in first.held.items()}
        wanted = {bucket: (first.name, i) for bucket, i in first.held.items()}

        def known():
            owners = {o.bucket: (o.owner, o.incarnation) for o in world.supervisor.directory.owners}
            return {b: owners.get(b) for b in wanted} == wanted

        await world.until(known)


async def test_silent_role_is_killed_after_a_while_not_at_once(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 3_600)
    world = World()
    async with running(world):
        victim = world.living("listener")[0].name
        world.launcher.silent.add(victim)
        await asyncio.sleep(0.1)
        assert victim not in world.launcher.killed
        monkeypatch.setattr(module, "SILENCE_MAX_S", 0.1)
        await world.until(lambda: victim in world.launcher.killed)
        await world.until(lambda: world.supervisor.ready)


async def test_silent_role_that_is_busy_is_given_more_time(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 0.05)
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        victim = world.living("shard")[0].name
        world.launcher.busy.add(victim)
        world.launcher.silent.add(victim)
        await asyncio.sleep(0.3)
        assert victim not in world.launcher.killed and victim in world.owners()
        monkeypatch.setattr(module, "BUSY_MAX_S", 0.1)
        await world.until(lambda: victim in world.launcher.killed)


async def test_supervisor_that_was_stopped_itself_takes_nobody_for_silent(monkeypatch):
    monkeypatch.setattr(module, "AWAKE_STEP_S", 0.02)
    monkeypatch.setattr(module, "SILENCE_MAX_S", 0.2)
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        started = world.launcher.count
        world.launcher.silent.update(one.name for one in world.living("shard"))
        await asyncio.sleep(0.05)
        # The process stands, and its pings run out meanwhile.
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        await asyncio.sleep(0.05)
        world.launcher.silent.clear()
        await asyncio.sleep(0.3)
        assert world.launcher.killed == [] and world.launcher.count == started


async def test_silent_role_is_left_alone_with_the_kill_switched_off(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_MAX_S", 0.1)
    world = World(kill_stopped=False)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        victim = world.living("shard")[0].name
        world.launcher.silent.add(victim)
        await world.until(lambda: victim not in world.owners() and world.supervisor.ready)
        assert victim not in world.launcher.killed


async def test_new_supervisor_adopts_what_is_there():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        started = world.launcher.count
    world.supervisor = world.build()
    world.launcher.roles["supervisor/1"] = FakeRole("supervisor/1", world.store, [])
    async with running(world):
        assert world.launcher.count == started
        assert world.launcher.killed == []
        assert len(world.owners()) == 2


async def test_new_supervisor_tells_of_a_move_that_the_one_before_did_not_live_to_tell():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        first, second = [world.launcher.roles[i.name] for i in world.living("shard")]
        gateway = world.launcher.roles[world.living("gateway")[0].name]
    share = Take(frozenset(second.held))
    await first.take(share)
    second.held.clear()
    # Back again, and then the supervisor died: the doors still ask the first shard.
    await second.take(share)
    before = gateway.directory.version
    world.supervisor = world.build()
    async with running(world):
        await world.until(lambda: gateway.directory.version > before)
        told = {one.bucket: one for one in gateway.directory.owners}
        assert all(told[b] == BucketOwner(b, second.name, i) for b, i in second.held.items())
        await world.until(lambda: ("release", first.name) in world.order)


async def test_drain_goes_from_the_doors_inwards():
    world = World()
    async with running(world):
        await world.supervisor.handlers[Drain](Drain())
    drained = [name.split("-")[0].split("/")[0] for step, name in world.order if step == "drain"]
    assert drained == ["gateway", "listener", "shard", "shard"]


async def test_bucket_that_its_shard_let_go_is_taken_again():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        name = world.living("shard")[0].name
        role = world.launcher.roles[name]
        bucket, before = next(iter(role.held.items()))
        del role.held[bucket]
        await world.until(lambda: role.held.get(bucket, 0) > before and world.supervisor.ready)
        owners = {o.bucket: o for o in world.supervisor.directory.owners}
        assert owners[bucket].incarnation == role.held[bucket]


async def test_scaling_up_moves_buckets_once_to_all_new_shards():
    world = World()
    async with running(world):
        before = {o.bucket: o for o in world.supervisor.directory.owners}
        await world.supervisor.handlers[Scale](Scale(shards=4))
        assert not world.supervisor.ready
        await world.until(lambda: len(world.owners()) == 4 and world.supervisor.ready)
        after = {o.bucket: o for o in world.supervisor.directory.owners}
        moved = [b for b in after if after[b].owner != before[b].owner]
        assert 0.4 * BUCKETS < len(moved) < 0.6 * BUCKETS
        assert all(after[b].incarnation == before[b].incarnation + 1 for b in moved)
        assert all(after[b] == before[b] for b in set(after) - set(moved))


async def test_scaling_down_drains_a_shard_only_when_its_buckets_are_elsewhere():
    world = World()
    world.wanted.now = replace(world.wanted.now, shards=3)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 3)
        leaving = {i.name for i in world.living("shard") if i.slot != "shard-0"}
        held = []
        for name in leaving:
            role = world.launcher.roles[name]
            drain = role.drain
            role.handlers[Drain] = lambda m, r=role, d=drain: (held.append(dict(r.held)), d(m))
        await world.supervisor.handlers[Scale](Scale(shards=1))
        await world.until(lambda: leaving <= set(world.launcher.killed) and world.supervisor.ready)
        assert held == [{}, {}]
        assert len(world.owners()) == len(world.living("shard")) == 1


async def test_scaling_to_what_is_there_changes_nothing():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        started, directory = world.launcher.count, world.supervisor.directory
        numbers = await world.supervisor.handlers[Scale](Scale(shards=2))
        await asyncio.sleep(0.1)
        assert (numbers.shards, numbers.gateways) == (2, 1)
        assert world.launcher.count == started and world.launcher.killed == []
        assert world.supervisor.directory.owners == directory.owners


async def test_gateways_come_and_go():
    world = World()
    async with running(world):
        await world.supervisor.handlers[Scale](Scale(gateways=3))
        await world.until(lambda: len(world.living("gateway")) == 3 and world.supervisor.ready)
        await world.supervisor.handlers[Scale](Scale(gateways=1))
        await world.until(lambda: len(world.living("gateway")) == 1 and world.supervisor.ready)
        assert {name.split("/")[0] for name in world.launcher.killed} == {"gateway-1", "gateway-2"}


async def test_new_supervisor_finishes_what_another_one_began_to_scale_down():
    world = World()
    world.wanted.now = replace(world.wanted.now, shards=3)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 3)
    # It wrote the number, and died.
    await world.wanted.write(Scale(shards=2))
    world.supervisor = world.build()
    async with running(world):
        assert len(world.living("shard")) == len(world.owners()) == 2
        assert [name.split("/")[0] for name in world.launcher.killed] == ["shard-2"]
        third = next(r for n, r in world.launcher.roles.items() if n.startswith("shard-2/"))
        assert world.order.index(("release", third.name)) < world.order.index(("drain", third.name))


async def test_supervisor_that_cannot_read_what_is_wanted_ends_nobody():
    world = World()
    world.wanted.now = replace(world.wanted.now, shards=3)
    async with running(world):
        await world.until(lambda: len(world.owners()) == 3)
    world.wanted.down = True
    world.supervisor = world.build()
    task = asyncio.create_task(world.supervisor.run())
    try:
        await asyncio.sleep(0.1)
        assert world.launcher.killed == []
        world.wanted.down = False
        await world.until(lambda: world.supervisor.ready)
        assert len(world.living("shard")) == 3 and world.launcher.killed == []
    finally:
        task.cancel()


async def test_shard_that_dies_while_another_starts_is_not_waited_for():
    world = World()
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        world.launcher.start_s = 0.5
        await world.supervisor.handlers[Scale](Scale(shards=3))
        victim = world.living("shard")[0].name
        world.launcher.dead.add(victim)
        await world.until(lambda: victim not in world.owners())
        living = {one.name for one in world.living("shard")}
        assert world.owners() <= living and len(living) == 1


async def test_node_that_joins_is_given_shards_one_at_a_time_and_no_bucket_is_left_alone(
    monkeypatch,
):
    monkeypatch.setattr(node_watch, "LOOK_EVERY_S", 0.01)
    world = World()
    world.wanted.now = replace(world.wanted.now, shards=4)
    world.launcher.places = [Node("a", "10.0.0.1", head=True)]
    async with running(world):
        await world.until(lambda: len(world.owners()) == 4)
        world.launcher.places = [*world.launcher.places, Node("b", "10.0.0.2")]
        away = []

        def spread():
            away.append(BUCKETS - world.supervisor._owned())
            nodes = [one.node for one in world.living("shard")]
            return nodes.count("a") == nodes.count("b") == 2 and world.supervisor.ready

        await world.until(spread)
        assert max(away) == 0
        assert len(world.launcher.killed) == 2


async def test_starts_are_a_few_at_once():
    world = World()
    world.wanted.now = replace(world.wanted.now, shards=12)
    at_once, most = 0, 0
    launch = world.launcher.launch

    async def counted(*given):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        instance = await launch(*given)
        at_once -= 1
        return instance

    world.launcher.launch = counted
    async with running(world):
        assert most == module.STARTS_AT_ONCE
        assert len(world.living("shard")) == 12


async def test_status_says_why_a_slot_is_empty_until_it_is_filled():
    world = World()
    launch, broken = world.launcher.launch, True

    async def refused(slot, role, placed):
        if slot == "gateway-0" and broken:
            raise TransientError("shard_unavailable", "Expected a free port")
        return await launch(slot, role, placed)

    world.launcher.launch = refused
    status = world.supervisor.handlers[StatusWanted]
    task = asyncio.create_task(world.supervisor.run())
    try:
        await world.until(lambda: world.supervisor._failing)
        told = await status(StatusWanted())
        assert (
            list(told["failing"]) == ["gateway-0"] and "free port" in told["failing"]["gateway-0"]
        )
        broken = False
        await world.until(lambda: world.supervisor.ready)
        assert (await status(StatusWanted()))["failing"] == {}
    finally:
        task.cancel()


@pytest.mark.parametrize("step", ["fill", "retire", "shift"])
async def test_bug_in_a_task_of_its_own_ends_the_supervisor(step, monkeypatch):
    world, broken = World(), ValueError("a bug")

    async def fail(*_, **__):
        raise broken

    run = asyncio.create_task(world.supervisor.run())
    await world.until(lambda: world.supervisor.ready and len(world.owners()) == 2)
    if step == "fill":
        monkeypatch.setattr(world.launcher, "launch", fail)
        world.launcher.dead.add(world.living("shard")[0].name)
    elif step == "shift":
        monkeypatch.setattr(world.supervisor, "_shift_all", fail)
    else:
        monkeypatch.setattr(world.launcher, "kill", fail)
        world.supervisor._displaced = world.living("gateway")[0].slot
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(run, 5)
    assert caught.value.exceptions == (broken,)
    assert not world.supervisor._displaced


async def test_drain_waits_for_those_that_are_being_ended_and_not_for_ever():
    world, go = World(drain_timeout_s=0.1), asyncio.Event()
    kill, ended = world.launcher.kill, []

    async def slowly(instance):
        await go.wait()
        await kill(instance)
        ended.append(instance.name)

    world.launcher.kill = slowly
    async with running(world):
        await world.until(lambda: len(world.owners()) == 2)
        victim = world.living("shard")[0].name
        world.launcher.dead.add(victim)
        await world.until(lambda: victim not in {one.name for one in world.living("shard")})
        await asyncio.wait_for(world.supervisor.handlers[Drain](Drain()), 5)
        assert "roles_not_ended" in world.supervisor._log.events() and not ended
        asyncio.get_running_loop().call_later(0.02, go.set)
        await asyncio.wait_for(world.supervisor.handlers[Drain](Drain()), 5)
        assert ended == [victim]
