"""A command ends when what it stands on has ended."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy import identity, vital
from deploy.process import Server, StartError


def server(folder: Path, *, lives_s: float) -> Server:
    process = subprocess.Popen(["sleep", str(lives_s)])
    return Server("Postgres", process, folder / "postgres.log", port=0)


async def test_watch_server_that_ends_is_named_with_its_log(tmp_path: Path) -> None:
    one = server(tmp_path, lives_s=0.1)
    with pytest.raises(
        StartError, match=r"Expected Postgres to run, it has ended; see .*postgres\.log"
    ):
        await vital.Vital({"postgres": one}).watch()


def test_check_process_of_ray_that_is_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["sleep", "60"])
    watched = vital.Vital({}, {"raylet": identity.of(child.pid)})
    watched.check()
    child.kill()
    while identity.of(child.pid).began != identity.ENDED:
        time.sleep(0.01)
    with pytest.raises(StartError, match=rf"Expected raylet \(process {child.pid}\) to run"):
        watched.check()
    child.wait()


def test_children_are_ours_by_name() -> None:
    code = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'raylet', 0, 0, 0); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-S", "-c", code])
    try:
        deadline = time.monotonic() + 10
        while not (found := identity.children("raylet", "gcs_server")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found == {"raylet": identity.of(child.pid)}
    finally:
        child.kill()
        child.wait()
    assert not identity.children("raylet")


async def test_beside_work_that_ends_first_gives_its_result_and_ends_the_guards() -> None:
    ended = asyncio.Event()

    async def guard() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    assert await vital.beside(asyncio.sleep(0.01, "done"), guard()) == "done"
    assert ended.is_set()


async def test_beside_guard_that_ends_first_ends_the_work() -> None:
    async def raises() -> None:
        raise StartError("Expected anvil to run, it has ended.")

    async def returns() -> None:
        await asyncio.sleep(0)

    for guard, said in ((raises, "Expected anvil"), (returns, "Expected the system to stay")):
        cleaned = asyncio.Event()

        async def work(cleaned: asyncio.Event = cleaned) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                cleaned.set()

        with pytest.raises(StartError, match=said):
            await vital.beside(work(), guard())
        assert cleaned.is_set()
