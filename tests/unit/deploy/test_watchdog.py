"""What a killed command leaves is ended; what the next one in the same folder begins is not."""

import os
import subprocess
import sys
import time
from pathlib import Path

from deploy import ray_environment, watchdog

SLEEP = "import sys, time; kept = open(sys.argv[1], 'w'); time.sleep(60)"
PARENT = """
import os, subprocess, sys
file, *words = sys.argv[1:]
command = [sys.executable, "-S", "-E", file, str(os.getpid()), *words]
subprocess.Popen(command, env={}, start_new_session=True)
sys.stdin.read()
"""
OURS, NEXT = "RISECURVE_RUN=7-a", "RISECURVE_RUN=8-b"


def begun(log: Path, *, mark: str = "") -> "subprocess.Popen[bytes]":
    log.parent.mkdir(exist_ok=True)
    environment = dict([mark.split("=")]) if mark else {}
    started = subprocess.Popen([sys.executable, "-S", "-c", SLEEP, str(log)], env=environment)
    while not log.exists():
        time.sleep(0.01)
    return started


def test_only_what_is_of_the_killed_run_is_ended(tmp_path: Path) -> None:
    ours = [
        begun(tmp_path / "elsewhere", mark=OURS),
        begun(tmp_path / "session_2026-01-02_03-04-05_6_7" / "log"),
    ]
    theirs = [
        begun(tmp_path / "elsewhere2", mark=NEXT),
        begun(tmp_path / "session_2026-01-02_03-04-05_6_77" / "log", mark=NEXT),
        begun(tmp_path / "session_2026-01-02_03-04-05_6_8" / "log"),
    ]
    arguments = [str(Path(watchdog.__file__)), OURS, f"{tmp_path}/session_[^/]*_7"]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdin=subprocess.PIPE)
    try:
        time.sleep(0.3)
        assert all(one.poll() is None for one in (*ours, *theirs))
        parent.kill()
        parent.communicate()
        for one in ours:
            assert one.wait(timeout=10) == -9
        time.sleep(2 * watchdog.POLL_S)
        assert all(one.poll() is None for one in theirs)
    finally:
        for one in (parent, *ours, *theirs):
            one.kill()
            one.communicate()


def test_watchdog_of_a_parent_that_died_before_it_began_acts_and_ends(tmp_path: Path) -> None:
    ours = begun(tmp_path / "elsewhere", mark=OURS)
    command = [sys.executable, "-S", "-E", watchdog.__file__, "99999999", OURS, "/nowhere/x"]
    guard = subprocess.Popen(command)
    try:
        assert ours.wait(timeout=10) == -9
        assert guard.wait(timeout=2 * watchdog.ROUNDS * watchdog.POLL_S + 5) == 0
    finally:
        for one in (guard, ours):
            one.kill()
            one.communicate()


def test_each_run_has_a_mark_of_its_own() -> None:
    environ: dict[str, str] = {}
    first = ray_environment.marked(environ)
    name, value = first.split("=")
    assert environ == {name: value} and str(os.getpid()) in value
    assert ray_environment.marked(environ) != first
