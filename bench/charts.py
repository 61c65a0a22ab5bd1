"""Plots as SVG text, so that the report is one file that needs nothing else. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 16, 44
COLOURS = (
    "#2563eb",
    "#dc2626",
    "#059669",
    "#d97706",
    "#7c3aed",
    "#0891b2",
    "#db2777",
    "#4d7c0f",
    "#475569",
    "#92400e",
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range on the page; `log` for ratios of figures."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value stands."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        part = (value - low) / (high - low) if high > low else 0.0
        return self.start + part * (self.end - self.start)

    def marks(self) -> list[float]:
        """Some round values."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            found = [10.0**power for power in range(first, last + 1)]
        else:
            step = _round_step((self.high - self.low) / 5)
            found = [step * n for n in range(math.floor(self.high / step) + 1)]
        return [one for one in found if self.low <= one <= self.high]


def lines(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x_name: str,
    y_name: str,
    x_log: bool = True,
    y_log: bool = False,
) -> str:
    """A line for each series, with its name beside the plot."""
    points = [point for one in series.values() for point in one]
    if not points:
        return ""
    x_axis = _axis([x for x, _ in points], LEFT, WIDTH - RIGHT, log=x_log)
    y_axis = _axis([y for _, y in points], HEIGHT - BOTTOM, TOP, log=y_log)
    parts = [_frame(x_axis, y_axis, names=(x_name, y_name))]
    for place, (name, one) in enumerate(series.items()):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in one)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        )
        parts += [
            f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="2.4" fill="{colour}"/>'
            for x, y in (one if len(one) <= 12 else ())
        ]
        x, y = WIDTH - RIGHT + 16, TOP + 14 + 17 * place
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 16, y, name))
    return _figure(title, "".join(parts), HEIGHT)


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio, the line that it must keep if any, and whether it does."""

    name: str
    low: float
    value: float
    high: float
    line: float | None
    good: bool


def intervals(rows: Sequence[Interval], *, title: str) -> str:
    """A row for each, on a scale of ratios."""
    if not rows:
        return ""
    height = TOP + BOTTOM + 26 * len(rows)
    edges = [edge for row in rows for edge in (row.low, row.high, row.line or row.low)]
    axis = _axis([*edges, 1.0], 240, WIDTH - 60, log=True)
    one = axis.at(1.0)
    parts = [_line((one, TOP), (one, height - BOTTOM), "#94a3b8")]
    for place, row in enumerate(rows):
        y = TOP + 16 + 26 * place
        colour = COLOURS[0] if row.good else COLOURS[1]
        parts.append(_text(232, y + 4, row.name, anchor="end"))
        parts.append(_line((axis.at(row.low), y), (axis.at(row.high), y), colour, width=4))
        parts.append(f'<circle cx="{axis.at(row.value):.1f}" cy="{y}" r="5" fill="{colour}"/>')
        parts.append(_text(WIDTH - 50, y + 4, f"{row.value:.2f}"))
        if row.line is not None:
            at = axis.at(row.line)
            parts.append(_line((at, y - 9), (at, y + 9), "#111", width=2))
    for mark in axis.marks():
        parts.append(_text(axis.at(mark), height - 22, f"{mark:g}", anchor="middle"))
    return _figure(title, "".join(parts), height)


def percentile_curve(histogram: Sequence[Sequence[float]]) -> list[Point]:
    """(microseconds, part of the answers that took no longer, in percent)."""
    whole = sum(count for _, count in histogram)
    found, so_far = [], 0.0
    for edge, count in histogram:
        so_far += count
        if so_far:
            found.append((edge, 100 * so_far / whole))
    return found


def _axis(values: Sequence[float], start: float, end: float, *, log: bool) -> Axis:
    low, high = min(values), max(values)
    if log:
        low, high = max(low, 1e-9) / 1.15, max(high, 1e-9) * 1.15
    else:
        low, high = 0.0, high * 1.05 or 1.0
    return Axis(low, high, start, end, log)


def _frame(x_axis: Axis, y_axis: Axis, *, names: tuple[str, str]) -> str:
    left, right, bottom = x_axis.start, x_axis.end, y_axis.start
    grey = "#64748b"
    parts = [_line((left, bottom), (right, bottom), grey), _line((left, TOP), (left, bottom), grey)]
    for mark in x_axis.marks():
        parts.append(_text(x_axis.at(mark), bottom + 16, _short(mark), anchor="middle"))
    for mark in y_axis.marks():
        y = y_axis.at(mark)
        parts.append(_line((left, y), (right, y), "#e2e8f0"))
        parts.append(_text(left - 6, y + 4, _short(mark), anchor="end"))
    parts.append(_text((left + right) / 2, bottom + 34, names[0], anchor="middle"))
    upright = _text(14, HEIGHT / 2, names[1], anchor="middle")
    parts.append(f'<g transform="rotate(-90 14 {HEIGHT / 2})">{upright}</g>')
    return "".join(parts)


def _line(start: Point, end: Point, colour: str, *, width: float = 1) -> str:
    at = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {at} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, said: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _figure(title: str, inside: str, height: float) -> str:
    said = escape(title)
    box = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{said}"'
    return f"<figure><figcaption>{said}</figcaption><svg {box}>{inside}</svg></figure>"


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def _round_step(step: float) -> float:
    power = 10 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next(power * n for n in (1, 2, 5, 10) if power * n >= step)
