"""Latencies are summed up exactly."""

from array import array

from bench.arrays import summed


def test_percentiles_are_of_the_nearest_rank() -> None:
    latency, histogram = summed(array("q", [n * 1_000 for n in range(1_000, 0, -1)]))
    assert (latency.p50_us, latency.p90_us, latency.p99_us) == (501, 901, 991)
    assert (latency.p999_us, latency.max_us, latency.mean_us) == (1_000, 1_000, 500.5)
    assert sum(count for _, count in histogram) == 1_000
    edges = [edge for edge, _ in histogram]
    assert edges == sorted(edges) and edges[-1] >= 1_000


def test_nothing_measured_is_zero() -> None:
    latency, histogram = summed(array("q"))
    assert (latency.p50_us, histogram) == (0, [])
