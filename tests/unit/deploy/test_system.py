"""A supervisor that dies is started again by the command that the system belongs to, and by no
other: what another command starts would end with it.
"""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from actors.build import build
from deploy import system as module
from deploy.system import System
from engine.control import Instance, Pong, Scale, StatusWanted, Wanted
from engine.errors import TransientError

WANTED = Wanted(4, 1, 0)


class Cluster:
    """Supervisors by name. `old` dies at the first question; `new` is there a while later."""

    def __init__(self, *, has_new: bool, living: Sequence[str] = ("old",)) -> None:
        self.living = list(living)
        self.restarting: list[str] = []
        self.unstarted: set[str] = set()
        self.has_new = has_new
        self.looks = 0
        self.launched: list[str] = []
        self.refused = 0

    async def ask(self, name, message, *, timeout_s):
        if name not in self.living:
            raise TransientError("actor_died", name)
        if name == "old":
            self.living.remove(name)
        if isinstance(message, Scale):
            return WANTED
        assert isinstance(message, StatusWanted)
        ready = name != "old"
        return {"ready": ready, "wanted": {"shards": 4, "gateways": 1, "stream_gateways": 0}}

    async def pongs(self):
        self.looks += 1
        if self.has_new and self.looks == 4:
            self.living.append("new")
            self.unstarted.discard("early")
        return [
            Pong("supervisor", "supervisor", one, 1, build=build(), started=started)
            for one in self.living
            for started in [one not in self.unstarted]
        ]

    async def names(self):
        return [f"risecurve/supervisor/{one}" for one in [*self.living, *self.restarting]]

    async def launch(self, slot, role, placed=()):
        if self.refused:
            self.refused -= 1
            raise TransientError("shard_unavailable", "Expected supervisor to start")
        self.launched.append("ours")
        self.living.append("ours")
        return Instance(slot, role, "ours")

    async def kill(self, instance, *, restart=False):
        self.living = [one for one in self.living if one != instance.name]


def system_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *, shared=False) -> System:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    monkeypatch.setattr(module, "ATTACH_POLL_S", 0.001)
    monkeypatch.setattr(module.bridge_slots, "slots", lambda _: {})
    address = "ray:1" if shared else ""
    made = System(SimpleNamespace(actors=SimpleNamespace(ray_namespace="x", ray_address=address)))
    made.cluster = cluster
    return made


async def test_scale_whose_supervisor_dies_waits_for_the_next_and_starts_none(monkeypatch):
    cluster = Cluster(has_new=True)
    system = system_on(cluster, monkeypatch)
    await system.attach()
    assert await system.scale(Scale(shards=4), lambda _: None) == WANTED
    assert cluster.launched == [] and cluster.living == ["new"]


async def test_start_whose_supervisor_dies_starts_another(monkeypatch):
    cluster = Cluster(has_new=False)
    system = system_on(cluster, monkeypatch)
    await system.start()
    assert cluster.launched == ["ours"] and cluster.living == ["ours"]


async def test_supervisor_that_is_being_started_again_is_waited_for(monkeypatch):
    cluster = Cluster(has_new=True, living=())
    cluster.restarting = ["new"]
    system = system_on(cluster, monkeypatch)
    await system.attach()
    assert cluster.looks == 4
    assert (await system.status())["ready"]


async def test_supervisor_of_which_nobody_knows_is_not_waited_for(monkeypatch):
    cluster = Cluster(has_new=True, living=())
    with pytest.raises(TransientError, match="Expected a running supervisor, was none"):
        await system_on(cluster, monkeypatch).attach()
    assert cluster.looks == 1


async def test_supervisor_whose_role_is_not_built_yet_is_waited_for(monkeypatch):
    cluster = Cluster(has_new=True, living=("early",))
    cluster.unstarted = {"early"}
    system = system_on(cluster, monkeypatch)
    await system.attach()
    assert cluster.looks == 4 and "early" not in cluster.unstarted


async def test_supervisor_whose_role_is_never_built_is_taken_to_be_ended(monkeypatch):
    cluster = Cluster(has_new=False, living=("early",))
    cluster.unstarted = {"early"}
    system = system_on(cluster, monkeypatch)
    await system.attach(timeout_s=0.0)
    assert (await system.status())["ready"]


async def test_supervisor_that_another_command_looks_after_is_waited_for_unknown(monkeypatch):
    cluster = Cluster(has_new=True, living=())
    system = system_on(cluster, monkeypatch)
    await system.attach(looked_after=True)
    assert cluster.looks == 4
    assert (await system.status())["ready"]


async def test_supervisor_that_does_not_come_back_is_an_error_in_the_end(monkeypatch):
    cluster = Cluster(has_new=False, living=())
    cluster.restarting = ["lost"]
    monkeypatch.setattr(module, "ATTACH_TIMEOUT_S", 0.01)
    with pytest.raises(TransientError, match="Expected a running supervisor, was none"):
        await system_on(cluster, monkeypatch).attach()


async def test_local_supervisor_that_cannot_be_started_for_long_is_started_in_the_end(monkeypatch):
    cluster = Cluster(has_new=False, living=())
    cluster.refused = 3 * module.MISSES_MAX
    system = system_on(cluster, monkeypatch)
    watch = asyncio.create_task(system.watch())
    async with asyncio.timeout(5):
        while not cluster.launched and not watch.done():
            await asyncio.sleep(0.001)
    assert not watch.done() and cluster.launched == ["ours"]
    watch.cancel()


async def test_system_on_a_cluster_that_was_taken_down_is_watched_no_longer(monkeypatch):
    cluster = Cluster(has_new=False, living=())
    system = system_on(cluster, monkeypatch, shared=True)
    await asyncio.wait_for(system.watch(), 5)
    assert cluster.launched == []


def test_role_that_was_adopted_and_does_not_answer_is_told_as_missing():
    status = {
        "slots": ["keeper", "listener", "points"],
        "instances": [{"slot": "keeper"}, {"slot": "points"}],
        "failing": {"listener": "no node"},
        "untold": ["keeper"],
    }
    assert module._missing(status) == "listener (no node); keeper (does not answer)"
