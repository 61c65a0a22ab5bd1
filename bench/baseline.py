"""`bench/baseline.json`: the ratios that were reached, and what falls behind them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.gates import LOWER_IS_BETTER
from bench.stats import ALTERNATIONS_MIN, Ratio, losses

FILE = Path(__file__).parent / "baseline.json"


def read() -> dict[str, float]:
    """Ratio by name."""
    found: dict[str, float] = json.loads(FILE.read_text())["ratios"]
    return found


def write(found: Mapping[str, Any]) -> None:
    """Keep the ratios of a run, of enough alternations, beside those that it did not measure."""
    kept = read() if FILE.exists() else {}
    kept |= {
        name: one["value"]
        for name, one in found["intervals"].items()
        if one["alternations"] >= ALTERNATIONS_MIN
    }
    machine = {name: found["machine"][name] for name in ("processor", "cores", "node", "python")}
    text = json.dumps({"ratios": dict(sorted(kept.items())), "machine": machine}, indent=1)
    FILE.write_text(text + "\n")


def losses_of(found: Mapping[str, Any]) -> list[str]:
    """Sentences about gates that fail and ratios behind the baseline, each confirmed by its
    whole interval."""
    ratios = {
        name: Ratio(one["value"], one["low"], one["high"], int(one["alternations"]))
        for name, one in found["intervals"].items()
    }
    missed = [
        f"{name}: Expected {gate['line']}, was {ratios[name].low:.3f} to {ratios[name].high:.3f}"
        for name, gate in found["gates"].items()
        if not gate["holds"]
    ]
    return missed + losses(read(), ratios, lower_is_better=LOWER_IS_BETTER)
