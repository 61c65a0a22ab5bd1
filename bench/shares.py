"""Who took how much of the processor meanwhile: the roles of a running system by their slots,
its servers and everything else of the bench by what they are."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

STRANGERS = "strangers"
STATUS_TIMEOUT_S = 60.0
SERVERS = {
    "valkey-server": "valkey",
    "mongod": "mongod",
    "postgres": "postgres",
    "anvil": "anvil",
    "raylet": "ray",
    "gcs_server": "ray",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Processor seconds so far, by pid, and of the whole machine; the monotonic clock."""

    at: float
    machine_s: float
    cpu_s: Mapping[int, float]


def roles_of(environment: Mapping[str, str]) -> dict[int, str]:
    """Pid to role of the system that runs in this environment."""
    command = [str(Path(sys.executable).with_name("risecurve")), "status", "--json"]
    said = subprocess.run(
        command, env=dict(environment), capture_output=True, check=True, timeout=STATUS_TIMEOUT_S
    )
    found = json.loads(said.stdout)["instances"]
    return {int(one["pid"]): str(one["role"]) for one in found}


def moment(pids: tuple[int, ...]) -> Moment:
    """Now, of these processes and all their children."""
    found: dict[int, float] = {}
    for pid in pids:
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for one in family:
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            found[one.pid] = times.user + times.system
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    return Moment(time.monotonic(), sum(times) - idle_s, found)


def shares(
    before: Moment, after: Moment, names: Mapping[int, str], *, named: Mapping[int, str]
) -> dict[str, float]:
    """Percent of one core by name, largest first. `names` are roles, `named` what else is known;
    the rest goes by its program, and what is none of these processes is STRANGERS.
    """
    found: dict[str, float] = {}
    for pid, cpu_s in after.cpu_s.items():
        name = names.get(pid) or named.get(pid) or _program(pid)
        found[name] = found.get(name, 0.0) + cpu_s - before.cpu_s.get(pid, 0.0)
    found[STRANGERS] = max(after.machine_s - before.machine_s - sum(found.values()), 0.0)
    wall_s = after.at - before.at
    percent = {name: 100 * cpu_s / wall_s for name, cpu_s in found.items()}
    return dict(sorted(percent.items(), key=lambda one: -one[1]))


def _program(pid: int) -> str:
    try:
        name = psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return "others"
    return next((server for known, server in SERVERS.items() if known in name), "others")
