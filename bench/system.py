"""Our own system for a bench: `risecurve up` in a process of its own, with markets in use."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.processes import ROOT, BenchError, Peer
from chain.rpc import JsonRpc
from deploy import runfile
from deploy.demo import funding
from deploy.demo.client import ApiError, Client, new_account
from deploy.process import StartError, free_port
from engine import text

START_TIMEOUT_S = 300.0
RECORDED_S_MAX = 30.0
ETH = 10**18
WALLETS = 8
FIRST_BUY_ETH = "0.05"
# The devnet's constant product.
VIRTUAL_ETH = 15 * ETH // 10
VIRTUAL_TOKENS = 1_073_000_000 * ETH
NO_LIMIT = "1000000000"


@dataclass(frozen=True, slots=True)
class Ours:
    """A system that runs. `tokens` are on the constant-product curve, each with a first buy."""

    run: runfile.RunFile
    pid: int
    tokens: tuple[str, ...]
    markets: tuple[dict[str, Any], ...]
    launchpad: str
    environment: Mapping[str, str] = field(repr=False)
    """Of commands on this system."""

    @property
    def api(self) -> Peer:
        """REST and Socket.IO."""
        return Peer("ours", urlsplit(self.run.api_url).port or 0, self._pids())

    @property
    def stream(self) -> Peer:
        """The stream door."""
        return Peer("ours", urlsplit(self.run.stream_url).port or 0, self._pids())

    @property
    def node_port(self) -> int:
        """JSON-RPC of the local chain."""
        return urlsplit(self.run.rise_rpc).port or 0

    def _pids(self) -> tuple[int, ...]:
        return (self.pid, *(one.pid for one in psutil.Process(self.pid).children(recursive=True)))


@contextmanager
def running(*, tokens: int, **variables: str) -> Iterator[Ours]:
    """Bring one up in a folder that goes, launch tokens, end it. `variables` are settings."""
    with tempfile.TemporaryDirectory(prefix="risecurve-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as somebody else
        environment = _environment(folder, variables)
        with _up(folder, environment) as (pid, run):
            yield asyncio.run(with_markets(run, pid, tokens=tokens, environment=environment))


@contextmanager
def following(*, tokens: Sequence[str], **variables: str) -> Iterator[Ours]:
    """Like `running`, on a chain that has these tokens already; no market is looked at."""
    with tempfile.TemporaryDirectory(prefix="risecurve-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        environment = _environment(folder, variables)
        with _up(folder, environment) as (pid, run):
            yield Ours(run, pid, tuple(tokens), (), "", environment)


def _environment(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    limits = (
        *("READS_PER_MINUTE", "WRITES_PER_WINDOW", "STREAM_OPS_PER_S", "STREAM_BYTES_PER_S"),
        *("SOCKET_QUOTES_PER_MINUTE", "SOCKET_MESSAGES_PER_S", "SOCKET_BYTES_PER_S"),
        *("CONNECTS_PER_S", "CONNECTS_PER_S_ALL"),
    )
    return os.environ | {
        "APP_ENV": "test",
        "DATA_DIR": str(folder),
        "API_PORT": str(free_port()),
        "STREAM_PORT": str(free_port()),
        "STREAM_CONNECTIONS_PER_ADDRESS": "100000",
        **dict.fromkeys(limits, NO_LIMIT),
        **variables,
    }


@contextmanager
def _up(folder: Path, environment: dict[str, str]) -> Iterator[tuple[int, runfile.RunFile]]:
    command = [str(Path(sys.executable).with_name("risecurve")), "up"]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process.pid, _wait(process, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
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
    said = (folder / "up.log").read_text()[-2_000:]
    raise BenchError(f"Expected the system to come up, it did not:\n{said}")


async def with_markets(
    run: runfile.RunFile, pid: int, *, tokens: int, environment: Mapping[str, str]
) -> Ours:
    """`tokens` more on a system that runs as `run` says."""
    rpc = JsonRpc(run.rise_rpc, timeout_s=10.0)
    chain_id = int(await rpc.call("eth_chainId", []), 16)
    clients = [Client(run.api_url, new_account(), chain_id) for _ in range(WALLETS)]
    try:
        addresses = [client.address for client in clients]
        await funding.fund(rpc, chain_id, addresses=addresses, amount_wei=10 * ETH)
        shares = [range(tokens)[at::WALLETS] for at in range(WALLETS)]
        made = await asyncio.gather(
            *(_launch(client, share) for client, share in zip(clients, shares, strict=True))
        )
        found = [token for part in made for token in part]
        markets = [await _market(clients[0], token) for token in found]
        config = await clients[0].get("/api/config")
    finally:
        await asyncio.gather(*(client.close() for client in clients))
        await rpc.close()
    launchpad = config["rise"]["launchpads"][-1]["address"]
    return Ours(run, pid, tuple(found), tuple(markets), launchpad, environment)


async def _launch(client: Client, share: range) -> list[str]:
    await client.login()
    made = []
    for number in share:
        body = {"name": f"Bench {number}", "symbol": f"B{number}", "curve": "constant_product"}
        created = await client.post("/api/tokens/create", initialBuyEth=FIRST_BUY_ETH, **body)
        state = await client.send(created["transaction"])
        if state["status"] != "CONFIRMED":
            raise BenchError(f"Expected a launch, was {json.dumps(state)}")
        made.append(str(created["tokenAddress"]))
    return made


async def _market(client: Client, token: str) -> dict[str, Any]:
    # As the peers read it. History may be a moment behind the receipt of the launch.
    deadline = time.monotonic() + RECORDED_S_MAX
    while True:
        try:
            found = await client.get(f"/api/tokens/{token}")
            break
        except ApiError as error:
            if error.code != "token_not_found" or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
    fees = found["fees"]
    return {
        "token": token,
        "virtualEth": str(VIRTUAL_ETH),
        "virtualTokens": str(VIRTUAL_TOKENS),
        "curveSupply": str(text.base_units(found["curveSupply"])),
        "poolSupply": str(text.base_units(found["poolSupply"])),
        "sold": str(text.base_units(found["sold"])),
        "raised": str(text.base_units(found["raised"])),
        "protocolBps": fees["protocolBps"],
        "creatorBps": fees["creatorBps"],
        "launchBps": fees["launchBps"],
        "launchBlocks": fees["launchBlocks"],
        "launchBlock": found["createdBlock"],
        "phase": found["phase"],
        "asOf": found["asOf"],
    }
