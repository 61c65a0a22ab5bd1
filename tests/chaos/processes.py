"""kill -9 of every role, and a shard that is stopped and goes on, under load."""

import asyncio
import os
import random
import signal
import time
from collections import defaultdict

from tests.chaos.report import Row, say
from tests.chaos.world import BACK_S_MAX, RECOVERY_S_MAX, World, stopped, until
from tests.support.load import HARMLESS, percentiles

KILLS_MIN = 30
SLOTS = ("shard-0", "listener", "gateway-0", "recorder", "shard-1", "supervisor")
WEIGHTS = (3, 3, 1, 2, 3, 1)
AWAY = {"ClientConnectorError", "ServerDisconnectedError", "ClientOSError", "TimeoutError"}
"""What a client sees of a door whose process was killed."""


async def kills(
    world: World, rng: random.Random, count: int, *, limit_s: float = RECOVERY_S_MAX
) -> Row:
    """At random instants; the longest silence of any token's quote is the figure, and longer
    than `limit_s` a failure: that is promised of a machine that does nothing else.
    """
    row = Row("kill -9 any actor or process at any instant", "real kills", trials_min=KILLS_MIN)
    await world.begin()
    silences: dict[str, list[float]] = defaultdict(list)
    for number in range(count):
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        (slot,) = rng.choices(SLOTS, weights=WEIGHTS)
        if number < len(SLOTS):
            slot = SLOTS[number]
        world.load.forget_silence()
        try:
            await world.kill(slot)
            await world.calm_again()
        except AssertionError as error:
            row.fail(f"kill {number} of {slot}: {error}")
        silence = world.load.longest_silence_s()
        silences[slot].append(silence)
        row.trials += 1
        if silence > limit_s:
            row.fail(f"kill {number} of {slot}: quotes silent for {silence:.2f} s")
        wrong = set(world.load.codes) - HARMLESS - (AWAY if slot.startswith("gateway") else set())
        if wrong:
            row.fail(f"kill {number} of {slot}: answers {dict(world.load.codes)}")
        if number % 10 == 9:
            say(f"  {number + 1} kills")
    doors = [one for slot, ones in silences.items() if "gateway" in slot for one in ones]
    row.figure["quotes_back_s"] = percentiles(
        [one for slot, ones in silences.items() if "gateway" not in slot for one in ones]
    )
    row.figure["door_back_s"] = percentiles(doors)
    row.figure["kills"] = {slot: len(ones) for slot, ones in silences.items()}
    row.figure["max_s"] = {slot: round(max(ones), 2) for slot, ones in silences.items()}
    await world.agree(row, folded=False)
    await _plant_silence(world, row)
    return row


async def _plant_silence(world: World, row: Row) -> None:
    # Shards that nobody replaces: the measure of silence must say so.
    world.load.forget_silence()
    with stopped(*[await world.pid(one) for one in ("shard-0", "shard-1", "supervisor")]):
        await asyncio.sleep(RECOVERY_S_MAX + 1.0)
        caught = world.load.longest_silence_s() > RECOVERY_S_MAX
    row.plant("shards that stay away", caught=caught)
    await world.calm_again()


async def one_writer(world: World, count: int) -> Row:
    """SIGSTOP a shard, others take over, SIGCONT: what it still says must not count."""
    row = Row("one writer a market", "stopped shards")
    await world.begin()
    for number in range(count):
        slot = f"shard-{number % 2}"
        pid = await world.pid(slot)
        taken = len(world.log_lines("buckets_moved"))
        with stopped(pid):

            async def moved(taken: int = taken) -> bool:
                return len(world.log_lines("buckets_moved")) > taken

            await until(moved, BACK_S_MAX, "buckets moved")
            await world.calm_again()
            before = dict(world.load.versions)
            await asyncio.sleep(1.0)
        await asyncio.sleep(3.0)
        row.trials += 1
        for token, version in before.items():
            if world.load.versions[token] < version:
                row.fail(f"{token} went from {version} to {world.load.versions[token]}")
        os.kill(pid, signal.SIGKILL)
        await world.calm_again()
    row.figure["stale_accepted"] = len(world.load.went_back) + len(world.watcher.stale)
    await world.agree(row, folded=False)
    _plant_stale(world, row)
    return row


def _plant_stale(world: World, row: Row) -> None:
    # An answer of the incarnation before: the poller must notice it.
    token = world.load.tokens[0]
    incarnation, number = world.load.versions[token]
    quote = {"asOf": {"version": [incarnation - 1, number + 5]}}
    world.load._answer(token, quote, time.monotonic())
    row.plant("an answer of an older incarnation", caught=bool(world.load.went_back))
    world.load.went_back.clear()
    world.load.versions[token] = (incarnation, number)
