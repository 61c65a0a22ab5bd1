"""A demo system to be asked at random: markets that trade on a real local chain, and a bridge to
another one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from eth_account import Account
from eth_account.signers.local import LocalAccount

from deploy import datadir, runfile
from deploy.process import free_port

ROOT = Path(__file__).parents[2]
START_S = 300.0
UNLIMITED = {
    "READS_PER_MINUTE": "1000000000",
    "WRITES_PER_WINDOW": "1000000000",
    "UPLOADS_PER_HOUR": "1000000000",
    "USER_READS_PER_MINUTE": "1000000000",
    "USER_WRITES_PER_WINDOW": "1000000000",
    "KEY_READS_PER_MINUTE": "1000000000",
    "KEY_WRITES_PER_MINUTE": "1000000000",
    "REQUESTS_IN_FLIGHT_MAX": "2000",
    "ACCESS_TOKEN_S": "7200",
    # Random requests are about what is answered, not about when: a slow machine is no fault.
    "PING_TIMEOUT_S": "20",
    "RPC_TIMEOUT_S": "10",
}


@dataclass(frozen=True)
class System:
    """`admin` is an administrator of it."""

    url: str
    run: runfile.RunFile
    admin: LocalAccount

    def statuses(self) -> dict[int, int]:
        """HTTP status → answers so far."""
        found: dict[int, int] = {}
        with urlopen(f"{self.url}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("risecurve_http_requests_total{"):
                    status = int(line.split('status="')[1].split('"')[0])
                    found[status] = found.get(status, 0) + int(float(line.rsplit(" ", 1)[1]))
        return dict(sorted(found.items()))


@contextlib.contextmanager
def started() -> Iterator[System]:
    """Up once some tokens trade and the bridge takes transfers; what it printed is shown if it does
    not come up.
    """
    port, admin = free_port(), Account.create()
    with datadir.temporary() as folder, (folder / "fuzz.log").open("w+b") as log:
        own = {
            "API_PORT": str(port),
            "STREAM_PORT": str(free_port()),
            "APP_ENV": "test",
            "DATA_DIR": str(folder),
            "ADMIN_ADDRESSES": admin.address,
            "BRIDGE": "true",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", "from deploy.cli import main; main()", "demo"],
            cwd=ROOT,
            env=os.environ | UNLIMITED | own,
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(process, url, folder / "fuzz.log")
            yield System(url, runfile.read(folder), admin)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            traded = _asked(f"{url}/api/tokens")["data"]["total"] > 3
            if traded and _asked(f"{url}/api/config")["data"]["bridge"]["available"]:
                return
        time.sleep(0.5)
    raise SystemExit(
        f"Expected tokens and a bridge within {START_S} s, was\n{log.read_text()[-4_000:]}"
    )


def _asked(url: str) -> Any:
    with urlopen(url, timeout=5) as answer:
        return json.load(answer)
