"""What a bench shows: progress while it runs, a table at its end, the files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.page import page
from bench.results import FOLDER, LATEST, PAGE, Results, read

CONSOLE = Console(stderr=True, highlight=False)


@contextmanager
def progress() -> Iterator[Any]:
    """`tell(text)`: what goes on now."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=CONSOLE, transient=True) as shown:
        task = shown.add_task("begins", total=None)
        yield lambda text: shown.update(task, description=text)


def finish(results: Results) -> None:
    """Write the files and show the tables."""
    results.write()
    found = read()
    FOLDER.mkdir(exist_ok=True)
    PAGE.write_text(page(found))
    show(found)
    CONSOLE.print(f"{LATEST}\n{PAGE}")


def show(found: Mapping[str, Any]) -> None:
    """The tables."""
    if found["ratios"]:
        CONSOLE.print(_ratios(found))
    CONSOLE.print(_figures(found))
    machine = found["machine"]
    CONSOLE.print(
        f"{machine['processor']}, {machine['cores']} cores, load {machine['loadBefore']:.1f}"
        f" before and {machine['loadAfter']:.1f} after, {found['seconds']:g} s"
    )


def _ratios(found: Mapping[str, Any]) -> Table:
    table = Table(title="Ours over theirs")
    for name in ("ratio", "value", "95 %", "line", ""):
        table.add_column(name)
    for name, one in found["intervals"].items():
        gate = found["gates"].get(name, {})
        verdict = ""
        if gate:
            verdict = "ok" if gate["reached"] else "noise" if gate["holds"] else "MISSED"
        interval = f"{one['low']:.2f} to {one['high']:.2f}"
        table.add_row(name, f"{one['value']:.2f}", interval, gate.get("line", ""), verdict)
    return table


def _figures(found: Mapping[str, Any]) -> Table:
    table = Table(title="Figures (medians; once_: measured once)")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in sorted(found["figures"].items()):
        table.add_row(name, f"{value:,.2f}")
    return table
