"""A whole system as its users have it: `risecurve up` in a process of its own."""

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

import psutil

from deploy import runfile
from deploy.process import StartError, free_port

START_TIMEOUT_S = 240.0
CLEAN_S_MAX = 5.0
CLI = str(Path(sys.executable).with_name("risecurve"))


class CommandFailed(AssertionError):
    """What it said on standard error."""


@dataclass
class Running:
    """One `risecurve up`. `run` says how to reach it."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    environment: dict[str, str]
    run: runfile.RunFile

    @property
    def api(self) -> str:
        return self.run.api_url

    def cli(self, *words: str, timeout_s: float = 60) -> tuple[int, dict[str, Any]]:
        """(exit code, the JSON line) of another command on this system. Raises CommandFailed: it
        failed without one.
        """
        done = subprocess.run(
            [CLI, *words, "--json"],
            env=self.environment,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        lines = done.stdout.decode().strip().splitlines()
        if done.returncode and not lines:
            raise CommandFailed(done.stderr.decode().strip())
        assert len(lines) == 1, done.stdout.decode() + done.stderr.decode()
        return done.returncode, json.loads(lines[0])

    def pids(self) -> dict[str, int]:
        """slot → process id."""
        _, status = self.cli("status")
        return {one["slot"]: one["pid"] for one in status["instances"]}


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Settings of a system of its own, with limits that load tests do not meet."""
    return os.environ | {
        "APP_ENV": "test",
        "BRIDGE": "false",
        "DATA_DIR": str(folder),
        "API_PORT": str(free_port()),
        "STREAM_PORT": str(free_port()),
        "READS_PER_MINUTE": "1000000",
        "WRITES_PER_WINDOW": "1000000",
        "USER_READS_PER_MINUTE": "1000000",
        "USER_WRITES_PER_WINDOW": "1000000",
        "SOCKET_QUOTES_PER_MINUTE": "100000000",
        "SOCKET_MESSAGES_PER_S": "1000000",
        "SOCKET_BYTES_PER_S": "1000000000",
        "CONNECTS_PER_S": "1000000",
        "CONNECTS_PER_S_ALL": "1000000",
        **variables,
    }


@contextlib.contextmanager
def up(folder: Path, **variables: str) -> Iterator[Running]:
    """Bring a system up, end it with SIGTERM, by force after 20 s."""
    settings = environment(folder, **variables)
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([CLI, "up"], env=settings, stdout=log, stderr=log)
    try:
        yield Running(process, folder, settings, _wait(process, folder))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", folder: Path) -> runfile.RunFile:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(StartError):
            run = runfile.read(folder)
            if run.pid == process.pid:
                return run
        time.sleep(0.1)
    raise AssertionError(f"It did not come up:\n{(folder / 'up.log').read_text()[-4000:]}")


def descendants(pid: int) -> list[psutil.Process]:
    """All processes that it has begun, and they."""
    return psutil.Process(pid).children(recursive=True)


def _alive(processes: list[psutil.Process]) -> list[str]:
    left = []
    for one in processes:
        try:
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{one.pid} {' '.join(one.cmdline())[:80]}")
        except psutil.NoSuchProcess:
            continue
    return left


def gone(processes: list[psutil.Process]) -> float:
    """After how many seconds all of them are gone, which must be soon."""
    began = time.monotonic()
    while left := _alive(processes):
        assert time.monotonic() - began < CLEAN_S_MAX, left
        time.sleep(0.1)
    return time.monotonic() - began
