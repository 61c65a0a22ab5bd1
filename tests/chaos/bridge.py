"""The bridge: transfers while everything dies, troubled nonces, thefts, attestors' planted bugs."""

import asyncio
import random
import secrets
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from deploy import datadir
from deploy.embedded import Embedded
from tests.bridge import chains, nonces, planted, runs, theft, world
from tests.chaos.report import Row
from tests.support.servers import execute

TRANSFERS_MIN = 1_000
TRANSFERS_A_RUN = 200
"""On chains of their own: a node that has mined many blocks grows slow."""

TRANSFERS_A_SECOND = 0.25
"""A run that is slower than this is stuck."""

CASES_MIN = 200
THEFTS_MIN = 20
NEVER_TWICE = "released at most once, never lost"
NEVER_EARLY = "never attests what is not final; a halt survives restart and fails closed"
CLEARS = "stuck transactions clear"
CONSERVED = "conservation, per id: every release has an equal deposit, read after it"


async def rows(
    url: str,
    seed: int,
    *,
    transfers: int = TRANSFERS_MIN,
    cases: int = CASES_MIN,
    thefts: int = THEFTS_MIN,
    bugs: int = len(planted.BUGS),
) -> list[Row]:
    """Every part, on the Postgres of `url`."""
    return [
        *await _transfers(url, seed, transfers),
        await _nonces(url, seed, cases),
        await _thefts(url, seed, thefts),
        await _planted(url, seed, bugs),
    ]


async def _transfers(url: str, seed: int, count: int) -> list[Row]:
    row = Row(NEVER_TWICE, "bridge: transfers", trials_min=TRANSFERS_MIN)
    early = Row(NEVER_EARLY, "bridge: attestations", trials_min=TRANSFERS_MIN)
    labels = Row(CLEARS, "bridge: nonces of transfers", trials_min=TRANSFERS_MIN)
    total = dict.fromkeys(("double", "lost", "stuck", "rows", "unwritten", "reorgs", "again"), 0)
    deaths: dict[str, int] = {}
    while row.trials < count:
        number = min(TRANSFERS_A_RUN, count - row.trials)
        # About a third of what is sent one way in all: queues, and a day later pays.
        limit = max(number // 3, 4) * chains.ETHER
        async with _world(url, seed + row.trials, limit_wei=limit) as one:
            plan = runs.Plan(number, limit_s=400.0 + number / TRANSFERS_A_SECOND)
            told, found = await runs.run(one, plan)
            async with one.pool.acquire() as connection:
                labels.trials += await connection.fetchval("SELECT count(*) FROM bridge_sends")
        row.trials += number
        early.trials += len(one.attested)
        early.failures += found.premature
        labels.failures += found.labels
        for name in ("double", "lost", "stuck", "rows", "unwritten"):
            total[name] += getattr(found, name)
        row.failures += found.failures - found.premature - found.labels
        row.failed += found.text
        total["reorgs"] += told.reorgs
        total["again"] += told.again
        for point, times in one.deaths.items():
            deaths[point] = deaths.get(point, 0) + times
    row.figure |= total | {"deaths": sum(deaths.values()), "places": len(deaths)}
    early.figure["premature"] = early.failures
    labels.figure["wrong_labels"] = labels.failures
    return [row, early, labels]


async def _nonces(url: str, seed: int, cases: int) -> Row:
    row = Row(CLEARS, "bridge: troubled nonces", trials_min=CASES_MIN)
    async with _world(url, seed) as one:
        times = -(-cases // len(nonces.TROUBLES))
        told = await nonces.run(one.chains, one.pool, one.rng, times=times)
    row.trials = told.cases
    for wrong in told.wrong:
        row.fail(wrong)
    row.figure["wrong_labels"] = len(told.wrong)
    return row


async def _thefts(url: str, seed: int, count: int) -> Row:
    row = Row(CONSERVED, "bridge: stolen keys, both vaults paused", trials_min=THEFTS_MIN)
    told = theft.Told()
    for number in range(count):
        # Vaults that are paused stay so for as long as their owner's time lock: others each time.
        async with _world(url, seed + number) as one, one.chains.mined(runs.BLOCK_S):
            target = one.chains[(chains.RISE, chains.SEPOLIA)[number % 2]]
            await theft.theft(one, told, target)
        row.trials += 1
    if told.unseen:
        row.fail(f"{told.unseen} of {told.thefts} not seen within {theft.SEE_S_MAX} s")
    row.figure["violations_unseen"] = told.unseen
    if told.seconds:
        row.figure["pause_s_p50"] = round(statistics.median(told.seconds), 3)
        row.figure["pause_s_max"] = max(told.seconds)
    return row


async def _planted(url: str, seed: int, count: int) -> Row:
    row = Row(NEVER_EARLY, "bridge: planted bugs", trials_min=len(planted.BUGS))
    for name, (with_bug, without) in list(planted.BUGS.items())[:count]:
        async with _world(url, seed) as one:
            row.plant(name, caught=await with_bug(one))
        async with _world(url, seed) as one:
            if await without(one):
                row.fail(f"{name}: seen where it is not")
        row.trials += 1
    return row


@asynccontextmanager
async def _world(url: str, seed: int, **options: int) -> AsyncIterator[world.World]:
    """Chains and a database of its own, on the Postgres of `url`."""
    name = f"bridge_{secrets.token_hex(6)}"
    await execute(url, f"CREATE DATABASE {name}")
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    with datadir.temporary() as folder, Embedded(folder, durable=False) as nodes:
        async with (
            chains.opened(nodes, **options) as both,
            world.built(both, own, folder / "attestors", random.Random(seed)) as one,
        ):
            yield one
    await execute(url, f"DROP DATABASE {name} WITH (FORCE)")


def run(seed: int, **counts: int) -> list[Row]:
    """Blocking, for the suite."""
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        return asyncio.run(rows(embedded.start_postgres(), seed, **counts))
