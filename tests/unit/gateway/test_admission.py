"""Admission: bounds, budgets, and who the client is."""

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
