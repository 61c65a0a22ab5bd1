"""Budgets leased in blocks: several real processes on one real Valkey, over the window's edge."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import TransientError
from gateway.admission import Limiter
from gateway.leases import Budget, Leases
from storage import valkey
from storage.rates import RateLimits
from tests.support.evm import ROOT
from tests.support.fakes import FakeSink

LIMIT, WINDOW_S, SECONDS, PROCESSES = 300, 0.8, 2.5, 3


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client = valkey.connect(redis_url)
    yield client
    await client.aclose()


async def start(url: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.spending", url, "test:spending"),
        *(str(LIMIT), str(WINDOW_S), str(SECONDS)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
    return process


async def moments_of(process: asyncio.subprocess.Process) -> list[float]:
    output, _ = await asyncio.wait_for(process.communicate(b"\n"), 60)
    assert process.returncode == 0
    told: list[float] = json.loads(output)
    return told


async def test_no_window_holds_more_than_the_limit_over_processes(redis_url: str) -> None:
    processes = await asyncio.gather(*(start(redis_url) for _ in range(PROCESSES)))
    told = await asyncio.gather(*(moments_of(process) for process in processes))
    moments = sorted(moment for one in told for moment in one)
    over = [
        (first, last)
        for first, last in zip(moments, moments[LIMIT:], strict=False)
        if last - first < WINDOW_S
    ]
    assert over == []
    assert len(moments) >= 2 * LIMIT, "windows after the first are used too"


async def test_store_is_asked_once_a_block(redis: Any) -> None:
    rates = RateLimits(redis, namespace="test:blocks")
    before = await _calls(redis)
    limiter = Limiter(rates, FakeSink())
    budget = Budget("quote", 5_000, 60)
    for left in range(4_999, 2_999, -1):
        allowance = await limiter.take(budget, "who", leased=True)
        assert (allowance.allowed, allowance.remaining) == (True, left)
    assert await _calls(redis) - before <= 2_000 / 50 + 10


async def _calls(redis: Any) -> int:
    found = (await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})
    return int(found["calls"])


async def test_lease_left_over_goes_back_and_is_not_spent_later(redis: Any) -> None:
    rates, now = RateLimits(redis, namespace="test:back"), 0.0
    leases, budget = Leases(rates, lambda: now), Budget("quote", 40, 60)
    for _ in range(6):
        assert (await leases.take("who", budget)).allowed
    lease = leases._held["who"]
    assert lease.left > 0
    now = 2.0
    assert (await leases.take("who", budget)).allowed
    await asyncio.sleep(0.1)
    taken = [await rates.take("who", 40, 60) for _ in range(40)]
    allowed = sum(one for one, _, _ in taken)
    assert allowed == 40 - 7 - lease.left


async def test_plain_takes_and_leases_share_one_window(redis: Any) -> None:
    rates = RateLimits(redis, namespace="test:mixed")
    given, left, _, moment = await rates.lease("who", 30, window_s=0.4, wanted=20, hold_s=0.2)
    assert (given, left) == (20, 10)
    assert [(await rates.take("who", 30, 0.4))[0] for _ in range(11)] == [True] * 10 + [False]
    await rates.give_back("who", moment, 5)
    assert [(await rates.take("who", 30, 0.4))[0] for _ in range(6)] == [True] * 5 + [False]
    # What may be spent to the end of the lease counts for a whole window from there.
    await asyncio.sleep(0.42)
    assert (await rates.take("who", 30, 0.4))[0] is False
    await asyncio.sleep(0.25)
    assert (await rates.take("who", 30, 0.4))[0] is True
    assert (await rates.lease("who", 30, window_s=0.4, wanted=99, hold_s=0.1))[0] == 29
    await rates.give_back("who", moment, 5)  # long gone
    assert (await rates.take("who", 30, 0.4))[0] is False


async def test_store_that_is_away_is_no_lease(redis: Any) -> None:
    client = valkey.connect("redis://127.0.0.1:1", timeout_s=0.2)
    with pytest.raises(TransientError):
        await Leases(RateLimits(client), lambda: 0.0).take("who", Budget("quote", 9, 60))
    doors = [Limiter(RateLimits(client), FakeSink(), gateways=3) for _ in range(3)]
    budget = Budget("quote", 30, 60)
    calls = [door.take(budget, "who", leased=True) for door in doors for _ in range(40)]
    answers = [await one for one in calls]
    assert sum(answer.allowed for answer in answers) == 30
    assert all(int(a.headers["Retry-After"]) <= 60 for a in answers if not a.allowed)
    await client.aclose()
