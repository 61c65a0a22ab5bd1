"""What a command leaves behind: nothing, however it ends; and what a running one weighs."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support import running

RAY_WORKERS_MAX = 13  # the roles, and two agents of Ray
PSS_BYTES_MAX = 2_500_000_000
SERVERS = ("postgres", "mongod", "valkey-server", "anvil")


def pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


@pytest.mark.timeout(300)
def test_up_killed_leaves_nothing(killed):
    assert len(killed.family) > 10
    took_s = running.gone(killed.family)
    print(f"\nafter kill -9: {len(killed.family)} processes gone in {took_s:.1f} s")


@pytest.mark.timeout(300)
def test_up_again_is_whole_and_weighs_little(again):
    code, verdict = again.cli("verify")
    assert (code, verdict["mismatches"]) == (0, 0), verdict
    _, status = again.cli("status")
    assert status["ready"] and status["buckets_owned"] == 1024
    family = running.descendants(again.process.pid)
    names = [" ".join(one.cmdline()) for one in family]
    workers = [name for name in names if name.startswith("ray::")]
    ours = [
        one.pid
        for one, name in zip(family, names, strict=True)
        if not any(server in name.split(" ")[0] for server in SERVERS)
    ]
    weight = sum(pss(pid) for pid in (again.process.pid, *ours))
    print(f"{len(workers)} Ray workers, {weight / 1e9:.2f} GB PSS of Ray, roles and CLI")
    assert len(workers) <= RAY_WORKERS_MAX
    assert weight <= PSS_BYTES_MAX


@pytest.mark.timeout(120)
def test_up_interrupted_while_starting_leaves_nothing(data_folder):
    import subprocess

    log = data_folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [running.CLI, "up"],
            env=running.environment(data_folder),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while "roles start" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    family = running.descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    running.gone(family)
    assert "Traceback" not in log.read_text(), log.read_text()[-2000:]
