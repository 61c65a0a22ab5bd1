"""A system on three nodes of a Ray cluster (one machine, loopback) that loses nodes, and its head.

The system runs without any command of ours: `up` starts it and leaves. Every node has a raylet
of its own, which is killed by its pid; the head's tables are in a Redis. Blocks of one second.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from actors.build import ROOMS, ROOT
from chain.rpc import JsonRpc
from deploy.runfile import RunFile
from engine.settings import ChainSettings
from tests.chaos import truth as truths
from tests.chaos import world as worlds
from tests.chaos.pauses import Pauses
from tests.chaos.report import Row, say
from tests.chaos.shares import changed_hands, is_theirs
from tests.chaos.world import until
from tests.support import running
from tests.support.load import Load, percentiles
from tests.support.ray_nodes import RayNodes
from tests.support.servers import Anvil
from tests.support.watching import Watcher

KILLS_MIN = 5
NODES = 3
UP_S_MAX = 400.0
BACK_S_MAX = 240.0
"""Only what does not come back at all is broken by it: the figures have bounds of their own."""

LOOK_S = 2.0
TOPICS_S = 12.0
AWAY_S = 5.0


@dataclass(frozen=True)
class Size:
    """Of the system."""

    shards: int
    tokens: int
    failover_s_max: float = 12.0
    """Of a machine that does nothing else."""


WHOLE, SMALL = Size(shards=6, tokens=16), Size(shards=3, tokens=6, failover_s_max=40.0)


UNKNOWN: dict[str, Any] = {"ready": False, "instances": [], "nodes": []}


@dataclass(kw_only=True)
class Clustered:
    """The system, how it is asked, and the nodes that it is on."""

    nodes: RayNodes
    system: running.Running
    chain: ChainSettings
    anvil: Anvil
    size: Size
    load: Load
    straight: JsonRpc
    first: int
    status: dict[str, Any] = field(default_factory=lambda: UNKNOWN)

    async def look(self) -> dict[str, Any]:
        """`risecurve status`, also kept. Where the command fails nothing is known: not even what
        was so before.
        """
        self.status = UNKNOWN
        with contextlib.suppress(running.CommandFailed, subprocess.TimeoutExpired):
            code, found = await asyncio.to_thread(self.system.cli, "status", timeout_s=90)
            self.status = found if code == 0 else UNKNOWN
        return self.status

    async def ready(self) -> bool:
        """Whether it is complete, and as evenly spread as can be. Not asked too often: each
        command is a process.
        """
        await asyncio.sleep(LOOK_S)
        status = await self.look()
        counts = [len(self.on(node, "shard")) for node in self.nodes.nodes]
        return bool(status["ready"]) and max(counts) - min(counts) < 2

    def on(self, node: str, role: str) -> list[dict[str, Any]]:
        """The instances of a role there."""
        ones = self.status["instances"]
        return [one for one in ones if one["node"] == node and one["role"] == role]

    def doors(self) -> dict[str, str]:
        """Node to URL of its gateway."""
        ones = [one for one in self.status["instances"] if one["role"] == "gateway"]
        return {one["node"]: f"http://127.0.0.1:{one['port']}" for one in ones}

    async def owners(self) -> dict[int, tuple[str, int]]:
        """Bucket to owner and incarnation, as Postgres has them."""
        connection = await asyncpg.connect(self.system.run.database_url, timeout=10)
        try:
            rows = await connection.fetch("SELECT bucket, owner, incarnation FROM bucket_owner")
        finally:
            await connection.close()
        return {row["bucket"]: (row["owner"], row["incarnation"]) for row in rows}


async def run(
    anvil: Anvil, folder: Path, urls: dict[str, str], rng: random.Random, size: Size, *, kills: int
) -> list[Row]:
    """All rows."""
    async with _opened(anvil, folder, urls, size) as one:
        rows = [await _attach_again(one), await _same_topics(one)]
        rows.append(await _another_build(one, folder))
        rows.append(await _node_kills(one, rng, kills))
        rows.append(await _head_restarts(one))
        rows.append(await _taken_down(one))
        return rows


async def _node_kills(one: Clustered, rng: random.Random, count: int) -> Row:
    row = Row("node loss in a cluster", "nodes killed", trials_min=KILLS_MIN)
    silences: list[float] = []
    shares: list[float] = []
    for number in range(count):
        before = await one.owners()
        victim = rng.choice([node for node in one.nodes.nodes if node != one.nodes.head.node_id])
        names = {instance["name"] for instance in one.on(victim, "shard")}
        one.load.forget_silence()
        began = time.monotonic()
        one.nodes.kill(victim)
        await asyncio.sleep(1.0)
        await _back(one, since=began)
        silences += one.load.silence.values()
        worst = one.load.longest_silence_s()
        if worst > one.size.failover_s_max:
            row.fail(f"kill {number}: quotes silent for {worst:.1f} s")
        await until(one.ready, BACK_S_MAX, "the slots of a dead node are filled elsewhere")
        after = await one.owners()
        moved, share = changed_hands(before, after, names)
        shares.append(moved / share)
        row.trials += 1
        say(f"  node {number}: silent {worst:.1f} s, {moved} buckets moved, it had {share}")
        if not is_theirs(before, after, names):
            row.fail(f"kill {number}: {moved} buckets moved, the node had {share}")
        await asyncio.to_thread(one.nodes.add)
        await until(one.ready, BACK_S_MAX, "a new node has its share")
    all_moved = {bucket: (owner, incarnation + 1) for bucket, (owner, incarnation) in after.items()}
    row.plant("all buckets moved", caught=not is_theirs(before, all_moved, names))
    stay = before | {bucket: after[bucket] for bucket in sorted(after)[: len(after) // 8]}
    row.plant("some have no new owner", caught=not is_theirs(before, stay, names))
    row.figure |= {
        "failover_s": percentiles(silences),
        "moved_to_share": [round(share, 2) for share in shares],
        "shards": one.size.shards,
        "nodes": NODES,
    }
    await _agree(one, row)
    return row


async def _back(one: Clustered, *, since: float) -> None:
    async def answer() -> bool:
        return one.load.all_answer(since=since + 0.5)

    await until(answer, BACK_S_MAX, one.load.codes)


async def _head_restarts(one: Clustered) -> Row:
    row = Row("node loss in a cluster", "head killed and restarted, its tables in a Redis")
    head = str(one.nodes.head.node_id)
    doors = [url for node, url in one.doors().items() if node != head]
    stays = {instance["pid"] for instance in one.status["instances"] if instance["node"] != head}
    pauses = Pauses(doors, one.chain.chain_id, one.load.tokens)
    await pauses.start()
    one.nodes.kill_head()
    await asyncio.sleep(AWAY_S)
    meanwhile = pauses.answered, pauses.asked
    began = time.monotonic()
    await asyncio.to_thread(one.nodes.restart_head)
    head_s = time.monotonic() - began
    pauses.begin()

    async def answered() -> bool:
        return all(len(seen.at) > 1 for seen in pauses.seen.values())

    try:
        await until(answered, BACK_S_MAX, "quotes of every token after the head is back")
        row.figure["quotes_back_s"] = round(time.monotonic() - began - head_s, 2)
        await until(one.ready, BACK_S_MAX, "all roles after the head is back")
    except AssertionError as error:
        row.fail(str(error))
    row.figure["whole_again_s"] = round(time.monotonic() - began - head_s, 2)
    left = stays & {instance["pid"] for instance in one.status["instances"]}
    if not stays or len(left) < len(stays) / 2:
        row.fail(f"of {len(stays)} actors on other nodes {len(left)} are still there")
    row.figure |= {
        "head_start_s": round(head_s, 2),
        "answered_while_away": f"{meanwhile[0]} of {meanwhile[1]}",
        "actors_kept": f"{len(left)} of {len(stays)}",
    }
    await pauses.stop()
    await one.load.stop()
    row.trials += 1
    code, told = await asyncio.to_thread(one.system.cli, "scale", "--shards", "4", timeout_s=240)
    if code or told["shards"] != 4:
        row.fail(f"scale after the head was restarted: {told}")
    await _agree(one, row)
    return row


async def _same_topics(one: Clustered) -> Row:
    row = Row("gateways on several nodes see the same topics", "three gateways")
    doors = one.doors()
    if len(doors) != NODES:
        row.fail(f"expected a gateway on each of {NODES} nodes, was {doors}")
    watchers = [_Recording(url, one.load.tokens) for url in doors.values()]
    try:
        for watcher in watchers:
            await watcher.start()
        await asyncio.sleep(TOPICS_S)
    finally:
        for watcher in watchers:
            await watcher.stop()
    found = [watcher.trades for watcher in watchers]
    row.trials, differ = _compared(found)
    for line in differ:
        row.fail(line)
    if row.trials == 0:
        row.fail("nothing was told")
    spoilt = [dict(found[0]), *found[1:]]
    key = sorted(spoilt[0])[len(spoilt[0]) // 2]
    spoilt[0][key] = {**spoilt[0][key], "ethAmount": "0"}
    row.plant("a gateway that tells another amount", caught=bool(_compared(spoilt)[1]))
    row.figure = {"messages": [len(one) for one in found], "gateways": len(doors)}
    return row


Trades = dict[tuple[str, str, int], dict[str, Any]]


def _compared(found: list[Trades]) -> tuple[int, list[str]]:
    # In each topic, between where the last began to listen and where the first stopped.
    compared, differ = 0, []
    topics = {key[:2] for trades in found for key in trades}
    for topic in sorted(topics):
        seqs = [sorted(key[2] for key in trades if key[:2] == topic) for trades in found]
        if not all(seqs):
            continue
        first, last = max(one[0] for one in seqs), min(one[-1] for one in seqs)
        wanted = {seq for one in seqs for seq in one if first <= seq <= last}
        for seq in sorted(wanted):
            said = [trades.get((*topic, seq)) for trades in found]
            compared += 1
            if any(one != said[0] for one in said):
                differ.append(f"{topic} {seq}: {said}"[:300])
    return compared, differ


class _Recording(Watcher):
    def __init__(self, base_url: str, tokens: list[str]) -> None:
        super().__init__(base_url, tokens)
        self.trades: Trades = {}

    async def _transaction(self, message: dict[str, Any]) -> None:
        await super()._transaction(message)
        key = (message["topic"], message["generation"], int(message["seq"]))
        self.trades[key] = message["data"]


async def _attach_again(one: Clustered) -> Row:
    row = Row("a system outlives the command that started it", "up again, on a cluster", trials=1)
    before = {i["name"]: i["pid"] for i in (await one.look())["instances"]}
    began = time.monotonic()
    await asyncio.to_thread(_up_and_leave, one.system.environment, one.system.folder)
    after = {i["name"]: i["pid"] for i in (await one.look())["instances"]}
    if before != after or not after:
        row.fail(f"other actors after a second `up`: {before} {after}")
    row.figure = {"actors": len(after), "seconds": round(time.monotonic() - began, 1)}
    return row


async def _another_build(one: Clustered, folder: Path) -> Row:
    row = Row("all nodes run the same build", "a node with another one", trials=1)
    other = folder / "other"
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / room, other / room, ignore=ignored)
    with (other / "engine" / "limits.py").open("a") as file:
        file.write('\nANOTHER = 1\n"""One more."""\n')
    (folder / "site").mkdir()
    hook = _HOOK.format(other=str(other), rooms=ROOMS)
    (folder / "site" / "sitecustomize.py").write_text(hook)
    node = await asyncio.to_thread(one.nodes.add, PYTHONPATH=str(folder / "site"))

    async def refused() -> bool:
        await asyncio.sleep(LOOK_S)
        nodes = {found["id"]: found for found in (await one.look())["nodes"]}
        return "runs build" in nodes.get(node, {}).get("refused", "")

    try:
        await until(refused, BACK_S_MAX, "a node of another build is refused")
    except AssertionError as error:
        row.fail(f"{error}: {one.status['nodes']}")
    if one.status["nodes"] and any(i["node"] == node for i in one.status["instances"]):
        row.fail("a node of another build was given a role")
    said = [found["refused"] for found in one.status["nodes"] if found["id"] == node]
    row.figure = {"said": said}
    others = [found["refused"] for found in one.status["nodes"] if found["id"] != node]
    if any(others):
        row.fail(f"nodes of the same build are refused: {others}")
    one.nodes.kill(node)
    return row


_HOOK = """
import sys
from importlib.machinery import PathFinder


class Other:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{other!r}]) if name in {rooms!r} else None


sys.meta_path.insert(0, Other)
"""
# Ray puts the paths of whoever asks before a node's own: on another machine they lead to what
# is installed there, on this one to the same sources.


async def _taken_down(one: Clustered) -> Row:
    row = Row("a system outlives the command that started it", "down, on a cluster", trials=1)
    pids = [instance["pid"] for instance in (await one.look())["instances"]]
    code, told = await asyncio.to_thread(one.system.cli, "down", timeout_s=90)
    if code or told["ended"] != len(pids) + 1:  # and the supervisor
        row.fail(f"down: exit {code}, {told}, {len(pids)} roles")

    async def ended() -> bool:
        return not any(psutil.pid_exists(pid) for pid in pids)

    try:
        await until(ended, 15.0, "the processes of all roles have ended")
    except AssertionError as error:
        row.fail(str(error))
    row.figure = {"ended": told.get("ended")}
    return row


async def _agree(one: Clustered, row: Row) -> None:
    # History and memory against the chain.
    one.load.pause()
    await asyncio.sleep(3.0)
    head = int(await one.straight.call("eth_blockNumber", []), 16)
    connection = await asyncpg.connect(one.system.run.database_url, timeout=10)
    try:

        async def recorded() -> bool:
            query = "SELECT block_number FROM cursors WHERE name = 'recorder'"
            return bool((await connection.fetchval(query) or 0) >= head)

        await until(recorded, BACK_S_MAX, f"block {head} is recorded")
        truth = truths.Truth(one.straight, one.chain)
        await truth.refresh()
        found = await truths.postgres(truth, connection, first=one.first, last=head)
    finally:
        await connection.close()
    row.figure |= {"events": found.compared, "missed": found.missed, "doubled": found.false}
    for line in (*found.shown, *one.load.went_back):
        row.fail(line)
    one.load.went_back.clear()
    code, verdict = await asyncio.to_thread(one.system.cli, "verify", timeout_s=120)
    row.figure["verify_mismatches"] = verdict.get("mismatches")
    if code or verdict["mismatches"] or verdict["markets"] != len(one.load.tokens):
        row.fail(f"verify: {verdict}")
    one.load.go_on()


def _up_and_leave(environment: dict[str, str], folder: Path) -> None:
    # `up`, until it says that it is ready; then as by Ctrl-C. One that gave up waiting on a
    # busy machine left a supervisor, which the next one finds.
    log = folder / "up.log"
    deadline = time.monotonic() + UP_S_MAX
    while True:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [running.CLI, "up"], env=environment, stdout=output, stderr=output
            )
        while "ready:" not in (said := log.read_text()) and process.poll() is None:
            time.sleep(0.1)
        if process.poll() is None:
            break
        assert "Expected all roles" in said and time.monotonic() < deadline, said[-3000:]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0, log.read_text()[-3000:]


@asynccontextmanager
async def _opened(
    anvil: Anvil, folder: Path, urls: dict[str, str], size: Size
) -> AsyncIterator[Clustered]:
    file = await worlds.deployed(anvil, folder)
    nodes = await asyncio.to_thread(RayNodes, urls["redis"])
    try:
        for _ in range(NODES - 1):
            await asyncio.to_thread(nodes.add)
        say(f"  {NODES} nodes, head at {nodes.address}")
        environment = running.environment(
            folder,
            RAY_ADDRESS=nodes.address,
            DATABASE_URL=urls["postgres"],
            MONGODB_URL=urls["mongodb"],
            REDIS_URL=urls["redis"].removesuffix("/0") + "/1",
            RISE_CHAIN_RPC=anvil.rpc_url,
            RISE_CHAIN_WS=anvil.ws_url,
            DEPLOYMENTS_FILE=str(file),
            MAX_REORG_DEPTH="64",
            SHARDS=str(size.shards),
            GATEWAYS=str(NODES),
            LOG_DIR=str(folder / "logs"),
        )
        await asyncio.to_thread(_up_and_leave, environment, folder)
        loaded = _loaded(anvil, folder, nodes, environment=environment, file=file, size=size)
        async with loaded as one:
            yield one
    finally:
        await asyncio.to_thread(nodes.stop)


@asynccontextmanager
async def _loaded(
    anvil: Anvil,
    folder: Path,
    nodes: RayNodes,
    *,
    environment: dict[str, str],
    file: Path,
    size: Size,
) -> AsyncIterator[Clustered]:
    chain = worlds.settings_of(anvil, file, environment)
    run_file = RunFile(
        pid=os.getpid(),
        api_url="",
        ray_address=nodes.address,
        ray_folder="",
        rise_rpc=anvil.rpc_url,
        rise_ws=anvil.ws_url,
        sepolia_rpc="",
        sepolia_ws="",
        database_url=environment["DATABASE_URL"],
        mongodb_url=environment["MONGODB_URL"],
        redis_url=environment["REDIS_URL"],
    )
    # No process of ours: the system runs by itself.
    system = running.Running(None, folder, environment, run_file)  # type: ignore[arg-type]
    one = Clustered(
        nodes=nodes,
        system=system,
        chain=chain,
        anvil=anvil,
        size=size,
        load=None,  # type: ignore[arg-type]
        straight=JsonRpc(anvil.rpc_url, timeout_s=30.0),
        first=chain.first_block,
    )
    await until(one.ready, BACK_S_MAX, "all roles on all nodes")
    api = one.doors()[nodes.head.node_id]
    one.load = Load(
        api=api, chain=chain, anvil=anvil, send_url=anvil.rpc_url, seed=1, tokens=size.tokens
    )
    await one.load.start()
    say(f"  {size.tokens} tokens are traded, quotes by {api}")
    try:
        yield one
    finally:
        await one.load.stop()
        await one.straight.close()
