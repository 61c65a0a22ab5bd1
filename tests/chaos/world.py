"""One whole system behind a node that misbehaves: anvil ← proxy ← `risecurve up`, and its load.

The system follows the chain through the proxy, as it would follow RISE: shreds, null-hash
logs, seals. Truth is read from anvil, straight.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from chain.deployer import deploy
from chain.rpc import JsonRpc
from deploy import registry
from deploy.settings import chain_settings, load_settings
from engine.settings import ChainSettings
from tests.chaos import truth as truths
from tests.chaos.report import Row, say
from tests.support import running
from tests.support.load import Load
from tests.support.rpc_faults import Faults
from tests.support.rpc_proxy import RpcProxy
from tests.support.servers import RISE, Anvil
from tests.support.watching import Watcher

BLOCK_S = 0.25
RECOVERY_S_MAX = 6.0
SETTLE_S_MAX = 30.0
BACK_S_MAX = 40.0
COMPLAINTS = 24


@dataclass(kw_only=True)
class Running:
    """A system with its load, and how to hurt it."""

    anvil: Anvil
    system: running.Running
    chain: ChainSettings
    load: Load
    straight: JsonRpc
    rss: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)
    """(process, era) to (time, MB); an era ends where the load changes for good."""
    era: int = 0

    def log_lines(self, *events: str) -> list[dict[str, Any]]:
        file = self.system.folder / "logs" / "combined.log"
        lines = (json.loads(line) for line in file.read_text().splitlines())
        return [line for line in lines if line.get("event") in events]

    def complaints(self) -> list[str]:
        """Its last warnings and errors."""
        file = self.system.folder / "logs" / "combined.log"
        lines = (json.loads(line) for line in file.read_text().splitlines())
        bad = [line for line in lines if line.get("level") in ("warning", "error")]
        return [str(line)[:400] for line in bad[-COMPLAINTS:]]

    def show_complaints(self) -> None:
        """For whoever is to find out why something did not come."""
        print("  the system complains:", flush=True)
        for line in self.complaints():
            print(f"    {line}", flush=True)

    def pid_of(self, slot: str) -> int:
        """Of the newest process of this slot; the supervisor is the host that no slot names."""
        if slot == "supervisor":
            named = {line["pid"] for line in self.log_lines("role_started")}
            (found,) = [pid for pid in self.hosts() if pid not in named]
            return found
        lines = self.log_lines("role_started")
        return int([one["pid"] for one in lines if one["slot"] == slot][-1])

    def hosts(self) -> list[int]:
        """Processes that host a role."""
        found = []
        for one in psutil.Process(self.system.process.pid).children(recursive=True):
            try:
                if one.cmdline()[:1] and one.cmdline()[0].startswith("ray::Host"):
                    found.append(one.pid)
            except psutil.Error:
                continue
        return found

    async def sealed_number(self, token: str | None = None) -> int:
        """The newest sealed block that a quote names, -1 while there is none."""
        try:
            quote = await self.load.quote(token or self.load.tokens[0], finality="sealed")
        except Exception:
            return -1
        return int(quote["asOf"]["blockNumber"])

    async def verify(self, row: Row, *, markets: int | None = None) -> None:
        """`risecurve verify`; it must know `markets` of them, or those of the load."""
        code, verdict = await asyncio.to_thread(self.system.cli, "verify", timeout_s=90)
        row.figure["verify_mismatches"] = verdict.get("mismatches")
        wanted = len(self.load.tokens) if markets is None else markets
        if code or verdict.get("mismatches") or verdict["markets"] != wanted:
            row.fail(f"verify: {verdict}")

    async def pid(self, slot: str) -> int:
        """`pid_of`, once it can be told: a process that begins has not said yet what it is."""
        found: list[int] = []

        async def told() -> bool:
            try:
                found.append(self.pid_of(slot))
            except (ValueError, psutil.Error):
                return False
            return True

        await until(told, BACK_S_MAX, f"{slot} is a process")
        return found[0]

    async def kill(self, slot: str) -> None:
        """kill -9, and wait until somebody else fills its place."""
        pid = await self.pid(slot)
        os.kill(pid, signal.SIGKILL)
        await self.replaced(slot, pid)

    async def replaced(self, slot: str, pid: int) -> None:
        """Wait until this slot has a process other than `pid`."""

        async def there() -> bool:
            try:
                return self.pid_of(slot) != pid
            except (ValueError, psutil.Error):
                return False

        await until(there, BACK_S_MAX, f"{slot} came back")

    async def calm_again(self) -> None:
        """Quotes of every token answer once more."""
        since = time.monotonic()

        async def answer() -> bool:
            return self.load.all_answer(since=since)

        try:
            await until(answer, BACK_S_MAX, self.load.codes)
        except AssertionError:
            self.show_complaints()
            raise

    def sample_rss(self) -> None:
        """MB of each host, with the time; what it shares, Ray's object store for one, which has
        a bound, is not its own.
        """
        for pid in self.hosts():
            try:
                found = psutil.Process(pid).memory_info()
            except psutil.Error:
                continue
            size = (found.rss - found.shared) / 1e6
            self.rss.setdefault((pid, self.era), []).append((time.monotonic(), size))


@dataclass(kw_only=True)
class World(Running):
    """`begin` and `agree` frame a part: what happened between must be the chain's truth."""

    proxy: RpcProxy
    watcher: Watcher
    truth: truths.Truth
    first: int = 0

    async def begin(self) -> None:
        """Everything is settled; a part may begin."""
        self.proxy.faults.calm()
        await self.settle()
        self.watcher.begin()
        self.first = self.truth.tip + 1
        self.load.go_on()

    async def settle(self) -> None:
        """No trades, and the recorder and the quotes have reached the node's head."""
        self.load.pause()
        self.proxy.check()
        await asyncio.sleep(3 * BLOCK_S)
        wanted = int(await self.straight.call("eth_blockNumber", []), 16)
        try:
            await until(lambda: self._reached(wanted), SETTLE_S_MAX, f"block {wanted} everywhere")
        except AssertionError:
            said = f"the proxy is at {self.proxy.tip}, its last trouble {self.proxy.trouble}"
            print(f"  {said}; the system complains:", flush=True)
            for line in self.complaints():
                print(f"    {line}", flush=True)
            raise
        await asyncio.sleep(2 * BLOCK_S)
        await self.truth.refresh()
        self.load.check()
        self.proxy.check()

    async def _reached(self, wanted: int) -> bool:
        connection = await asyncpg.connect(self.system.run.database_url, timeout=10)
        try:
            cursor = await connection.fetchval(
                "SELECT block_number FROM cursors WHERE name = 'recorder'"
            )
        finally:
            await connection.close()
        return bool(cursor >= wanted and await self.sealed_number() >= wanted)

    async def agree(self, row: Row, *, folded: bool = True, memory: bool = True) -> None:
        """Postgres, the subscriber's fold and memory against the chain; failures go to `row`."""
        self.proxy.faults.calm()
        try:
            await self.settle()
        except AssertionError as error:
            row.fail(f"not settled: {error}")
        # Up to what Postgres may have recorded by now: the chain goes on.
        connection = await asyncpg.connect(self.system.run.database_url, timeout=10)
        try:
            found = await truths.postgres(self.truth, connection, first=self.first)
        finally:
            await connection.close()
        row.figure |= {"events": found.compared, "missed": found.missed, "doubled": found.false}
        row.figure["trades"] = self.truth.trades(self.first, self.truth.tip)
        for line in found.shown:
            row.fail(line)
        row.figure["subscriber"] = "not folded: a shard or socket died"
        if folded and self.watcher.breaks == 0:
            told = truths.subscriber(
                self.truth, self.watcher.standing, first=self.first, trail=self.watcher.trail
            )
            row.figure["subscriber"] = {"compared": told.compared, "differ": told.count}
            row.figure["seq_gaps"] = self.watcher.gaps
            for line in told.shown:
                row.fail(line)
        if self.watcher.gaps:
            row.fail(f"{self.watcher.gaps} gaps in seq")
        for line in (*self.load.went_back, *self.watcher.stale):
            row.fail(f"an older incarnation answered: {line}")
        self.load.went_back.clear()
        self.watcher.stale.clear()
        if memory:
            await self.verify(row)


async def until(condition: Callable[[], Any], seconds: float, what: Any) -> None:
    """Wait for an async condition. Raises AssertionError that says `what` did not come."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)


@contextmanager
def stopped(*pids: int) -> Any:
    """SIGSTOP, and SIGCONT whatever happens."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def up(folder: Path, **variables: str) -> AsyncIterator[running.Running]:
    """`running.up` from a loop that must go on meanwhile: the node is served by it."""
    manager = running.up(folder, **variables)
    system = await asyncio.to_thread(manager.__enter__)
    try:
        yield system
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def deployed(anvil: Anvil, folder: Path) -> Path:
    """Contracts on the chain; the deployments file."""
    rpc = JsonRpc(anvil.rpc_url, timeout_s=30.0)
    try:
        document = await deploy(rpc, chain_id=RISE, private_key=anvil.keys()[0])
    finally:
        await rpc.close()
    file = folder / "deployments.json"
    registry.write(file, document)
    return file


def settings_of(anvil: Anvil, file: Path, environment: dict[str, str]) -> ChainSettings:
    """Chain settings of the harness itself: straight to anvil."""
    entry = registry.read(file, chain_id=RISE)
    return chain_settings(
        load_settings(environment), entry, rpc_url=anvil.rpc_url, ws_url=anvil.ws_url, local=True
    )


@asynccontextmanager
async def opened(
    anvil: Anvil, folder: Path, *, seed: int, through: bool, **variables: str
) -> AsyncIterator[World]:
    """The world, trading. `through`: transactions are sent through the proxy as well. `variables`
    of the environment are added to the system's.
    """
    file = await deployed(anvil, folder)
    faults = Faults()
    faults.random.seed(seed)
    async with (
        RpcProxy(anvil.rpc_url, shred_s=0.1, faults=faults) as proxy,
        up(
            folder,
            RISE_CHAIN_RPC=proxy.rpc_url,
            RISE_CHAIN_WS=proxy.ws_url,
            DEPLOYMENTS_FILE=str(file),
            RISE_BLOCK_TIME_S=str(BLOCK_S),
            MAX_REORG_DEPTH="64",
            KILL_STOPPED="false",
            REQUESTS_IN_FLIGHT_MAX="200",
            **variables,
        ) as system,
    ):
        say(f"a system is up at {system.api}, its node is a proxy")
        chain = settings_of(anvil, file, system.environment)
        load = Load(
            api=system.api,
            chain=chain,
            anvil=anvil,
            send_url=proxy.rpc_url if through else anvil.rpc_url,
            seed=seed,
        )
        await load.start()
        watcher = Watcher(system.api, load.tokens)
        await watcher.start()
        straight = JsonRpc(anvil.rpc_url, timeout_s=30.0)
        say(f"{len(load.tokens)} tokens are traded")
        try:
            yield World(
                anvil=anvil,
                proxy=proxy,
                system=system,
                chain=chain,
                load=load,
                watcher=watcher,
                truth=truths.Truth(straight, chain),
                straight=straight,
            )
        finally:
            await watcher.stop()
            await load.stop()
            await straight.close()
