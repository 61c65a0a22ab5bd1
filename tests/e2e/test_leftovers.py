"""What a command leaves behind: nothing, however it ends; and what a running one weighs."""

import os
import signal
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.support import running

CLEAN_S_MAX = 5.0
RAY_WORKERS_MAX = 13  # the roles, and two agents of Ray
PSS_BYTES_MAX = 2_500_000_000
SERVERS = ("postgres", "mongod", "valkey-server", "anvil")


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[str]:
    left = []
    for one in processes:
        try:
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{one.pid} {' '.join(one.cmdline())[:80]}")
        except psutil.NoSuchProcess:
            continue
    return left


def assert_clean(processes: list[psutil.Process]) -> float:
    began = time.monotonic()
    while left := alive(processes):
        assert time.monotonic() - began < CLEAN_S_MAX, left
        time.sleep(0.1)
    return time.monotonic() - began


def pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def scaled(system: running.Running) -> list[psutil.Process]:
    """A shard and a door more; what was started for it."""
    before = system.pids()
    code, told = system.cli("scale", "--shards", "3", "--gateways", "2", timeout_s=120)
    assert (code, told["shards"], told["gateways"]) == (0, 3, 2), told
    _, status = system.cli("status")
    after = {one["slot"]: one for one in status["instances"]}
    assert before.items() <= {slot: one["pid"] for slot, one in after.items()}.items()
    assert after.keys() - before.keys() == {"shard-2", "gateway-1"}
    assert after["gateway-1"]["port"] == after["gateway-0"]["port"] + 1
    with urllib.request.urlopen(f"http://127.0.0.1:{after['gateway-1']['port']}/readyz") as answer:
        assert answer.status == 200
    owned = [status["roles"][slot]["buckets"] for slot in after if slot.startswith("shard")]
    assert sum(owned) == 1024 and min(owned) > 200
    print(f"scaled to {len(owned)} shards of {owned} buckets in {told['seconds']} s")
    return [psutil.Process(after[slot]["pid"]) for slot in after.keys() - before.keys()]


@pytest.mark.timeout(300)
def test_up_killed_leaves_nothing_starts_again_weighs_little_and_ends_on_sigterm(data_folder):
    with running.up(data_folder) as system:
        family = descendants(system.process.pid)
        assert len(family) > 10
        system.process.send_signal(signal.SIGKILL)
        system.process.wait()
        print(f"\nafter kill -9: {len(family)} processes gone in {assert_clean(family):.1f} s")
    with running.up(data_folder) as system:
        code, verdict = system.cli("verify")
        assert (code, verdict["mismatches"]) == (0, 0), verdict
        _, status = system.cli("status")
        assert status["ready"] and status["buckets_owned"] == 1024
        family = descendants(system.process.pid)
        names = [" ".join(one.cmdline()) for one in family]
        workers = [name for name in names if name.startswith("ray::")]
        ours = [
            one.pid
            for one, name in zip(family, names, strict=True)
            if not any(server in name.split(" ")[0] for server in SERVERS)
        ]
        weight = sum(pss(pid) for pid in (system.process.pid, *ours))
        print(f"{len(workers)} Ray workers, {weight / 1e9:.2f} GB PSS of Ray, roles and CLI")
        assert len(workers) <= RAY_WORKERS_MAX
        assert weight <= PSS_BYTES_MAX
        family += scaled(system)
        began = time.monotonic()
        system.process.send_signal(signal.SIGTERM)
        assert system.process.wait(timeout=20) == 0
        print(f"SIGTERM: ended in {time.monotonic() - began:.1f} s")
        assert_clean(family)


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
    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert_clean(family)
    assert "Traceback" not in log.read_text(), log.read_text()[-2000:]
