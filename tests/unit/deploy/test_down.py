"""`down` ends who holds the data folder, and nobody else."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import commands, datadir, runfile
from deploy.process import StartError
from tests.support.run_files import run_of

HOLDER = """
import sys, time
from pathlib import Path
from deploy import datadir
with datadir.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

ENDING = """
import time
from deploy import signals
with signals.interruptible(print):
    try:
        print("runs", flush=True)
        time.sleep(60)
    finally:
        print("ends", flush=True)
        time.sleep(0.5)
        print("ended", flush=True)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"DATA_DIR": str(tmp_path), "APP_ENV": "test", "RAY_ADDRESS": ""}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@contextlib.contextmanager
def holding(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    one = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=datadir.clone_root())
    assert one.stdout is not None and one.stdout.readline() == b"held\n"
    try:
        yield one
    finally:
        one.kill()
        one.communicate()


def test_down_beside_a_run_file_of_a_killed_one_spares_who_has_its_number(folder: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    runfile.write(folder, run_of(stranger.pid))
    try:
        with holding(folder) as holder:
            assert not (folder / datadir.RUN_FILE).exists()
            runfile.write(folder, run_of(stranger.pid))
            # A zombie until it is reaped, which nobody does meanwhile.
            assert commands.down().data == {"ended": holder.pid}
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_down_waits_for_who_is_ending_without_a_signal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAIN_TIMEOUT_S", "1")
    monkeypatch.setattr("deploy.commands.END_MARGIN_S", 0.0)
    with holding(folder) as holder:
        datadir.ends(folder)
        with pytest.raises(StartError, match=f"Process {holder.pid} did not end"):
            commands.down()
        assert holder.poll() is None


def test_down_where_nothing_runs_says_so(folder: Path) -> None:
    runfile.write(folder, run_of(os.getpid()))
    (folder / "lock").write_text(f"{os.getpid()} 1")
    with pytest.raises(StartError, match="Nothing runs in"):
        commands.down()


def test_down_while_the_folder_is_emptied_ends_nobody(folder: Path) -> None:
    began = time.monotonic()
    with datadir._locked(folder), pytest.raises(StartError, match="is being reset; try again"):
        commands.down()
    assert time.monotonic() - began < 2 * datadir.HOLDER_TIMEOUT_S


def test_second_sigterm_does_not_disturb_who_is_ending() -> None:
    command = [sys.executable, "-c", ENDING]
    one = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=datadir.clone_root())
    assert one.stdout is not None
    try:
        for line in (b"runs\n", b"ends\n"):
            assert one.stdout.readline() == line
            one.terminate()
        assert one.stdout.read() == b"ended\ninterrupted\n" and one.wait() == 130
    finally:
        one.kill()
        one.communicate()
