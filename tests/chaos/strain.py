"""Five times more quotes than can be answered, and the memory of every process over the run."""

import asyncio
import json
import sys
import time
from typing import Any

import socketio
from socketio.exceptions import SocketIOError

from tests.chaos.report import Row
from tests.chaos.world import World

CAPACITY_CLIENTS = 16
TIMES = 5
IN_FLIGHT = 200
"""What the system is told to hold at once; five times of it come."""

RSS_GROWTH_MB_MAX = 300.0
BASELINE_S_MAX = 10.0
BASELINE_TIMES = 2.0
CHURN_S = 0.5
SAMPLE_S = 2.0
STRAINED = 1
"""The era of the overload."""

WARM_SHARE = 0.4
"""Of a process's life: caches fill, allocators take their first pages."""

LIFE_S_MIN = 60.0
SLOPE_MB_MIN_MAX = 6.0


async def overload(world: World, seconds: float) -> Row:
    """Refused at the door, bounded in memory, and back to normal soon after."""
    row = Row("overload", "five times capacity")
    await world.begin()
    token = world.load.tokens[0]
    capacity = await _flood(world, token, CAPACITY_CLIENTS, min(seconds, 3.0))
    before_s = await _latency(world)
    before_mb = _rss(world)
    world.era = STRAINED
    strain = asyncio.create_task(_flood(world, token, TIMES * IN_FLIGHT, seconds))
    peak_mb = before_mb
    while not strain.done():
        await asyncio.sleep(0.5)
        peak_mb = max(peak_mb, _rss(world))
    found = strain.result()
    ended = time.monotonic()
    while time.monotonic() - ended < BASELINE_S_MAX:
        if await _latency(world) <= BASELINE_TIMES * before_s + 0.01:
            break
    back_s = time.monotonic() - ended
    statuses: dict[str, int] = found["statuses"]
    asked = sum(statuses.values())
    refused = statuses.get("429", 0) + statuses.get("503", 0)
    row.trials = asked
    row.figure = {
        "capacity_per_s": capacity["per_s"],
        "answered_per_s": found["per_s"],
        "p99_s": found["p99_s"],
        "statuses": statuses,
        "refused_percent": round(100 * refused / max(asked, 1), 1),
        "rss_mb": {"before": round(before_mb), "peak": round(peak_mb), "after": round(_rss(world))},
        "baseline_again_s": round(back_s, 2),
    }
    if not refused:
        row.fail("nothing was refused")
    if found["without_retry_after"]:
        row.fail(f"{found['without_retry_after']} refusals without Retry-After")
    if set(statuses) - {"200", "429", "503"}:
        row.fail(f"answers other than 200, 429, 503: {statuses}")
    if peak_mb - before_mb > RSS_GROWTH_MB_MAX:
        row.fail(f"grew by {peak_mb - before_mb:.0f} MB")
    if back_s >= BASELINE_S_MAX:
        row.fail(f"not back to normal in {BASELINE_S_MAX} s")
    world.era = STRAINED + 1
    await world.agree(row, memory=False)
    return row


class Churn:
    """Clients that come, subscribe, ask and go, and a sample of every process's memory."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: list[asyncio.Task[None]] = []
        self.clients = 0

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._churn()), asyncio.create_task(self._sample())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _churn(self) -> None:
        while True:
            client = socketio.AsyncClient(logger=False, engineio_logger=False, reconnection=False)
            try:
                await client.connect(
                    self._world.system.api, transports=["websocket"], wait_timeout=5
                )
                for token in self._world.load.tokens[:3]:
                    await client.call("subscribe", {"topic": f"token:{token}"}, timeout=5)
                self.clients += 1
            except (SocketIOError, OSError):
                pass  # the door was killed just now
            finally:
                await client.disconnect()
            await asyncio.sleep(CHURN_S)

    async def _sample(self) -> None:
        while True:
            await asyncio.to_thread(self._world.sample_rss)
            await asyncio.sleep(SAMPLE_S)


def leaks(world: World, churn: Churn) -> Row:
    """The slope of each process's memory, its first part left out: it warms up then. The time
    of the overload is not looked at: that has a bound of its own.
    """
    row = Row("no leak", "memory under client churn")
    slots = {line["pid"]: line["slot"] for line in world.log_lines("role_started")}
    slopes: dict[str, float] = {}
    curves: dict[str, list[int]] = {}
    for (pid, era), samples in world.rss.items():
        slot = slots.get(pid, "supervisor")
        if era == STRAINED or samples[-1][0] - samples[0][0] < LIFE_S_MIN:
            continue
        slope = slope_mb_min(samples)
        slopes[slot] = max(slope, slopes.get(slot, slope))
        tenths = [samples[min(len(samples) * at // 10, len(samples) - 1)] for at in range(11)]
        curves[f"{slot}/{pid}"] = [round(mb) for _, mb in tenths]
        row.trials += 1
        if slope > SLOPE_MB_MIN_MAX:
            row.fail(f"{slot} grows by {slope:.1f} MB a minute")
    row.figure = {
        "clients": churn.clients,
        "slope_mb_min": {slot: round(slope, 2) for slot, slope in sorted(slopes.items())},
        "mb_over_life": curves,
    }
    leak = [(float(t), 100 + t * 2 * SLOPE_MB_MIN_MAX / 60) for t in range(120)]
    row.plant("a process that leaks", caught=slope_mb_min(leak) > SLOPE_MB_MIN_MAX)
    return row


def slope_mb_min(samples: list[tuple[float, float]]) -> float:
    """Least squares over the later part, MB a minute."""
    late = samples[int(len(samples) * WARM_SHARE) :]
    mean_t = sum(t for t, _ in late) / len(late)
    mean_mb = sum(mb for _, mb in late) / len(late)
    spread = sum((t - mean_t) ** 2 for t, _ in late)
    if not spread:
        return 0.0
    return 60 * sum((t - mean_t) * (mb - mean_mb) for t, mb in late) / spread


async def _flood(world: World, token: str, clients: int, seconds: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos.flood", world.system.api, token, str(clients), str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(seconds + 60):
        told, _ = await process.communicate()
    return dict(json.loads(told))


async def _latency(world: World) -> float:
    times = []
    for _ in range(10):
        began = time.monotonic()
        try:
            await world.load.quote(world.load.tokens[0])
        except Exception:
            times.append(BASELINE_S_MAX)
            continue
        times.append(time.monotonic() - began)
    return sorted(times)[len(times) // 2]


def _rss(world: World) -> float:
    world.sample_rss()
    newest = {pid: samples[-1][1] for (pid, _), samples in sorted(world.rss.items())}
    return sum(newest[pid] for pid in world.hosts() if pid in newest)
