"""The report is one file that holds everything and fetches nothing."""

import re
from array import array
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import baseline, charts
from bench.arrays import summed
from bench.page import page
from bench.results import Results
from bench.stats import Ratio


def run(name: str, clients: int, window: int, rate: float) -> dict[str, Any]:
    latency, histogram = summed(array("q", range(50_000, 900_000, 1_000)))
    shape = {"clients": clients, "window": window}
    found = {"contestant": name, "rate_per_s": rate, "latency": latency.as_dict()}
    return found | shape | {"histogram": histogram}


def results() -> Results:
    made = Results()
    made.ratios = {
        "stream_vs_node_ws": Ratio(1.2, 1.1, 1.3, 12),
        "rest_vs_express": Ratio(0.7, 0.6, 0.9, 12),
        "socketio_vs_python_socketio": Ratio(2.0, 1.9, 2.1, 12),
        "stream_vs_eth_call": Ratio(90.0, 80.0, 99.0, 12),
    }
    made.figures = {"stream_quotes_per_s_50x16": 54_321.0}
    for name in ("stream", "node <ws>"):
        made.runs += [run(name, c, w, 1_000.0 * c) for w in (1, 16) for c in (1, 50, 500)]
    return made


def test_page_has_every_ratio_figure_and_plot() -> None:
    found = page(results().as_dict())
    for name in ("stream_vs_node_ws", "stream_quotes_per_s_50x16", "54321", "node &lt;ws&gt;"):
        assert name in found
    assert found.count("<svg") == 5
    assert "not reached, within the noise" in found and "missed" in found
    for svg in re.findall(r"<svg.*?</svg>", found, re.DOTALL):
        ElementTree.fromstring(svg)


def test_page_fetches_nothing() -> None:
    found = page(results().as_dict())
    assert not re.search(r"(src|href)=|@import|url\(|https?://", found)


def test_page_plots_runs_of_contestants_and_lists_the_figures_of_others() -> None:
    made = results()
    before = page(made.as_dict()).count("<svg")
    made.runs.append({"shards": 4, "pauses_s": [0.3]})
    made.figures["scale_pause_p50_ms"] = 399.218
    found = page(made.as_dict())
    assert "399.218" in found and found.count("<svg") == before


def test_page_of_nothing_measured_is_a_page() -> None:
    assert page(Results().as_dict()).startswith("<!doctype html>")


def test_gates_say_reached_noise_or_missed() -> None:
    gates = results().as_dict()["gates"]
    assert gates["stream_vs_node_ws"] == {"line": "at least 1", "reached": True, "holds": True}
    assert (gates["rest_vs_express"]["reached"], gates["rest_vs_express"]["holds"]) == (False, True)
    assert gates["socketio_vs_python_socketio"]["holds"] is False
    assert "stream_vs_eth_call" not in gates


def test_percentile_curve_ends_at_all() -> None:
    curve = charts.percentile_curve([(10.0, 1), (20.0, 0), (40.0, 3)])
    assert curve == [(10.0, 25.0), (20.0, 25.0), (40.0, 100.0)]


def test_baseline_keeps_well_measured_ratios_and_names_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "FILE", tmp_path / "baseline.json")
    made = results()
    made.ratios["quick"] = Ratio(5.0, 5.0, 5.0, 2)
    baseline.write(made.as_dict())
    assert baseline.read()["stream_vs_node_ws"] == 1.2 and "quick" not in baseline.read()
    said = baseline.losses_of(made.as_dict())
    assert [one.partition(":")[0] for one in said] == ["socketio_vs_python_socketio"]
    made.ratios["stream_vs_node_ws"] = Ratio(1.05, 1.0, 1.1, 12)
    assert any("stream_vs_node_ws" in one for one in baseline.losses_of(made.as_dict()))


def test_page_plots_ticks_and_numbers_of_tokens_beside_runs_without_a_plot() -> None:
    made = results()
    before = page(made.as_dict()).count("<svg")
    _, histogram = summed(array("q", range(50_000, 900_000, 1_000)))
    tick = {"part": "latency", "load": "spread", "door": "stream", "histogram": histogram}
    made.runs += [
        {"shards": 2, "pauses_s": [0.1]},
        *(tick | {"trades_per_s": rate} for rate in (50, 500)),
    ]
    for size in (10, 1_000):
        sizes = {"part": "tokens", "tokens": size, "quotes_per_s": 9_000.0, "p50_us": 700.0}
        made.runs += [sizes | {"demand": demand} for demand in ("uniform", "zipf")]
    found = page(made.as_dict())
    assert found.count("<svg") == before + 3
    assert "stream, 500/s" in found and "zipf" in found
    for svg in re.findall(r"<svg.*?</svg>", found, re.DOTALL):
        ElementTree.fromstring(svg)
