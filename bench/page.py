"""The report as one HTML file: plots, ratios, figures, the machine. Needs no network. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench import charts
from bench.gates import GATES

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2rem auto; color: #1e293b }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: 3px 10px 3px 0;
border-bottom: 1px solid #e2e8f0 } td.n { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1.5rem 0 } figcaption { font-weight: 600 } svg { width: 100% }
svg text { font: 11px system-ui, sans-serif; fill: #334155 } .bad { color: #dc2626 }
"""


def page(found: Mapping[str, Any]) -> str:
    """Of `Results.as_dict()`."""
    sections = [
        _ratios(found),
        _plots(found["runs"]),
        "<h2>Figures</h2>" + _table(sorted(found["figures"].items())),
        _section("Notes", "".join(f"<p>{escape(note)}</p>" for note in found["notes"])),
        "<h2>Machine</h2>" + _table(found["machine"].items()),
    ]
    head = f"<title>risecurve bench</title><style>{_STYLE}</style>"
    title = f"<h1>risecurve bench</h1><p>{escape(found['began'])}, {found['seconds']:g} s</p>"
    body = "".join(sections)
    return f'<!doctype html><html lang="en"><meta charset="utf-8">{head}{title}{body}</html>\n'


def _ratios(found: Mapping[str, Any]) -> str:
    rows = [
        charts.Interval(
            name,
            one["low"],
            one["value"],
            one["high"],
            line=_line_of(name),
            good=found["gates"].get(name, {"holds": True})["holds"],
        )
        for name, one in found["intervals"].items()
    ]
    cells = []
    for name, one in found["intervals"].items():
        gate = found["gates"].get(name)
        said = "" if gate is None else f"{gate['line']}, {_verdict(gate)}"
        interval = f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        cells.append((name, f"{interval}, {one['alternations']} alternations", said))
    title = "Ours over theirs, 95 % intervals, the line of each gate"
    return "<h2>Ratios</h2>" + charts.intervals(rows, title=title) + _rows(cells)


def _line_of(name: str) -> float | None:
    gate = GATES.get(name)
    return None if gate is None else (gate.least if gate.least is not None else gate.most)


def _verdict(gate: Mapping[str, Any]) -> str:
    if gate["reached"]:
        return "reached"
    return "not reached, within the noise" if gate["holds"] else "missed"


def _plots(runs: Sequence[Mapping[str, Any]]) -> str:
    quotes = [run for run in runs if "contestant" in run]
    return _section("Plots", _quotes(quotes) + _ticks(runs) + _tokens(runs))


def _quotes(runs: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(run["contestant"] for run in runs))
    parts = []
    for clients, window in ((1, 1), (50, 16)):
        series = {name: _curve(runs, name, (clients, window)) for name in names}
        parts.append(
            charts.lines(
                {name: curve for name, curve in series.items() if curve},
                title=f"Latency of a quote, {clients} clients, window {window}",
                x_name="microseconds",
                y_name="percent of answers",
            )
        )
    for window in (1, 16):
        rates = {name: _rates(runs, name, window) for name in names}
        parts.append(
            charts.lines(
                {name: points for name, points in rates.items() if len(points) > 1},
                title=f"Throughput, window {window}",
                x_name="clients",
                y_name="quotes a second",
                y_log=True,
            )
        )
    return "".join(parts)


def _ticks(runs: Sequence[Mapping[str, Any]]) -> str:
    spread = [run for run in runs if run.get("load") == "spread"]
    return charts.lines(
        {
            f"{run['door']}, {run['trades_per_s']}/s": charts.percentile_curve(run["histogram"])
            for run in spread
        },
        title="From the listener's socket to a subscriber, trades spread evenly",
        x_name="microseconds",
        y_name="percent of ticks",
    )


def _tokens(runs: Sequence[Mapping[str, Any]]) -> str:
    sizes = [run for run in runs if run.get("part") == "tokens"]
    parts = []
    for name, axis in (("quotes_per_s", "quotes a second"), ("p50_us", "microseconds")):
        series: dict[str, list[charts.Point]] = {}
        for run in sorted(sizes, key=lambda run: int(run["tokens"])):
            series.setdefault(run["demand"], []).append((run["tokens"], run[name]))
        parts.append(
            charts.lines(
                series,
                title=f"A shard's quotes against its number of tokens: {axis}",
                x_name="tokens",
                y_name=axis,
                y_log=True,
            )
        )
    return "".join(parts)


def _curve(
    runs: Sequence[Mapping[str, Any]], name: str, shape: tuple[int, int]
) -> list[charts.Point]:
    whole: dict[float, float] = {}
    for run in runs:
        if run["contestant"] == name and (run["clients"], run["window"]) == shape:
            for edge, count in run["histogram"]:
                whole[edge] = whole.get(edge, 0) + count
    return charts.percentile_curve(sorted(whole.items()))


def _rates(runs: Sequence[Mapping[str, Any]], name: str, window: int) -> list[charts.Point]:
    found: dict[int, list[float]] = {}
    for run in runs:
        if run["contestant"] == name and run["window"] == window:
            found.setdefault(run["clients"], []).append(run["rate_per_s"])
    return [(clients, sorted(rates)[len(rates) // 2]) for clients, rates in sorted(found.items())]


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _table(items: Any) -> str:
    return _rows([(name, _shown(value)) for name, value in items])


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(round(value, 3) if isinstance(value, float) else value)


def _rows(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
