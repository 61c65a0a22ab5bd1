"""The bench of the fan-out counts what it says: each message at each reader, of both doors."""

import asyncio

import pytest

from bench import fanout
from bench.processes import BenchError, Peer
from bench.quotes import Effort
from bench.results import Results


def test_every_reader_of_both_doors_gets_every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "SUBSCRIBERS", 300)
    monkeypatch.setattr(fanout, "RATE_PER_S", 20)
    monkeypatch.setattr(fanout, "SETTLED_S", 0.0)
    results = Results()
    fanout.run(results, Effort(alternations=2, seconds=1.0), lambda text: None)
    assert results.ratios[fanout.RATIO].alternations == 2
    assert {name for name, value in results.figures.items() if value > 0} == {
        f"fanout_{name}_{figure}_300"
        for name in ("ours", "node")
        for figure in ("cpu_us_per_message", "p50_ms", "p99_ms")
    }


def test_message_that_a_reader_misses_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PATIENCE_S", 0.05)

    class Deaf:
        def __init__(self) -> None:
            self.accounted = 1
            self.is_ended = False

    crowd = fanout.Crowd("ours", Peer("ours", 1, ()), None)  # type: ignore[arg-type]
    crowd.readers = [Deaf(), Deaf()]  # type: ignore[list-item]
    asyncio.run(crowd._all_have(1))
    with pytest.raises(BenchError, match="every reader"):
        asyncio.run(crowd._all_have(2))


def test_part_is_left_out_where_only_other_ratios_are_wanted() -> None:
    results = Results()
    fanout.run(results, Effort(only=frozenset({"rest_vs_express"})), lambda text: None)
    assert results.parts == [] and results.ratios == {}
