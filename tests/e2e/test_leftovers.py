"""What a command leaves behind: nothing, however it ends; and what a running one weighs."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from deploy import watchdog
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


def starting(folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """One `risecurve up` whose Ray is up and whose roles are not."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [running.CLI, "up"],
            env=running.environment(folder),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while "roles start" not in log.read_text() and time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.1)
    assert "roles start" in log.read_text(), log.read_text()[-2000:]
    return process


@pytest.mark.timeout(180)
def test_up_killed_and_at_once_again_starts_and_interrupted_leaves_nothing(data_folder):
    first = starting(data_folder, data_folder / "first.log")
    family = running.descendants(first.pid)
    first.kill()
    first.wait()
    log = data_folder / "again.log"
    process = starting(data_folder, log)
    running.gone(family)
    # Long enough for whoever ends what the first has left, and would not know the two apart.
    time.sleep(watchdog.ROUNDS * watchdog.POLL_S)
    family = running.descendants(process.pid)
    assert process.poll() is None and any("gcs_server" in one.cmdline()[0] for one in family)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    running.gone(family)
    assert "Traceback" not in log.read_text(), log.read_text()[-2000:]


@pytest.mark.timeout(120)
def test_up_that_has_lost_the_head_of_its_ray_ends_and_leaves_nothing(data_folder):
    with running.up(data_folder) as one:
        family = running.descendants(one.process.pid)
        (head,) = [one for one in family if one.name() == "gcs_server"]
        head.kill()
        assert one.process.wait(timeout=20) == 1
        running.gone(family)
        said = (data_folder / "up.log").read_text()
        assert "Expected gcs_server" in said and "Traceback" not in said, said[-2000:]
