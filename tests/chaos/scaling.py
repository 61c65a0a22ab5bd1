"""Shards come and go while clients ask for quotes and traders trade: nothing is wrong, nothing
is lost, and no bucket pauses for long.
"""

import asyncio
import itertools
import os
import random
import signal
import time

from tests.chaos.pauses import Pauses
from tests.chaos.quotes import QuoteChecker
from tests.chaos.report import Row, say
from tests.chaos.world import BACK_S_MAX, World, stopped, until
from tests.support.load import percentiles

ROUNDS_MIN = 10
NUMBERS = (4, 2, 4, 3, 1, 2)
"""Of shards, one after the other, from two on."""

PAUSE_S_MAX = 1.0
SETTLED_S = 1.0
STOP_S = 1.6


async def scaling(world: World, rng: random.Random, rounds: int, *, limit_s: float) -> list[Row]:
    """`rounds` numbers of shards; a pause over `limit_s` is a failure."""
    row = Row("doubling shards while running", "scaling", trials_min=ROUNDS_MIN)
    checker = QuoteChecker(world, rng, "quotes while shards come and go")
    pauses = _paced(world)
    await world.begin()
    await pauses.start()
    checking = asyncio.create_task(_check(checker))
    found: dict[str, list[float]] = {"doubling": [], "others": []}
    seconds: list[float] = []
    have = 2
    try:
        for wanted in itertools.islice(itertools.cycle(NUMBERS), rounds):
            pauses.begin()
            seconds.append(await _scaled(world, row, wanted))
            kind = "doubling" if wanted == 2 * have else "others"
            moved = pauses.of_moved()
            found[kind] += moved.values()
            say(f"  {have} to {wanted} shards: {_said(moved)}")
            row.trials += 1
            have = wanted
        await _supervisor_dies(world, row, have)
        await pauses.stop()
        await _plant_pause(row, world)
        await _scaled(world, row, 2)
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
        await pauses.stop()
    refused = {code: pauses.codes.pop(code, 0) for code in ("stale_chain", "overloaded")}
    every = [*found["doubling"], *found["others"]]
    for pause in every:
        if pause > limit_s:
            row.fail(f"the quotes of a bucket paused for {pause:.2f} s")
    # On a busy machine blocks come late, and what is asked meanwhile is more than a door lets wait:
    # it says so, and that is not lost. For how long, the pauses say.
    is_busy = limit_s > PAUSE_S_MAX
    if refused["overloaded"] and not is_busy:
        row.fail(f"{refused['overloaded']} quotes refused as too many at once")
    lost = pauses.asked - pauses.answered - sum(refused.values())
    if lost:
        row.fail(f"{lost} quotes unanswered: {dict(pauses.codes)}")
    row.figure |= {
        "pause_s": percentiles(every),
        "pause_doubling_s": percentiles(found["doubling"]),
        "buckets_moved": len(every),
        "quotes_asked": pauses.asked,
        "quotes_lost": lost,
        "quotes_refused": refused,
        "pace_late_s": round(pauses.late_s, 3),
        "scale_s": percentiles(seconds),
    }
    await world.agree(row, folded=False)
    return [row, checker.judge()]


def _paced(world: World) -> Pauses:
    return Pauses([world.system.api], world.chain.chain_id, world.load.tokens)


async def _scaled(world: World, row: Row, wanted: int) -> float:
    began = time.monotonic()
    words = ("scale", "--shards", str(wanted))
    code, told = await asyncio.to_thread(world.system.cli, *words, timeout_s=200)
    if code or told.get("shards") != wanted:
        row.fail(f"scale to {wanted}: exit {code}, {told}")
    await asyncio.sleep(SETTLED_S)
    return time.monotonic() - began


async def _supervisor_dies(world: World, row: Row, have: int) -> None:
    # The number stands in Postgres: who comes after it keeps as many.
    before = await asyncio.to_thread(world.system.pids)
    pid = await world.pid("supervisor")
    os.kill(pid, signal.SIGKILL)
    await world.replaced("supervisor", pid)

    async def ready() -> bool:
        try:
            code, status = await asyncio.to_thread(world.system.cli, "status")
        except AssertionError:
            return False  # no supervisor to ask yet
        return bool(code == 0 and status["ready"])

    await until(ready, BACK_S_MAX, "a new supervisor is ready")
    after = await asyncio.to_thread(world.system.pids)
    if after != before or sum(slot.startswith("shard") for slot in after) != have:
        row.fail(f"a new supervisor has {after}, before were {before}")


async def _plant_pause(row: Row, world: World) -> None:
    # A shard that is stopped for longer than a pause may be: the measure must see it.
    pauses = _paced(world)
    await pauses.start()
    with stopped(await world.pid("shard-0")):
        await asyncio.sleep(STOP_S)
    await asyncio.sleep(SETTLED_S)
    await pauses.stop()
    longest = max(pauses.longest_s(token) for token in world.load.tokens)
    row.plant("a shard that pauses", caught=longest > PAUSE_S_MAX)


async def _check(checker: QuoteChecker) -> None:
    while True:
        await checker.round()
        await asyncio.sleep(0.2)


def _said(moved: dict[str, float]) -> str:
    return f"{len(moved)} buckets of tokens moved, paused {percentiles(list(moved.values()))}"
