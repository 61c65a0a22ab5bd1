"""Part "latency": from the frame at the listener's socket to a subscriber of each door.

What is measured is our way, so the chain is a past one: a node of ours (`bench.peers.past_node`)
has read an anvil's blocks beforehand and lives them again from memory, at next to no cost; an
anvil that executes every trade takes a great part of two cores. Three loads:
  1. `spread`: trades spread evenly over the seconds, at 50 and at 500 a second, as shreds before
     each block's seal, as RISE sends them; the delay of each preconfirmed price, and how many
     trades came by the seal only, which have none (`unheard`);
  2. `burst`: 500 trades in one block whose shreds come all at once, a second before its seal; the
     time of the last trade, from the block's first frame;
  3. `block`: 500 trades in one block that is told of only when it is sealed, so that none of them
     goes out before the block's receipts are proven; the same time.
`latency_spread_*_cpu_*` are percents of one core, from the first shred until the last message was
there, or `QUIET_S` after it; `strangers` is what was not of the bench.
`submit_to_fill` is from the call of `/api/trading/submit` to the trade on its token's topic, and so
on an anvil that lives.
"""

import asyncio
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import uvloop

from bench import arrivals, past, shares, system
from bench.arrays import summed
from bench.arrivals import Arrivals
from bench.past import Act, Past
from bench.processes import BenchError, Peer, python, started
from bench.quotes import Effort, Tell
from bench.results import Results
from chain.deployer import deploy
from chain.rpc import JsonRpc
from deploy import registry
from deploy.demo import funding
from deploy.demo.client import Client, new_account
from deploy.devnet import DEVNET_KEY
from deploy.embedded import Embedded
from engine.messages import PRECONFIRMED, SEALED

TOKENS = 16
TRADES = 500
RATES = (50, 500)
"""Trades a second; the lower one says what the way itself takes."""

SPREAD_S = 1.0
WHOLE = {"burst": (PRECONFIRMED, 1e-6), "block": (SEALED, 0.0)}
"""Loads of one block: the status of the prices that count, seconds its shreds are spread over."""

SPREAD_LASTS_S = 10.0
SETTLE_S = 3.0
BEFORE_S = 1.0
PATIENCE_S = 30.0
QUIET_S = 0.25
"""Without a message: what was to come has come."""

FILLS_MAX = 12
CHAIN_ID = 11155931

T = TypeVar("T")


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    turns = max(effort.alternations // 2, 1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="risecurve-bench-")))
        embedded = stack.enter_context(Embedded(folder))
        tell("a chain's past is made")
        anvil_url, _ = embedded.start_anvil(CHAIN_ID, keep_state=False)
        seconds = max(int(min(SPREAD_LASTS_S, effort.seconds * turns)), 1)
        acts = [*((seconds, rate) for rate in RATES), *([(1, TRADES)] * len(WHOLE) * turns)]
        file, made = asyncio.run(_past(anvil_url, folder, acts))
        command = (*python("bench.peers.past_node"), anvil_url, str(made.launched))
        node = stack.enter_context(started("a node of the past", *command))
        variables = {
            "RISE_CHAIN_RPC": f"http://127.0.0.1:{node.port}",
            "RISE_CHAIN_WS": f"ws://127.0.0.1:{node.port}",
            "DEPLOYMENTS_FILE": str(file),
        }
        tell("our system comes up on it")
        following = system.following(tokens=made.tokens, BRIDGE="false", **variables)
        ours = stack.enter_context(following)
        uvloop.run(_on_the_past(ours, node, made, results=results, tell=tell))
    tell("our system comes up on anvil")
    with system.running(tokens=TOKENS, BRIDGE="false") as ours:
        uvloop.run(_on_anvil(ours, results, count=min(2 * turns, FILLS_MAX), tell=tell))
    results.notes.append(
        "latency, spread and block: an anvil's blocks, lived again from memory by a node of ours;"
        " submit_to_fill: an anvil that executes meanwhile"
    )
    results.notes.append(
        "latency_spread_*_unheard: trades of which the seal was the first word, so that their delay"
        " is not in the percentiles"
    )
    results.parts.append("latency")


async def deployed(anvil_url: str, folder: Path) -> Path:
    """Contracts on the chain; the deployments file."""
    rpc = JsonRpc(anvil_url, timeout_s=30.0)
    try:
        document = await deploy(rpc, chain_id=CHAIN_ID, private_key=DEVNET_KEY)
    finally:
        await rpc.close()
    file = folder / "deployments.json"
    registry.write(file, document)
    return file


async def _past(anvil_url: str, folder: Path, acts: list[tuple[int, int]]) -> tuple[Path, Past]:
    file = await deployed(anvil_url, folder)
    entry = registry.read(file, chain_id=CHAIN_ID)
    launchpad = "0x" + entry.launchpads[-1].address.hex()
    rpc = JsonRpc(anvil_url, timeout_s=30.0)
    try:
        return file, await past.made(rpc, launchpad=launchpad, tokens=TOKENS, acts=acts)
    finally:
        await rpc.close()


async def _on_the_past(
    ours: system.Ours, node: Peer, made: Past, *, results: Results, tell: Tell
) -> None:
    roles = await asyncio.to_thread(shares.roles_of, ours.environment)
    acts = dict(zip(RATES, made.acts, strict=False))
    for rate, act in acts.items():
        tell(f"{rate} trades a second, spread")
        await _spread(ours, node, act, roles=roles, results=results)
    lasts: dict[str, list[float]] = {}
    for act, load in zip(made.acts[len(RATES) :], itertools.cycle(WHOLE), strict=False):
        tell(f"{TRADES} trades in one block, {load}")
        for door, last_ms in (await _whole(ours, node, act, load=load)).items():
            lasts.setdefault(f"{load}_{TRADES}_{door}", []).append(last_ms)
    for name, found in lasts.items():
        results.figures[f"latency_{name}_last_ms"] = median(found)
    results.runs.append({"part": "latency", "load": "whole blocks", "last_ms": lasts})


async def _spread(
    ours: system.Ours, node: Peer, act: Act, *, roles: Mapping[int, str], results: Results
) -> None:
    named = {os.getpid(): "readers", node.pids[0]: "node"}
    async with _subscribed(ours, PRECONFIRMED) as doors:
        await _settled(doors.values())
        # What is before the act, and no longer than a block: else the node seems to be silent.
        await _play(node, replace(act, last=act.first - 1), SPREAD_S)
        await asyncio.sleep(BEFORE_S)
        before = shares.moment((ours.pid, *named))
        await _play(node, act, SPREAD_S)
        after = await _quiet(doors.values(), lambda: shares.moment((ours.pid, *named)))
        await _all_there(doors.values(), act.blocks * act.trades)
    found = shares.shares(before, after, roles, named=named)
    for name, percent in found.items():
        results.figures[f"latency_spread_{act.trades}_cpu_{name}_percent"] = percent
    for name, door in doors.items():
        _keep(results, door, rate=act.trades, name=name)


async def _whole(ours: system.Ours, node: Peer, act: Act, *, load: str) -> dict[str, float]:
    status, spread_s = WHOLE[load]
    async with _subscribed(ours, status) as doors:
        await _settled(doors.values())
        await _play(node, act, spread_s)
        await _all_there(doors.values(), act.trades)
        if not all(door.early_ns for door in doors.values()):
            raise BenchError(f"Expected prices that are {status}, was none")
        return {name: door.last_ms() for name, door in doors.items()}


async def _settled(doors: Collection[Arrivals]) -> None:
    # What is still on its way of an act before is not of this one.
    await asyncio.sleep(SETTLE_S)
    for door in doors:
        door.begin()


async def _play(node: Peer, act: Act, spread_s: float) -> None:
    rpc = JsonRpc(f"http://127.0.0.1:{node.port}", timeout_s=act.blocks + PATIENCE_S)
    try:
        await rpc.call("past_play", [act.first, act.last, spread_s])
    finally:
        await rpc.close()


def _subscribed(ours: system.Ours, status: str) -> AbstractAsyncContextManager[dict[str, Arrivals]]:
    return arrivals.subscribed(
        api_port=ours.api.port, stream_url=ours.run.stream_url, tokens=ours.tokens, status=status
    )


async def _all_there(doors: Collection[Arrivals], trades: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while any(len(door.trades) < trades for door in doors):
        if time.monotonic() > until:
            counts = [len(door.trades) for door in doors]
            raise BenchError(f"Expected {trades} trades at each door, was {counts}")
        await _quiet(doors, lambda: None)
        for door in doors:
            door.settle()


async def _quiet(doors: Collection[Arrivals], look: Callable[[], T]) -> T:
    """What `look` gave when the last message had just come: nothing comes any more."""
    # What has come is read when nothing comes, see `bench.arrivals`.
    until, before, found = time.monotonic() + PATIENCE_S, -1, look()
    while (stamped := sum(door.stamped for door in doors)) != before and time.monotonic() < until:
        before, found = stamped, look()
        await asyncio.sleep(QUIET_S)
    return found


async def _on_anvil(ours: system.Ours, results: Results, *, count: int, tell: Tell) -> None:
    rpc = JsonRpc(ours.run.rise_rpc, timeout_s=10.0)
    try:
        async with _subscribed(ours, SEALED) as doors:
            fills = await _fills(ours, rpc, doors["stream"], count=count, tell=tell)
    finally:
        await rpc.close()
    results.figures["submit_to_fill_p50_ms"] = median(fills)
    results.runs.append({"part": "latency", "load": "fills", "fills_ms": fills})


async def _fills(
    ours: system.Ours, rpc: JsonRpc, door: Arrivals, *, count: int, tell: Tell
) -> list[float]:
    """Milliseconds from the submission to the trade on its topic, at times all over a block."""
    chain_id = int(await rpc.call("eth_chainId", []), 16)
    client = Client(ours.run.api_url, new_account(), chain_id)
    dice = random.Random(1)
    found = []
    try:
        await funding.fund(rpc, chain_id, addresses=[client.address], amount_wei=system.ETH)
        await client.login()
        for number in range(count):
            tell(f"a trade from its submission to its tick, {number + 1} of {count}")
            await asyncio.sleep(dice.uniform(0.0, 1.0))
            found.append(await _fill_ms(client, ours.tokens[number % len(ours.tokens)], door))
    finally:
        await client.close()
    return found


async def _fill_ms(client: Client, token: str, door: Arrivals) -> float:
    body = {"tokenAddress": token, "ethAmount": "0.0001", "slippage": "50"}
    answer = await client.post("/api/trading/buy", **body)
    door.begin()
    began_ns = time.time_ns()
    await client.send(answer["transaction"])
    await _all_there([door], 1)
    (at_ns,) = door.trades.values()
    return (at_ns - began_ns) / 1e6


def _keep(results: Results, door: Arrivals, *, rate: int, name: str) -> None:
    latency, histogram = summed(door.delays_ns)
    load = f"latency_spread_{rate}_{name}"
    results.figures |= {
        f"{load}_p50_ms": latency.p50_us / 1e3,
        f"{load}_p99_ms": latency.p99_us / 1e3,
        f"{load}_unheard": door.unheard,
    }
    results.runs.append(
        {
            "part": "latency",
            "load": "spread",
            "trades_per_s": rate,
            "door": name,
            "ticks": len(door.delays_ns),
            "trades": len(door.trades),
            "unheard": door.unheard,
            "latency": latency.as_dict(),
            "histogram": histogram,
        }
    )
