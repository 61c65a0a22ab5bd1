"""`python -m bench`: run the parts, write the report.

python -m bench                  the gated ratios (`make bench`)
python -m bench quotes --full    one part, with its whole grid
python -m bench --check          then fail on a confirmed loss (`make bench-check`)
python -m bench --keep           then take the ratios as the new baseline
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from bench import baseline, fanout, latency, quotes, rates, report, scale, tokens
from bench.processes import BenchError
from bench.results import Results, read
from bench.stats import ALTERNATIONS_MIN
from deploy.process import kept_environment

Part = Callable[[Results, quotes.Effort, quotes.Tell], None]
PARTS: dict[str, Part] = {
    "quotes": quotes.run,
    "fanout": fanout.run,
    "latency": latency.run,
    "rates": rates.run,
    "tokens": tokens.run,
    "cluster": scale.run,
}
OF_RATIOS = ("quotes", "fanout")
"""The parts that `--only` chooses from."""


def parser() -> argparse.ArgumentParser:
    """The options; `risecurve bench` has the same."""
    made = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    made.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    made.add_argument("--full", action="store_true", help="the whole grid too")
    made.add_argument("--check", action="store_true", help="fail on a confirmed loss")
    made.add_argument("--keep", action="store_true", help="take the ratios as the baseline")
    made.add_argument("--alternations", type=int, default=12)
    made.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    made.add_argument("--only", default="", help="ratios by name, comma-separated")
    made.add_argument("--json", action="store_true", help="one line of JSON at the end")
    return made


def main(words: list[str] | None = None) -> int:
    """Exit code: 0, or 1 with a sentence for each loss, or for the part that failed."""
    given = parser().parse_args(words)
    unknown = set(given.parts) - PARTS.keys()
    if unknown:
        sys.stderr.write(f"bench: Expected parts of {', '.join(PARTS)}, was {min(unknown)}\n")
        return 2
    effort = quotes.Effort(given.alternations, given.seconds, grid=given.full)
    effort = replace(effort, only=frozenset(filter(None, given.only.split(","))))
    results = Results()
    names = given.parts or (OF_RATIOS if effort.only else PARTS)
    failed = _run(names, results, effort)
    if failed and not results.parts:
        return 1
    report.finish(results)
    if failed:
        return 1
    found = read()
    if given.json:
        sys.stdout.write(json.dumps({name: found[name] for name in ("ratios", "figures")}) + "\n")
    lost = _checked(found) if given.check else []  # against the old baseline
    if given.keep:
        sys.stderr.write(f"bench: kept {', '.join(baseline.write(found)) or 'no ratio'}\n")
    return 1 if lost else 0


def _run(names: Iterable[str], results: Results, effort: quotes.Effort) -> bool:
    # Whether one failed, and was the last: what those before it found is told all the same.
    with report.progress() as tell:
        for name in names:
            began = time.monotonic()
            try:
                with kept_environment():
                    PARTS[name](results, effort, tell)
            except BenchError as error:
                results.notes.append(f"{name} failed, and what comes after it was not run: {error}")
                sys.stderr.write(f"bench: {error}\n")
                return True
            results.figures[f"bench_{name}_s"] = time.monotonic() - began
    return False


def _checked(found: dict[str, Any]) -> list[str]:
    few = baseline.unchecked(found)
    if few:
        wanted = f"Expected {ALTERNATIONS_MIN} alternations to check {', '.join(few)}"
        sys.stderr.write(f"bench: {wanted}\n")
    lost = baseline.losses_of(found)
    for sentence in lost:
        sys.stderr.write(f"bench: {sentence}\n")
    return lost


if __name__ == "__main__":
    sys.exit(main())
