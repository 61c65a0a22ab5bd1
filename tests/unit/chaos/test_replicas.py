"""The verdict over the replica is taken from what the gateway itself says."""

import pytest

from actors.replicas import Tally
from gateway.metrics import Metrics
from tests.chaos.replicas import judge


def metrics(*ages_s: float) -> str:
    made, tally = Metrics(), Tally()
    made.replicas(tally)
    tally.passed["stale"] += 3
    for age_s in ages_s:
        tally.serve(age_s)
    return made.text().decode()


def test_replica_that_answered_in_time_is_well() -> None:
    row = judge(metrics(0.0, 0.01, 0.2))
    assert (row.failures, row.trials, row.figure["stale"]) == (0, 3, 3)


@pytest.mark.parametrize("text", [metrics(), metrics(0.01, 0.21), Metrics().text().decode()])
def test_replica_that_answered_nothing_or_too_late_is_not(text: str) -> None:
    assert judge(text).failures == 1
