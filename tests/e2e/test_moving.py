"""Shards that come and go while quotes are asked: none is wrong or lost, whoever dies meanwhile."""

import asyncio
import gc
import json
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from bench import scale, system
from engine.limits import BUCKETS
from gateway.client import StreamClient
from tests.support import running

TOKENS = 12
PACE_S = 0.05
PAUSE_S_MAX = 3.0
"""On a machine that does other things too; the bench measures what it is."""

RECOVERY_S_MAX = 20.0
READY_S_MAX = 60.0


def lines(one: running.Running, event: str) -> int:
    text = (one.folder / "logs" / "combined.log").read_text().splitlines()
    return sum(json.loads(line).get("event") == event for line in text if f'"{event}"' in line)


def supervisor(one: running.Running) -> int:
    # The host that no slot names.
    named = set(one.pids().values())
    hosts = [p.pid for p in running.descendants(one.process.pid) if _is_host(p.pid)]
    (found,) = [pid for pid in hosts if pid not in named]
    return found


def _is_host(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Host")


async def killed_while_scaling(one: running.Running, wanted: int, event: str) -> int:
    """kill -9 of the supervisor at the first such line of the log."""
    pid = await asyncio.to_thread(supervisor, one)
    before = lines(one, event)
    scaling = asyncio.create_task(asyncio.to_thread(scale.scale, wanted, one.environment))
    async with asyncio.timeout(READY_S_MAX):
        while lines(one, event) == before:
            assert not scaling.done(), "it was over before anybody was killed"
            await asyncio.sleep(0.05)  # reading the log holds up the client too
    os.kill(pid, signal.SIGKILL)
    await scaling
    return pid


def _status(one: running.Running) -> tuple[int, dict[str, Any]]:
    # The supervisor may die between its being found and its being asked.
    try:
        return one.cli("status")
    except running.CommandFailed as error:
        return 1, {"error": str(error)}


async def settled(one: running.Running, shards: int) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while True:
        code, status = await asyncio.to_thread(_status, one)
        roles = status["roles"] if code == 0 else {}
        owned = [role["buckets"] for role in roles.values() if role and "buckets" in role]
        if code == 0 and status["ready"] and len(owned) == shards and sum(owned) == BUCKETS:
            return
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.5)


@pytest.mark.timeout(300)
def test_scaling_moves_buckets_without_a_lost_or_wrong_quote(again: running.Running) -> None:
    asyncio.run(scaled(again))
    # The stream client's library closes its socket when it is collected, with a warning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def scaled(one: running.Running) -> None:
    made = await system.with_markets(
        one.run, one.process.pid, tokens=TOKENS, environment=one.environment
    )
    async with StreamClient(one.run.stream_url) as client:
        paced = scale.Paced([client], made.tokens, pace_s=PACE_S)
        paced.start()
        # Up, and it dies when some of it has moved; down again, and nobody dies.
        dead = await killed_while_scaling(one, 4, "buckets_moved")
        await settled(one, 4)
        longest = max(paced.longest_s(token) for token in made.tokens)
        print(f"\nsupervisor {dead} killed: {len(paced.of_moved())} moved, longest {longest:.2f} s")
        assert paced.of_moved() and longest < RECOVERY_S_MAX
        paced.begin()
        await asyncio.to_thread(scale.scale, 2, one.environment)
        await settled(one, 2)
        moved = paced.of_moved()
        print(f"2 shards: {len(moved)} tokens moved, paused {scale.ranks([*moved.values()])}")
        assert moved and max(moved.values()) < PAUSE_S_MAX
        await asyncio.to_thread(supervisor, one)  # there is one, and nobody whom it does not know
        await paced.stop()
    assert paced.wrong == []
    assert paced.asked > 1_000 and paced.lost == 0, paced.codes
