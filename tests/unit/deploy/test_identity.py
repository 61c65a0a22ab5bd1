"""A process is told from a later one of its number."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from deploy import identity
from deploy.identity import Identity


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    one = subprocess.Popen(["sleep", "60"])
    yield one
    one.kill()
    one.wait()


def test_parsed_is_what_was_written() -> None:
    ours = identity.of(os.getpid())
    assert ours.alive and identity.parsed(str(ours)) == ours


@pytest.mark.parametrize("text", ["", "7", "7 ended", "x 5", "7 5 6", "\0\0"])
def test_parsed_what_a_crash_left_is_nobody(text: str) -> None:
    assert identity.parsed(text) is None


def test_of_nobody_is_not_alive() -> None:
    nobody = identity.of(2**22 + 1)
    assert not nobody.alive
    nobody.send(signal.SIGKILL)


def test_send_reaches_no_later_process_of_that_number(child: "subprocess.Popen[bytes]") -> None:
    Identity(child.pid, "1").send(signal.SIGKILL)
    time.sleep(0.1)
    assert child.poll() is None
    identity.of(child.pid).send(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_zombie_has_ended(child: "subprocess.Popen[bytes]") -> None:
    one = identity.of(child.pid)
    child.kill()
    deadline = time.monotonic() + 5
    while one.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)
