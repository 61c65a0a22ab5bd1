"""Counters of one gateway, in a registry of its own: Ray fills the process's default one."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from gateway.replica_ports import Tally

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


class Metrics:
    """Labels are bounded: routes by their template, outcomes by stable code."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "risecurve_http_requests_total",
            "Requests answered",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "risecurve_http_request_seconds",
            "Time to the answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._quotes = Counter(
            "risecurve_quotes_total",
            "Quotes answered",
            ["door", "outcome"],
            registry=self._registry,
        )
        # The library looks a label up behind a lock, each time; ours are few.
        self._answered = cache(lambda *labels: self._requests.labels(*map(str, labels)))
        self._taken = cache(self._seconds.labels)
        self._quoted = cache(self._quotes.labels)
        self.uploads = Counter(
            "risecurve_uploads_total", "Images sent to us", ["outcome"], registry=self._registry
        )
        self.image_seconds = Histogram(
            "risecurve_image_seconds",
            "Time to write an image anew, with the wait for it",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = self._gauge("http_in_flight", "Requests under way")
        self.sockets = self._gauge("sockets", "Connections of Socket.IO, or of the stream door")
        self.subscriptions = self._gauge("subscriptions", "Topics subscribed to, all sockets")
        self.ticks = self._counter("ticks_total", "Ticks heard")
        self.ticks_refused = self._counter("ticks_refused_total", "Ticks refused: older owner")
        self.pushed = self._counter("pushes_total", "Messages put on sockets' queues")
        self.evicted = self._counter("evicted_total", "Sockets evicted: slow readers, floods")
        self.connects_refused = self._counter("connects_refused_total", "Sockets not let in")

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        self._answered(method, route, status).inc()
        self._taken(route).observe(seconds)

    def quote(self, door: str, outcome: str, count: int = 1) -> None:
        """Quotes were answered with `ok` or a code."""
        self._quoted(door, outcome).inc(count)

    def replicas(self, tally: "Tally") -> None:
        """Count what the read replica answers and passes on too."""
        self._registry.register(_Replicas(tally))

    def roles(self, statuses: Mapping[str, Any]) -> bytes:
        """Every number of the roles' statuses as a gauge, by slot and name; a role that does not
        answer is down.
        """
        registry = CollectorRegistry()
        up = Gauge("risecurve_role_up", "The role answers", ["slot"], registry=registry)
        values = Gauge(
            "risecurve_role", "Counters and lags of roles", ["slot", "name"], registry=registry
        )
        for slot, status in statuses.items():
            up.labels(slot).set(status is not None)
            for name, value in (status or {}).items():
                if isinstance(value, int | float):
                    values.labels(slot, name).set(value)
        return generate_latest(registry)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"risecurve_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"risecurve_{name}", text, registry=self._registry)


class _Replicas(Collector):
    # Counted by the tally: a quote has no time for more than an addition.
    def __init__(self, tally: "Tally") -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        quotes = CounterMetricFamily(
            "risecurve_replica_quotes",
            "Quotes answered by the read replica, or passed on to a shard and why",
            labels=["outcome"],
        )
        for outcome, count in (("served", tally.served), *tally.passed.items()):
            quotes.add_metric([outcome], count)
        yield quotes
        edges = [*(str(edge / 1e3) for edge in tally.edges_ms), "+Inf"]
        yield HistogramMetricFamily(
            "risecurve_replica_age_seconds",
            "How old what the read replica answered was",
            buckets=list(zip(edges, accumulate(tally.ages), strict=True)),
            sum_value=tally.age_s_sum,
        )
