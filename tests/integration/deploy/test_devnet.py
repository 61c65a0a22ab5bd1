"""`risecurve devnet` ends when it is told to, also early, and when a chain of it has died."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import datadir
from tests.support import running

SEPOLIA = 11155111


@pytest.fixture
def folder() -> Iterator[Path]:
    with datadir.temporary() as made:
        yield made


@contextlib.contextmanager
def devnet(folder: Path, *, until: str) -> Iterator["subprocess.Popen[bytes]"]:
    log = folder / "devnet.log"
    with log.open("wb") as output:
        command = subprocess.Popen(
            [running.CLI, "devnet"],
            env=running.environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while until not in log.read_text():
            assert command.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield command
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        command.kill()
        command.wait()


def test_devnet_whose_chain_is_killed_ends_with_one_sentence(folder: Path) -> None:
    with devnet(folder, until=f"chain {SEPOLIA}: ") as command:
        family = running.descendants(command.pid)
        chain = next(one for one in family if one.name() == "anvil")
        chain.kill()
        assert command.wait(timeout=20) == 1
        running.gone(family)
        assert "Expected anvil" in (folder / "devnet.log").read_text()


def test_down_ends_who_is_only_starting_and_then_says_that_nothing_runs(folder: Path) -> None:
    with devnet(folder, until="contracts are deployed") as command:
        family = running.descendants(command.pid)
        for code, said in ((0, f"Process {command.pid} has ended"), (1, "Nothing runs in")):
            done = subprocess.run(
                [running.CLI, "down"],
                env=running.environment(folder),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code and said in done.stdout + done.stderr, done
        assert command.wait(timeout=5) == 130
        running.gone(family)
