"""Processes of a bench: peers and the load generator, each ended by its own pid."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.loadgen import Plan

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0


class BenchError(Exception):
    """A bench that cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that listens on `port`. `pids` are all processes that work for it."""

    name: str
    port: int
    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """Processor seconds of its processes so far."""
        return sum(_cpu_s(pid) for pid in self.pids)


@contextmanager
def started(name: str, *command: str) -> Iterator[Peer]:
    """A peer that says `{"port": …}` and ends with its standard input."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None, "Expected its output"
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"Expected {name} to start, it ended with {process.wait()}")
        yield Peer(name, int(json.loads(line)["port"]), (process.pid,))
    finally:
        _end(process)


def python(module: str) -> tuple[str, ...]:
    """The command of one of our modules."""
    return (sys.executable, "-m", module)


class Generator:
    """The load generator: plans in, results out."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            python("bench.loadgen"),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Generator":
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def run(self, plan: Plan) -> dict[str, Any]:
        """What was measured. Raises BenchError if nothing was."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None, "Expected pipes"
        process.stdin.write(json.dumps(asdict(plan)) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"Expected a result, the load generator ended: {process.wait()}")
        found: dict[str, Any] = json.loads(line)
        if "failed" in found:
            raise BenchError(f"{plan.wire} with {plan.clients} clients: {found['failed']}")
        return found


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _end(process: "subprocess.Popen[str]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
