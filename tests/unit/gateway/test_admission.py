"""Admission: bounds, budgets, and who the client is."""

import asyncio
from typing import Any

import pytest

from engine.errors import TransientError
from gateway.admission import Budget, ClientAddresses, InFlight, Limiter, LocalWindows
from tests.support.fakes import FakeRates, FakeSink


def test_in_flight_refuses_one_more_and_recovers() -> None:
    bound = InFlight(2)
    with bound.one(), bound.one():
        with pytest.raises(TransientError) as caught, bound.one():
            pass
        assert caught.value.code == "overloaded"
    with bound.one():
        assert bound.now == 1
    assert bound.now == 0


def test_local_window_counts_and_begins_anew() -> None:
    now = 0.0
    windows = LocalWindows(lambda: now)
    budget = Budget("read", 2, 10)
    assert [windows.take("a", budget).allowed for _ in range(3)] == [True, True, False]
    assert windows.take("b", budget).allowed
    now = 10.0
    assert windows.take("a", budget).remaining == 1


def test_local_window_forgets_beyond_its_bound() -> None:
    windows = LocalWindows(lambda: 0.0, most=3)
    for key in "abcde":
        windows.take(key, Budget("read", 1, 10))
    assert windows.take("a", Budget("read", 1, 10)).allowed
    assert not windows.take("e", Budget("read", 1, 10)).allowed


def test_local_window_slides_no_window_holds_more_than_the_limit() -> None:
    now, admitted = 0.0, []
    windows, budget = LocalWindows(lambda: now), Budget("read", 7, 10)
    while now < 60:
        if windows.take("a", budget).allowed:
            admitted.append(now)
        now += 0.037
    assert len(admitted) >= 6 * 7
    assert all(last - first >= 10 for first, last in zip(admitted, admitted[7:], strict=False))


async def test_limiter_gives_out_its_share_while_the_store_is_away() -> None:
    rates = FakeRates(down=True)
    doors = [Limiter(rates, FakeSink(), lambda: 0.0, gateways=4) for _ in range(4)]
    budget = Budget("read", 10, 60)
    for leased in (True, False):
        answers = [await door.take(budget, f"ip{leased}", leased=leased) for door in doors * 5]
        assert sum(answer.allowed for answer in answers) == 8
        assert {answer.limit for answer in answers} == {2}


async def test_limiter_leases_blocks_and_plain_takes_see_them() -> None:
    rates = FakeRates()
    asked = 0
    lease = rates.lease

    async def counting(*arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return await lease(*arguments, **named)

    rates.lease = counting  # type: ignore[method-assign]
    limiter = Limiter(rates, FakeSink(), lambda: 0.0)
    budget = Budget("read", 600, 60)
    answers = [await limiter.take(budget, "ip", leased=True) for _ in range(600)]
    assert all(answer.allowed for answer in answers) and asked < 20
    assert [answer.remaining for answer in answers] == list(range(599, -1, -1))
    refused = await limiter.take(budget, "ip", leased=True)
    assert not refused.allowed and refused.headers["Retry-After"] == "60"
    assert not (await limiter.take(budget, "ip")).allowed


async def test_limiter_gives_back_what_a_lease_has_left() -> None:
    now, rates = 0.0, FakeRates()
    limiter = Limiter(rates, FakeSink(), lambda: now)
    budget = Budget("read", 600, 60)
    for _ in range(20):
        await limiter.take(budget, "ip", leased=True)
    assert rates.used["read:ip"] > 20
    now = 5.0
    await limiter.take(budget, "ip", leased=True)
    await asyncio.sleep(0.01)
    assert 21 <= rates.used["read:ip"] <= 21 + 8


async def test_limiter_counts_locally_while_away_and_says_so_once() -> None:
    now, rates, log = 0.0, FakeRates(), FakeSink()
    limiter = Limiter(rates, log, lambda: now)
    budget = Budget("read", 2, 60)
    assert (await limiter.take(budget, "ip")).remaining == 1
    rates.down = True
    assert [(await limiter.take(budget, "ip")).allowed for _ in range(3)] == [True, True, False]
    now, rates.down = 2.0, False
    assert (await limiter.take(budget, "ip")).remaining == 0
    assert [line[1] for line in log.lines] == ["rate_limits_local", "rate_limits_exact"]


def test_allowance_headers_tell_limit_remaining_reset() -> None:
    windows = LocalWindows(lambda: 0.0)
    budget = Budget("read", 1, 60)
    assert windows.take("a", budget).headers == {
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "60",
    }
    assert windows.take("a", budget).headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db9:1:2:3::4", [], "2001:db9:1:2::"),
        ("fe80::1%eth0", [], "fe80::"),
        (None, ["198.51.100.1"], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_client_is_what_trusted_proxies_tell(
    peer: str | None, forwarded: list[str], client: str
) -> None:
    assert ClientAddresses(["10.0.0.0/8", "2001:db8::1"]).of(peer, forwarded) == client


async def test_limiter_spends_what_is_leased_and_no_more() -> None:
    now, rates = 0.0, FakeRates()
    limiter, budget = Limiter(rates, FakeSink(), lambda: now), Budget("quote", 100, 60)
    assert not limiter.spend(budget, "who"), "nothing is leased yet"
    allowed = 0
    while (await limiter.take(budget, "who", leased=True)).allowed:
        allowed += 1
        while limiter.spend(budget, "who"):
            allowed += 1
    assert allowed == 100 and not limiter.spend(budget, "who")
    assert not limiter.spend(budget, "somebody else")


async def test_limiter_spends_nothing_past_the_leases_end() -> None:
    now = 0.0
    limiter, budget = Limiter(FakeRates(), FakeSink(), lambda: now), Budget("quote", 1_000, 60)
    for _ in range(4):
        await limiter.take(budget, "who", leased=True)
    assert limiter.spend(budget, "who")
    now = 1.0
    assert not limiter.spend(budget, "who")


async def test_large_budget_is_asked_for_in_large_blocks() -> None:
    rates = FakeRates()
    limiter, budget = Limiter(rates, FakeSink(), lambda: 0.0), Budget("quote", 10**9, 60)
    asked = 0
    for _ in range(10_000):
        if not limiter.spend(budget, "who"):
            asked += 1
            await limiter.take(budget, "who", leased=True)
    assert asked < 30 and rates.used["quote:who"] <= 10_000 + 1_000
