"""What an earlier owner's server left in a file is waited for, and nobody else is ended."""

import os
import subprocess
import threading
import time
from pathlib import Path
from unittest import mock

import pytest

from deploy import identity, process
from deploy.files import write_atomic


def orphan() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"], start_new_session=True)


def ended(one: "subprocess.Popen[bytes]") -> int:
    one.kill()
    return one.wait()


def test_spawn_leaves_who_it_is_at_once_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    words = ["sleep", "60"]
    server = process.spawn("it", words, cwd=tmp_path, log=tmp_path / "log", pid_file=file)
    try:
        assert file.read_text() == str(identity.of(server.pid))
    finally:
        ended(server.process)


def test_write_atomic_that_is_cut_off_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "postgres"
    write_atomic(file, b"1")
    with mock.patch.object(os, "fsync", side_effect=OSError), pytest.raises(OSError):
        write_atomic(file, b"2")
    assert file.read_bytes() == b"1" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("left", ["", "17", f"{os.getppid()} ended", "\0\0\0\0", "x y"])
def test_await_orphan_what_names_nobody_is_gone_at_once(tmp_path: Path, left: str) -> None:
    file = tmp_path / "postgres"
    file.write_text(left)
    process.await_orphan(file, timeout_s=0.1)
    assert not file.exists()


def test_await_orphan_spares_a_later_process_of_its_number(tmp_path: Path) -> None:
    file, stranger = tmp_path / "postgres", orphan()
    try:
        file.write_text(f"{stranger.pid} 1")
        process.await_orphan(file, timeout_s=0.1)
        assert stranger.poll() is None
    finally:
        ended(stranger)


def test_await_orphan_that_does_not_end_is_killed(tmp_path: Path) -> None:
    file, left = tmp_path / "postgres", orphan()
    file.write_text(str(identity.of(left.pid)))
    reaper = threading.Thread(target=left.wait)
    reaper.start()
    began = time.monotonic()
    process.await_orphan(file, timeout_s=0.3)
    reaper.join()
    assert left.returncode == -9 and 0.3 <= time.monotonic() - began < 3


def test_await_orphan_that_ends_before_it_is_killed_is_no_error(tmp_path: Path) -> None:
    file, left = tmp_path / "postgres", orphan()
    file.write_text(str(identity.of(left.pid)))

    def too_late(pid: int, number: int) -> None:
        ended(left)
        raise ProcessLookupError

    with mock.patch.object(os, "killpg", too_late):
        process.await_orphan(file, timeout_s=0.05)
    assert not file.exists()
