"""Rows of the fault report from simulations: `rows`; one run again: `python -m
tests.simulation.run --kind reorg --seed 7`.
"""

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from deploy import datadir
from deploy.embedded import Embedded
from storage import postgres
from tests.simulation.planted import PLANTED, caught
from tests.simulation.runs import KINDS, LIES, Outcome, simulate

FAILED_SHOWN = 20
PROMISES = {
    "lies": "no event lost when the RPC lies",
    "reorg": "reorg-correct",
    "deep": "a too-deep reorg stops with an alarm",
    "shreds": "a shred that does not come true is taken back",
    "kills": "kill -9 any actor or process at any instant",
    "scaling": "doubling shards while running",
    "recovery": "recovery is identical; a bad snapshot is refused",
}
SHARES = {
    "lies": 0.25,
    "reorg": 0.25,
    "deep": 0.05,
    "shreds": 0.1,
    "kills": 0.15,
    "scaling": 0.1,
    "recovery": 0.1,
}
LEAST = {
    "lies": len(LIES),
    "reorg": 500,
    "deep": 10,
    "shreds": 100,
    "kills": 300,
    "scaling": 120,
    "recovery": 100,
}
# The tests of the simulation run more of each kind.
LEAST_SHORT = {
    "lies": 3,
    "reorg": 12,
    "deep": 1,
    "shreds": 15,
    "kills": 15,
    "scaling": 12,
    "recovery": 20,
}

Row = dict[str, Any]
Say = Callable[[str], None]


def rows(
    budget_s: float, seed: int, postgres_url: str, *, short: bool = False, say: Say = print
) -> list[Row]:
    """A row a promise. Each kind gets its share of `budget_s`, and goes on until it has its
    least number of trials; `seed` chooses the courses.
    """
    asyncio.run(migrate(postgres_url))
    least = LEAST_SHORT if short else LEAST
    bugs = _planted(postgres_url, seed, short=short)
    made = []
    for kind in KINDS:
        began = time.monotonic()
        until = began + budget_s * SHARES[kind]
        outcomes = list(_outcomes(kind, seed, postgres_url, least=least[kind], until=until))
        row = _row(kind, outcomes, bugs[kind])
        row["seconds"] = round(time.monotonic() - began, 1)
        made.append(row)
        say(f"{row['promise']}: {row['trials']} trials, {row['failures']} failures")
    return made


def _outcomes(kind: str, seed: int, url: str, *, least: int, until: float) -> Iterable[Outcome]:
    done = number = 0
    modes = sorted(LIES) if kind == "lies" else [""]
    while done < least or time.monotonic() < until:
        outcome = simulate(
            seed * 1_000 + number // len(modes),
            kind=kind,
            url=url,
            mode=modes[(number * 7) % len(modes)],
        )
        done += outcome.trials
        number += 1
        yield outcome


def _planted(url: str, seed: int, *, short: bool) -> dict[str, tuple[int, int, list[str]]]:
    found: dict[str, tuple[int, int, list[str]]] = defaultdict(lambda: (0, 0, []))
    for one in PLANTED[::4] if short else PLANTED:
        planted, hits, missed = found[one.kind]
        hit = caught(one, url, first_seed=seed * 1_000 + 500)
        found[one.kind] = (planted + 1, hits + hit, missed + ([] if hit else [one.name]))
    return found


def _row(kind: str, outcomes: list[Outcome], bugs: tuple[int, int, list[str]]) -> Row:
    figures: dict[str, float] = defaultdict(float)
    modes: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        modes[outcome.mode] += outcome.trials
        for name, value in outcome.figures.items():
            figures[name] = max(figures[name], value) if "within" in name else figures[name] + value
    failed = [one for one in outcomes if one.failures]
    figure: dict[str, Any] = {"runs": len(outcomes)} | {k: round(v, 2) for k, v in figures.items()}
    if kind == "lies":
        figure["runs of each mode"] = dict(modes)
    planted, hits, missed = bugs
    return {
        "promise": PROMISES[kind],
        "part": "simulation",
        "trials": sum(one.trials for one in outcomes),
        "failures": len(failed),
        "figure": figure,
        "planted": planted,
        "caught": hits,
        "missed": missed,
        "failed": [
            {"seed": one.seed, "kind": one.kind, "mode": one.mode, "what": one.failures[:3]}
            for one in failed[:FAILED_SHOWN]
        ],
    }


async def migrate(url: str) -> None:
    """Bring the database of this URL up to date."""
    pool = await postgres.connect(url)
    await postgres.migrate(pool)
    await pool.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--mode", default="", help=f"of lies: {', '.join(sorted(LIES))}")
    given = parser.parse_args()
    with datadir.temporary() as folder, Embedded(folder, durable=False) as servers:
        url = servers.start_postgres()
        asyncio.run(migrate(url))
        outcome = simulate(given.seed, kind=given.kind, url=url, mode=given.mode)
    print(outcome.figures, *outcome.failures, sep="\n")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
