"""The data folder: one a clone, held by one, bound to one chain, nothing stale left."""

import fcntl
import os
import signal
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import datadir, identity
from deploy.process import StartError

GENESIS = b"\x11" * 32


def test_default_data_dir_differs_by_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    first, second = (datadir.default_data_dir(tmp_path / name) for name in "ab")
    assert first != second
    assert first.parent == second.parent == tmp_path / "risecurve"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert datadir.default_data_dir(tmp_path / "a").parent == Path("/var/lib/risecurve")


def test_held_twice_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with (
        datadir.held(tmp_path),
        pytest.raises(StartError, match="in use by another"),
        datadir.held(tmp_path),
    ):
        pass
    with datadir.held(tmp_path):
        pass


def test_held_beside_one_that_looks_is_not_refused(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert not datadir.is_held(tmp_path)
        pool.submit(lambda: (time.sleep(0.2), fcntl.flock(file, fcntl.LOCK_UN)))
        with datadir.held(tmp_path):
            assert datadir.is_held(tmp_path)


def test_bind_chain_other_genesis_names_the_way_out(tmp_path: Path) -> None:
    datadir.bind_chain(tmp_path, chain_id=1, genesis_hash=GENESIS)
    datadir.bind_chain(tmp_path, chain_id=1, genesis_hash=GENESIS)
    datadir.bind_chain(tmp_path, chain_id=2, genesis_hash=bytes(32))
    with pytest.raises(StartError, match="risecurve devnet --reset"):
        datadir.bind_chain(tmp_path, chain_id=1, genesis_hash=bytes(32))
    datadir.reset(tmp_path)
    datadir.bind_chain(tmp_path, chain_id=1, genesis_hash=bytes(32))


def test_reset_while_held_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with datadir.held(tmp_path), pytest.raises(StartError, match="in use"):
        datadir.reset(tmp_path)
    assert (tmp_path / "kept").exists()


def test_reset_waits_for_what_a_killed_owner_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datadir, "ORPHAN_TIMEOUT_S", 0.2)
    (tmp_path / "pids").mkdir()
    left = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        (tmp_path / "pids" / "postgres").write_text(str(identity.of(left.pid)))
        datadir.reset(tmp_path)
        assert left.wait(timeout=1) == -signal.SIGKILL
        assert [one.name for one in tmp_path.iterdir()] == ["lock"]
    finally:
        left.kill()
        left.wait()


def test_temporary_goes_and_sweeps_those_of_dead_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = tmp_path / "risecurve-99999999-x"
    living = tmp_path / f"risecurve-{os.getppid()}-x"
    other = tmp_path / "risecurve-notes"
    for one in (dead, living, other):
        one.mkdir()
    with datadir.temporary() as folder:
        assert folder.is_dir()
        assert not dead.exists()
        assert living.exists()
        assert other.exists()
    assert not folder.exists()


def test_secret_is_kept_and_private(tmp_path: Path) -> None:
    first = datadir.secret(tmp_path, "jwt.secret")
    assert first == datadir.secret(tmp_path, "jwt.secret")
    assert len(first) == 64
    assert stat.S_IMODE((tmp_path / "jwt.secret").stat().st_mode) == 0o600


def test_ray_folder_long_data_folder_is_short_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long = tmp_path / ("x" * 80)
    long.mkdir()
    assert datadir.ray_folder(long).parents[1] == tmp_path
    assert datadir.ray_folder(long) == datadir.ray_folder(long)


def test_ray_folder_is_in_one_that_others_cannot_pass(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray").chmod(0o777)  # as an earlier Ray left it
    found = datadir.ray_folder(tmp_path)
    found.chmod(0o777)
    assert found.is_dir() and stat.S_IMODE(found.parent.stat().st_mode) == 0o700


def test_ray_folder_of_the_default_data_folder_is_inside_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    longest = datadir.default_data_dir(tmp_path) / "ray" / datadir.RAY_FOLDER
    assert len(str(longest)) <= datadir.RAY_FOLDER_LENGTH_MAX


def test_forget_sessions_leaves_the_last(tmp_path: Path) -> None:
    for second, name in enumerate(("session_b", "session_c", "session_a", "other")):
        (tmp_path / name / "logs").mkdir(parents=True)
        os.utime(tmp_path / name, (second, second))
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_a")
    datadir.forget_sessions(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {"session_a", "session_latest", "other"}
