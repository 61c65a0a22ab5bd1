"""`bench/baseline.json`: the ratios that were reached, and what falls behind them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.gates import LOWER_IS_BETTER
from bench.stats import ALTERNATIONS_MIN, Ratio, losses

FILE = Path(__file__).parent / "baseline.json"


def read() -> dict[str, float]:
    """Ratio by name; none where nothing was kept yet."""
    if not FILE.exists():
        return {}
    found: dict[str, float] = json.loads(FILE.read_text())["ratios"]
    return found


def write(found: Mapping[str, Any]) -> list[str]:
    """Keep the ratios of a run, of enough alternations, beside those that it did not measure;
    the names of those that were kept."""
    fresh = {name: one["value"] for name, one in _sure(found).items()}
    kept = read() | fresh
    machine = {name: found["machine"][name] for name in ("processor", "cores", "node", "python")}
    text = json.dumps({"ratios": dict(sorted(kept.items())), "machine": machine}, indent=1)
    FILE.write_text(text + "\n")
    return sorted(fresh)


def unchecked(found: Mapping[str, Any]) -> list[str]:
    """Ratios of so few alternations that their interval confirms nothing."""
    return sorted(found["intervals"].keys() - _sure(found).keys())


def losses_of(found: Mapping[str, Any]) -> list[str]:
    """Sentences about gates that fail and ratios behind the baseline, each confirmed by its
    whole interval."""
    ratios = {
        name: Ratio(one["value"], one["low"], one["high"], int(one["alternations"]))
        for name, one in _sure(found).items()
    }
    missed = [
        f"{name}: Expected {gate['line']}, was {ratios[name].low:.3f} to {ratios[name].high:.3f}"
        for name, gate in found["gates"].items()
        if not gate["holds"]
    ]
    return missed + losses(read(), ratios, lower_is_better=LOWER_IS_BETTER)


def _sure(found: Mapping[str, Any]) -> dict[str, Any]:
    every = found["intervals"].items()
    return {name: one for name, one in every if one["alternations"] >= ALTERNATIONS_MIN}
