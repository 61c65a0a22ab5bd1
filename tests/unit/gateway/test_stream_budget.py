"""Budgets of a connection: so much a second, and faults that wear off."""

from gateway.stream_budget import BURST_S, Bucket, Strikes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_bucket_gives_its_burst_then_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    assert all(bucket.take(1) == 0.0 for _ in range(int(10 * BURST_S)))
    assert bucket.take(1) > 0.0
    clock.now += 1.0
    assert [bucket.take(1) == 0.0 for _ in range(11)] == [True] * 10 + [False]


def test_bucket_never_saves_more_than_its_burst() -> None:
    clock = Clock()
    bucket = Bucket(10, clock, burst=50)
    clock.now += 1_000
    assert bucket.take(50) == 0.0
    assert bucket.take(1) > 0.0


def test_bucket_says_how_long_to_wait_and_takes_nothing() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    bucket.take(20)
    assert bucket.take(5) == 0.5
    clock.now += 0.5
    assert bucket.take(5) == 0.0


def test_bucket_of_another_rate_remembers_what_was_spent() -> None:
    clock = Clock()
    bucket = Bucket(10, clock)
    bucket.take(15)
    bucket.change(100)
    assert bucket.take(186) > 0.0 and bucket.take(185) == 0.0
    for rate in (1, 100):
        bucket.change(rate)
    assert bucket.take(1) == 0.01
    clock.now += 0.01
    assert bucket.take(1) == 0.0


def test_strikes_wear_off() -> None:
    clock = Clock()
    strikes = Strikes(3, 30.0, clock)
    assert [strikes.strike() for _ in range(4)] == [False, False, False, True]
    clock.now += 10.0
    assert [strikes.strike(), strikes.strike()] == [False, True]
