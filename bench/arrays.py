"""Latencies of a run: every one is kept, and summed up at its end."""

from array import array
from dataclasses import asdict, dataclass
from typing import Any

BUCKETS_A_DECADE = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds."""

    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    mean_us: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def summed(latencies_ns: "array[int]") -> tuple[Latency, list[tuple[float, int]]]:
    """Percentiles (nearest rank), and a histogram of (upper edge in microseconds, count) with
    edges at equal ratios."""
    if not latencies_ns:
        return Latency(0, 0, 0, 0, 0, 0), []
    ordered = sorted(latencies_ns)

    def at(part: float) -> float:
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] / 1_000

    latency = Latency(
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        ordered[-1] / 1_000,
        sum(ordered) / len(ordered) / 1_000,
    )
    return latency, _histogram(ordered)


def _histogram(ordered: list[int]) -> list[tuple[float, int]]:
    rows: list[tuple[float, int]] = []
    edge_us, at = 10.0, 0
    step: Any = 10 ** (1 / BUCKETS_A_DECADE)
    while at < len(ordered):
        count = 0
        while at < len(ordered) and ordered[at] <= edge_us * 1_000:
            count, at = count + 1, at + 1
        if count or rows:
            rows.append((round(edge_us, 2), count))
        edge_us *= step
    return rows
