"""`python -m tests.fuzz [--cases N] [--seed N]`: schemathesis, all phases, by strangers, an
administrator, a user and an API key; then the Socket.IO door.

A demo system runs beside it, with real values for a share of the requests. It fails on a 500,
on any status or answer that the document does not have, on a 5xx that is not documented, if
more than 1 % of the answers are 429, and where an operation that could succeed never did.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import real, sockets
from tests.fuzz.counting import EXCLUDED, LAST, Counts
from tests.fuzz.real import Caller, Real
from tests.fuzz.system import ROOT, System, started

CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "object_level_authorization",
)
REFUSED_SHARE_MAX = 0.01
ROUNDS_MIN = 2
"""A stranger and an administrator; the others come as far as the cases go."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000, help="at least so many, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=25, help="of each operation, a round")
    parser.add_argument("--messages", type=int, default=5_000, help="to the Socket.IO door")
    parser.add_argument("--minutes", type=float, default=30.0, help="at most so long")
    given = parser.parse_args()
    began, counts, failed = time.monotonic(), Counts(), []
    with started() as system:
        found = asyncio.run(real.prepare(system))
        rounds = 0
        while rounds < ROUNDS_MIN or (counts.cases < given.cases and not failed):
            left_s = given.minutes * 60 - (time.monotonic() - began)
            if left_s <= 0:
                break
            caller = found.callers[rounds % len(found.callers)]
            if not _round(system, found, caller, counts, seed=given.seed + rounds, given=given):
                failed.append(caller.name)
            rounds += 1
        if not _round(
            system, found, found.callers[1], counts, seed=given.seed, given=given, only=LAST
        ):
            failed.append("paused")
        heard = _sockets(system, found, given)
        statuses = system.statuses()
    answers, refused = sum(statuses.values()), statuses.get(429, 0)
    figures = {
        "cases": counts.cases,
        "rounds": rounds,
        "failed_rounds": failed,
        "phases": counts.phases,
        "answers": answers,
        "statuses": statuses,
        "refused_share": round(refused / answers, 5) if answers else None,
        "success_share": counts.shares(),
        "never_succeeded": counts.without_success(),
        "sockets": heard.figures(),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(figures), flush=True)
    whole = not failed and counts.cases >= given.cases and 500 not in statuses
    whole = whole and not heard.failures and not counts.without_success()
    return 0 if whole and refused <= REFUSED_SHARE_MAX * answers else 1


def _round(
    system: System,
    found: Real,
    caller: Caller,
    counts: Counts,
    *,
    seed: int,
    given: argparse.Namespace,
    only: tuple[str, ...] = (),
) -> bool:
    # In a folder of its own, which takes what it remembers of failures with it.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report, facts = folder / "report.ndjson", folder / "real.json"
        given_facts = {"bodies": found.bodies, "paths": found.paths}
        facts.write_text(json.dumps({"url": system.url, "seed": seed} | given_facts))
        (folder / "schemathesis.toml").write_text(real.settings(found, caller))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{system.url}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--checks", ",".join(CHECKS)),
            *("--mode", "all", "--max-examples", str(given.examples), "--seed", str(seed)),
            *("--report", "ndjson", "--report-ndjson-path", str(report), "--no-color"),
            *("--suppress-health-check", "all", "--request-timeout", "20", "--warnings", "off"),
            *("--workers", "1", "--continue-on-failure"),
        ]
        for path in only or EXCLUDED:
            command += ["--include-path" if only else "--exclude-path", path]
        for header, value in caller.headers.items():
            command += ["--header", f"{header}: {value}"]
        environment = {
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            "FUZZ_REAL": str(facts),
            "PYTHONPATH": str(ROOT),
        }
        ended = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            timeout=max(given.minutes * 60, 60),
            check=False,
        )
        counts.add(report)
        return ended.returncode == 0


def _sockets(system: System, found: Real, given: argparse.Namespace) -> sockets.Found:
    token = found.callers[1].headers["Authorization"].removeprefix("Bearer ")
    return asyncio.run(
        sockets.fuzz(
            system.url,
            messages=given.messages,
            seed=given.seed,
            tokens=found.shared["tokens"][:4],
            access_token=token,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
