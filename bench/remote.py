"""Load on a deployment that runs somewhere, judged by thresholds in a file.

    python -m bench.remote --url ws://host:3001/v1 --tokens 0x…,0x… --rate 2000 --clients 50 \\
        --seconds 30 --mix buy=3,sell=1 --thresholds bench/thresholds.example.json

`--url` chooses the door: `ws://…` the stream door, `http://…` REST, `socketio://…` Socket.IO.
Without `--rate` it is a closed loop of `--clients` with `--window` quotes in flight each. With
`--find` the tokens are taken from the deployment's own list. Exit code 0: all thresholds kept.
"""

import argparse
import json
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.loadgen import Plan
from bench.processes import BenchError, Generator

_WIRES = {"ws": "stream", "http": "rest", "socketio": "socketio"}
_MOST = ("p50_us", "p90_us", "p99_us", "p999_us", "max_us", "error_percent", "lost", "skipped")
_LEAST = ("rate_per_s", "answers")


def judged(found: Mapping[str, Any], thresholds: Mapping[str, float]) -> list[str]:
    """A sentence for each threshold that is not kept. Names are `most_<figure>` and
    `least_<figure>`. Raises BenchError for one that is unknown: a misspelt one would always pass.
    """
    figures = figures_of(found)
    known = {f"most_{name}" for name in _MOST} | {f"least_{name}" for name in _LEAST}
    faults = []
    for name, line in thresholds.items():
        if name not in known:
            raise BenchError(f"Expected thresholds of {', '.join(sorted(known))}, was {name}")
        side, _, figure = name.partition("_")
        value = figures[figure]
        if value > line if side == "most" else value < line:
            faults.append(f"{figure}: Expected at {side} {line:g}, was {value:g}")
    return faults


def figures_of(found: Mapping[str, Any]) -> dict[str, float]:
    """What thresholds may name."""
    errors = sum(found["errors"].values())
    asked = found["answers"] + errors
    return {
        **found["latency"],
        "rate_per_s": found["rate_per_s"],
        "answers": found["answers"],
        "lost": found["lost"],
        "skipped": found["skipped"],
        "error_percent": 100 * errors / asked if asked else 100.0,
    }


def plan_of(given: argparse.Namespace, tokens: tuple[str, ...]) -> Plan:
    """Raises BenchError for a URL of no door."""
    parts = urlsplit(given.url)
    if parts.scheme not in _WIRES or not parts.hostname or not parts.port:
        raise BenchError(f"Expected ws://, http:// or socketio://host:port, was {given.url}")
    headers = {"X-API-Key": given.api_key} if given.api_key else {}
    return Plan(
        wire=_WIRES[parts.scheme],
        host=parts.hostname,
        port=parts.port,
        clients=given.clients,
        window=given.window,
        rate=given.rate,
        seconds=given.seconds,
        warm_s=min(1.0, given.seconds / 4),
        tokens=tokens,
        zipf=given.zipf,
        mix=_mix(given.mix),
        headers=headers,
    )


def _mix(text: str) -> dict[str, float]:
    try:
        parts = [one.partition("=") for one in text.split(",")]
        found = {name: float(part) for name, _, part in parts}
    except ValueError as error:
        raise BenchError(f"Expected a mix such as buy=3,sell=1, was {text}") from error
    if not found or found.keys() - {"buy", "sell"} or sum(found.values()) <= 0:
        raise BenchError(f"Expected a mix such as buy=3,sell=1, was {text}")
    return found


def _tokens(given: argparse.Namespace) -> tuple[str, ...]:
    if given.tokens:
        return tuple(given.tokens.split(","))
    if not given.find:
        raise BenchError("Expected --tokens, or --find http://host:port of the API")
    with urllib.request.urlopen(f"{given.find}/api/tokens?limit=100", timeout=10) as answer:
        items = json.load(answer)["data"]["items"]
    found = tuple(one["address"] for one in items if one["phase"] in ("curve", "graduated"))
    if not found:
        raise BenchError("Expected a token to ask about, the deployment has none")
    return found


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="bench.remote", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--url", required=True)
    made.add_argument("--tokens", default="", help="addresses, comma-separated")
    made.add_argument("--find", default="", help="the API whose list of tokens to take")
    made.add_argument("--clients", type=int, default=50)
    made.add_argument("--window", type=int, default=1)
    made.add_argument("--rate", type=float, default=0.0, help="of all, a second; 0: closed loop")
    made.add_argument("--seconds", type=float, default=30.0)
    made.add_argument("--mix", default="buy=4,sell=2")
    made.add_argument("--zipf", action="store_true", help="the first tokens are asked most")
    made.add_argument("--api-key", default="")
    made.add_argument("--thresholds", default="", help="a JSON file, see thresholds.example.json")
    return made


def main(words: list[str] | None = None) -> int:
    """0: kept, 1: not, 2: could not be measured."""
    given = parser().parse_args(words)
    try:
        thresholds = json.loads(Path(given.thresholds).read_text()) if given.thresholds else {}
        with Generator() as generator:
            found = generator.run(plan_of(given, _tokens(given)))
        faults = judged(found, thresholds)
    except (BenchError, OSError, ValueError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    shown = figures_of(found) | {"errors": found["errors"], "pass": not faults}
    sys.stdout.write(json.dumps(shown) + "\n")
    for fault in faults:
        sys.stderr.write(f"bench: {fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
