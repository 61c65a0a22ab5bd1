"""What the cluster's client makes of a head, or of actors, that do not answer."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from actors import handles, near
from actors.handles import Cluster
from engine.adoption import Found
from engine.control import Instance, Ping, Pong
from engine.errors import TransientError

ONE = Instance("keeper", "keeper", "risecurve/keeper/1", 7, "here")


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(handles, "GCS_TIMEOUT_S", 0.02)
    monkeypatch.setattr(handles, "_this_node", lambda: "here")
    monkeypatch.setattr(handles, "_is_worker", lambda _: False)
    return Cluster(SimpleNamespace(actors=SimpleNamespace(ray_namespace="x", ray_address="")))


async def test_end_that_rays_head_did_not_hear_of_is_an_error(cluster, monkeypatch):
    monkeypatch.setattr(handles.ray, "get_actor", lambda *_: time.sleep(0.1))
    with pytest.raises(TransientError, match="Expected Ray's head to end risecurve/keeper/1"):
        await cluster.kill(ONE)


async def test_process_of_this_node_is_ended_though_rays_head_does_not_answer(cluster, monkeypatch):
    ended = []
    monkeypatch.setattr(handles.ray, "get_actor", lambda *_: time.sleep(0.1))
    monkeypatch.setattr(handles, "_is_worker", lambda pid: pid == ONE.pid)
    monkeypatch.setattr(handles.os, "kill", lambda pid, _: ended.append(pid))
    await cluster.kill(ONE)
    assert ended == [ONE.pid]


async def test_one_of_which_ray_does_not_know_has_ended(cluster, monkeypatch):
    def unknown(*_):
        raise ValueError("Failed to look up actor")

    monkeypatch.setattr(handles.ray, "get_actor", unknown)
    await cluster.kill(ONE)


async def test_existing_are_who_answers_and_the_rest_by_name_and_process(cluster, monkeypatch):
    there = {"risecurve/keeper/1": 7, "risecurve/shard-0/2": 8, "risecurve/shard-1/3": 0}
    monkeypatch.setattr(handles.ray.util, "list_named_actors", lambda: [*there, "other/1"])
    monkeypatch.setattr(handles, "GCS_TIMEOUT_S", 5.0)
    place = near.place("here", "x")
    monkeypatch.setattr(near, "process", lambda at, name: there[name] if at == place else 0)
    pong = Pong("keeper", "keeper", "risecurve/keeper/1", 7)

    async def ask(name, message, *, timeout_s):
        assert isinstance(message, Ping)
        if name == pong.name:
            return pong
        raise TransientError("shard_unavailable", name)

    monkeypatch.setattr(cluster, "ask", ask)
    assert await asyncio.wait_for(cluster.existing(), 5) == Found(
        (pong,),
        (
            Instance("shard-0", "", "risecurve/shard-0/2", 8, "here"),
            Instance("shard-1", "", "risecurve/shard-1/3"),
        ),
    )
