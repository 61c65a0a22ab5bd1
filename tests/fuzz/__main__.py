"""`python -m tests.fuzz [--cases N] [--seed N]`: schemathesis, all phases, logged in and not.

A demo system runs beside it: markets that trade on a real local chain. It fails on a 500, on
any status or answer that the document does not have, on a 5xx that is not documented, and
if more than 1 % of the answers are 429.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.support.gateway import siwe_message

ROOT = Path(__file__).parents[2]
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
)
START_S = 120.0
REFUSED_SHARE_MAX = 0.01
UNLIMITED = {
    "READS_PER_MINUTE": "1000000000",
    "WRITES_PER_WINDOW": "1000000000",
    "USER_READS_PER_MINUTE": "1000000000",
    "USER_WRITES_PER_WINDOW": "1000000000",
    "REQUESTS_IN_FLIGHT_MAX": "2000",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000, help="at least so many, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=60, help="of each operation, a round")
    parser.add_argument("--minutes", type=float, default=30.0, help="at most so long")
    given = parser.parse_args()
    with _system() as url:
        headers = asyncio.run(_login(url))
        done, failed, rounds = 0, 0, 0
        began = time.monotonic()
        while rounds < 2 or (done < given.cases and not failed):
            left_s = given.minutes * 60 - (time.monotonic() - began)
            if left_s <= 0:
                break
            who = headers if rounds % 2 else {}
            seed = given.seed + rounds
            found = _run(url, who, seed=seed, examples=given.examples, left_s=left_s)
            done, failed, rounds = done + found["cases"], failed + found["failures"], rounds + 1
        statuses = _statuses(url)
    answers = sum(statuses.values())
    refused = statuses.get(429, 0)
    figures = {
        "cases": done,
        "failures": failed,
        "rounds": rounds,
        "answers": answers,
        "statuses": statuses,
        "refused_share": round(refused / answers, 5) if answers else None,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(figures), flush=True)
    whole = failed == 0 and done >= given.cases and 500 not in statuses
    return 0 if whole and refused <= REFUSED_SHARE_MAX * answers else 1


@contextlib.contextmanager
def _system() -> Iterator[str]:
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from deploy.cli import main; main()", "demo"],
            cwd=ROOT,
            env=os.environ | UNLIMITED | {"API_PORT": str(port), "APP_ENV": "test"},
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(process, url)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("Expected the demo system to stay up")
        with contextlib.suppress(OSError, ValueError, KeyError):
            if _asked(f"{url}/api/tokens")["data"]["total"] > 3:
                return
        time.sleep(0.5)
    raise SystemExit(f"Expected tokens within {START_S} s")


def _asked(url: str) -> Any:
    with urlopen(url, timeout=5) as answer:
        return json.load(answer)


async def _login(url: str) -> dict[str, str]:
    account = Account.create()
    async with aiohttp.ClientSession(base_url=url) as session:
        async with session.post("/api/auth/nonce", json={}) as answer:
            asked = (await answer.json())["data"]
        message = siwe_message(account, asked["nonce"], domain=asked["domain"], URI=asked["uri"])
        signed = account.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
        body = {"walletAddress": account.address, "message": message, "signature": signed}
        async with session.post("/api/auth/connect", json=body) as answer:
            token = (await answer.json())["data"]["token"]
    return {"Authorization": f"Bearer {token}"}


def _run(
    url: str, headers: dict[str, str], *, seed: int, examples: int, left_s: float
) -> dict[str, int]:
    # Logging oneself out would make the rest of the round a round of strangers.
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.ndjson"
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--checks", ",".join(CHECKS)),
            *(
                "--mode",
                "all",
                "--max-examples",
                str(examples),
                "--seed",
                str(seed),
                "--workers",
                "1",
            ),
            *("--report", "ndjson", "--report-ndjson-path", str(report), "--no-color"),
            *("--suppress-health-check", "all", "--request-timeout", "20", "--warnings", "off"),
            *("--exclude-path", "/api/auth/logout"),
        ]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        # In the folder, which takes what it remembers of failures with it.
        ended = subprocess.run(command, cwd=folder, timeout=max(left_s, 60), check=False)
        return _counted(report) | ({"failures": 1} if ended.returncode else {"failures": 0})


def _counted(report: Path) -> dict[str, int]:
    cases = 0
    for line in report.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        cases += _cases(event)
    return {"cases": cases}


def _cases(event: dict[str, Any]) -> int:
    recorder = (event.get("ScenarioFinished") or {}).get("recorder") or {}
    return len(recorder.get("interactions") or {})


def _statuses(url: str) -> dict[int, int]:
    found: dict[int, int] = {}
    with urlopen(f"{url}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("risecurve_http_requests_total{"):
                status = int(line.split('status="')[1].split('"')[0])
                found[status] = found.get(status, 0) + int(float(line.rsplit(" ", 1)[1]))
    return dict(sorted(found.items()))


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
