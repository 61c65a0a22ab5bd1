"""Cut, half-open and refused connections to the node, under load."""

import asyncio
import random
import time
from datetime import datetime
from typing import Any

from tests.chaos import truth as truths
from tests.chaos.report import Row, say
from tests.chaos.world import SETTLE_S_MAX, World
from tests.support.load import percentiles

CUTS_MIN = 200
POLL_S = 0.02
HALF_OPEN_S = 0.4
SLOW_S = 4.5
SHARES = {"cut": 0.76, "half_open": 0.06, "refused": 0.18}


async def cuts(world: World, rng: random.Random, count: int) -> Row:
    """Each cut waits until the quotes stand on the node's tip again, then the next comes."""
    row = Row("no gap after a lost socket", "socket cuts", trials_min=CUTS_MIN)
    await world.begin()
    times: dict[str, list[float]] = {kind: [] for kind in SHARES}
    for number in range(count):
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        (kind,) = rng.choices(list(SHARES), weights=list(SHARES.values()))
        if number < len(SHARES):
            kind = list(SHARES)[number]  # each at least once, however few there are
        took = await _cut(world, kind, rng)
        row.trials += 1
        if took is None:
            row.fail(f"cut {number} ({kind}): not caught up in {SETTLE_S_MAX} s")
        else:
            times[kind].append(took)
            if took > SLOW_S:
                row.figure.setdefault("slow", []).append(_story(world, kind, took))
        if number % 50 == 49:
            say(f"  {number + 1} cuts")
    done = [one for kind in times.values() for one in kind]
    row.figure["catch_up_s"] = percentiles(done)
    row.figure["by_kind"] = {kind: len(ones) for kind, ones in times.items()}
    row.figure["p99_by_kind"] = {k: percentiles(ones).get("p99") for k, ones in times.items()}
    row.figure["connections"] = world.proxy.sockets.accepted
    await world.agree(row)
    planted, caught = await truths.planted(
        world.truth, world.system.run.database_url, first=world.first
    )
    row.planted, row.caught = planted, caught
    return row


def _story(world: World, kind: str, took: float) -> str:
    # What the listener said meanwhile.
    since = time.time() - took - 1.0
    told = [
        f"{line['event']} {line.get('error', '')}"[:120]
        for line in world.log_lines("listener_trouble", "listener_connected", "role_started")
        if _seconds(line) >= since
    ]
    return f"{kind} {took:.1f} s: {told}"


def _seconds(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


async def _cut(world: World, kind: str, rng: random.Random) -> float | None:
    proxy, began = world.proxy, time.monotonic()
    tip = proxy.tip
    if kind == "cut":
        proxy.cut()
    elif kind == "half_open":
        proxy.faults.half_open = True
        await asyncio.sleep(HALF_OPEN_S)
        proxy.faults.half_open = False
    else:
        await proxy.kill()
        await asyncio.sleep(rng.uniform(0.05, 1.0))
        await proxy.revive()
    while time.monotonic() - began < SETTLE_S_MAX:
        # A block that was sealed after the cut must be there, and nothing be missing to the tip.
        if proxy.tip > tip and await world.sealed_number() >= proxy.tip:
            return time.monotonic() - began
        await asyncio.sleep(POLL_S)
    return None
