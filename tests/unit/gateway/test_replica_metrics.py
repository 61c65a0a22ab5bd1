"""What the read replica counts, in Prometheus' format."""

from prometheus_client.parser import text_string_to_metric_families

from actors.replicas import AGES_MS, Tally
from gateway.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for one in family.samples:
            label = one.labels.get("outcome") or one.labels.get("le", "")
            found[one.name, label] = one.value
    return found


def test_replica_counts_by_outcome_and_ages_as_a_histogram() -> None:
    metrics, tally = Metrics(), Tally()
    metrics.replicas(tally)
    for age_s in (0.0, 0.001, 0.03, 0.199, 0.5):
        tally.serve(age_s)
    tally.passed["stale"] += 2
    found = samples(metrics)
    assert found["risecurve_replica_quotes_total", "served"] == 5
    assert found["risecurve_replica_quotes_total", "stale"] == 2
    assert found["risecurve_replica_quotes_total", "floor"] == 0
    ages = "risecurve_replica_age_seconds"
    buckets = {le: n for (name, le), n in found.items() if name == f"{ages}_bucket"}
    assert buckets == {
        **{"0.001": 2, "0.002": 2, "0.005": 2, "0.01": 2, "0.02": 2, "0.03": 3, "0.04": 3},
        **{"0.05": 3, "0.075": 3, "0.1": 3, "0.15": 3, "0.2": 4, "+Inf": 5},
    }
    assert found[f"{ages}_count", ""] == 5
    assert abs(found[f"{ages}_sum", ""] - 0.73) < 1e-9


def test_age_is_one_that_the_share_does_not_pass() -> None:
    tally = Tally()
    assert tally.age_ms(0.5) == 0
    for age_ms in range(1, 101):
        tally.serve(age_ms / 1e3)
    assert (tally.age_ms(0.0), tally.age_ms(0.5), tally.age_ms(0.99)) == (1, 50, 99)
    assert tally.age_ms(1.0) == 100
    tally.serve(9.0)
    assert tally.age_ms(1.0) == AGES_MS[-1] + 1


def test_metrics_without_a_replica_do_not_speak_of_one() -> None:
    assert b"replica" not in Metrics().text()
