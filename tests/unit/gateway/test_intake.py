"""Token buckets of sockets and of those that come."""

from gateway.intake import Connects, Intake, TokenBucket
from tests.support.gateway import settings


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_bucket_fills_to_its_burst_and_owes_down_to_it() -> None:
    bucket = TokenBucket(10, 20)
    assert bucket.take(20, 5.0) == 0
    assert bucket.take(5, 5.0) == -5
    assert bucket.wait_s(1, 5.0) == 0.6
    assert bucket.look(6.0) == 5
    assert bucket.take(1_000, 6.0) == -20 and bucket.is_spent
    assert bucket.look(1_000.0) == 20
    assert bucket.look(999.0) == 20  # a clock that stands back gives nothing, and takes nothing


def test_intake_refuses_above_the_rate_and_welcomes_who_waits_as_told() -> None:
    clock = Clock()
    intake = Intake(settings(socket_messages_per_s=5), clock)
    assert [intake.took(10) is None for _ in range(12)] == [True] * 10 + [False] * 2
    wait_s = intake.took(10)
    assert wait_s == 0.8 and not intake.is_spent
    clock.now += wait_s + 1e-9
    assert intake.took(10) is None
    for _ in range(12):
        intake.took(10)
    assert intake.is_spent


def test_intake_counts_bytes_and_one_largest_message_always_fits() -> None:
    intake = Intake(settings(socket_bytes_per_s=1_000), Clock())
    assert intake.took(16 * 1024) is None
    assert intake.took(16 * 1024) is None
    wait_s = intake.took(500)
    assert wait_s == 1.0


def test_connects_are_bounded_by_address_and_in_all_and_refusals_cost_nothing() -> None:
    clock = Clock()
    connects = Connects(settings(connects_per_s=2, connects_per_s_all=4), clock, most=50)
    storm = [connects.take("storm") for _ in range(100)]
    assert storm == [None] * 4 + ["one"] * 96
    honest = [connects.take(f"honest {n}") for n in range(6)]
    assert honest == [None] * 4 + ["all"] * 2
    clock.now += 0.5
    assert connects.take("storm") is None
    assert connects.take("storm") == "one"
    assert connects.take("honest 5") is None
    for number in range(100):
        connects.take(f"more {number}")
    assert len(connects._callers) <= 50
