"""Part "latency": from the frame at the listener's socket to a subscriber of each door.

Two loads on the whole system, with all on this machine's cores, the chain too:
  1. `block`: 500 trades in one block of an anvil, which tells of them when it is sealed; the time
     of the last trade, from the block's first frame;
  2. `spread`: trades spread evenly over the second, at 50 and at 500 a second. anvil mines whole
     blocks, so its blocks are lived again by a node of ours that sends shreds and logs before the
     seal, as RISE does (`bench.peers.shredding_node`); the delay of each preconfirmed price.
`submit_to_fill` is from the call of `/api/trading/submit` to the trade on its token's topic, on
the first of these systems.
"""

import asyncio
import random
import tempfile
import time
from array import array
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from statistics import median

from bench import arrivals, system
from bench.arrays import summed
from bench.arrivals import Arrivals
from bench.bulk import Bulk
from bench.processes import BenchError, python, started
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

SPREAD_S = 0.8
"""Of each second, so that a node that comes late is still there for the next block."""

BATCHES_PER_S = 10
SPREAD_LASTS_S = 10.0
SETTLE_S = 3.0
PATIENCE_S = 30.0
FILLS_MAX = 12
CHAIN_ID = 11155931


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    turns = max(effort.alternations // 2, 1)
    tell("our system comes up on anvil")
    with system.running(tokens=TOKENS, BRIDGE="false") as ours:
        asyncio.run(_on_anvil(ours, results, turns=turns, tell=tell))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="risecurve-bench-")))
        embedded = stack.enter_context(Embedded(folder))
        tell("a chain comes up behind a node that sends shreds")
        anvil_url, _ = embedded.start_anvil(CHAIN_ID, keep_state=False)
        file = asyncio.run(deployed(anvil_url, folder))
        command = (*python("bench.peers.shredding_node"), anvil_url, str(SPREAD_S))
        node = stack.enter_context(started("a node with shreds", *command))
        variables = {
            "RISE_CHAIN_RPC": f"http://127.0.0.1:{node.port}",
            "RISE_CHAIN_WS": f"ws://127.0.0.1:{node.port}",
            "DEPLOYMENTS_FILE": str(file),
        }
        tell("our system comes up on it")
        ours = stack.enter_context(system.running(tokens=TOKENS, BRIDGE="false", **variables))
        lasts_s = min(SPREAD_LASTS_S, effort.seconds * turns)
        asyncio.run(_spread(ours, anvil_url, results, lasts_s=lasts_s, tell=tell))
    results.notes.append("latency, spread: blocks of an anvil, sent as shreds by a node of ours")
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


async def _on_anvil(ours: system.Ours, results: Results, *, turns: int, tell: Tell) -> None:
    rpc = JsonRpc(ours.run.rise_rpc, timeout_s=10.0)
    bulk = Bulk(rpc, launchpad=ours.launchpad, tokens=ours.tokens)
    lasts: dict[str, list[float]] = {}
    try:
        async with _subscribed(ours, SEALED) as doors:
            for turn in range(turns):
                tell(f"{TRADES} trades in one block, {turn + 1} of {turns}")
                await asyncio.sleep(SETTLE_S)
                await _next_block(rpc)
                for door in doors.values():
                    door.begin()
                await bulk.send(TRADES)
                await _all_there(doors.values(), TRADES)
                for name, door in doors.items():
                    lasts.setdefault(name, []).append(door.last_ms())
            fills = await _fills(
                ours, rpc, doors["stream"], count=min(2 * turns, FILLS_MAX), tell=tell
            )
    finally:
        await rpc.close()
    for name, found in lasts.items():
        results.figures[f"latency_block_{TRADES}_{name}_last_ms"] = median(found)
    results.figures["submit_to_fill_p50_ms"] = median(fills)
    results.runs.append({"part": "latency", "load": "block", "last_ms": lasts, "fills_ms": fills})


async def _spread(
    ours: system.Ours, anvil_url: str, results: Results, *, lasts_s: float, tell: Tell
) -> None:
    rpc = JsonRpc(anvil_url, timeout_s=10.0)
    bulk = Bulk(rpc, launchpad=ours.launchpad, tokens=ours.tokens)
    try:
        async with _subscribed(ours, PRECONFIRMED) as doors:
            for rate in RATES:
                tell(f"{rate} trades a second, spread")
                await asyncio.sleep(SETTLE_S)
                for door in doors.values():
                    door.begin()
                sent = await _send_evenly(bulk, rate, lasts_s)
                await _all_there(doors.values(), sent)
                for name, door in doors.items():
                    _keep(results, door.delays_ns, rate=rate, door=name)
    finally:
        await rpc.close()


def _subscribed(ours: system.Ours, status: str) -> AbstractAsyncContextManager[dict[str, Arrivals]]:
    return arrivals.subscribed(
        api_port=ours.api.port, stream_url=ours.run.stream_url, tokens=ours.tokens, status=status
    )


async def _send_evenly(bulk: Bulk, rate: int, lasts_s: float) -> int:
    part, sent, due = rate // BATCHES_PER_S, 0, time.monotonic()
    for _ in range(int(lasts_s * BATCHES_PER_S)):
        await bulk.send(part)
        sent, due = sent + part, due + 1 / BATCHES_PER_S
        await asyncio.sleep(max(due - time.monotonic(), 0.0))
    return sent


async def _next_block(rpc: JsonRpc) -> None:
    # So that all that is sent now waits for the one after it.
    seen = now = await rpc.call("eth_blockNumber", [])
    until = time.monotonic() + PATIENCE_S
    while now == seen and time.monotonic() < until:
        await asyncio.sleep(0.01)
        now = await rpc.call("eth_blockNumber", [])


async def _all_there(doors: Collection[Arrivals], trades: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while any(len(door.trades) < trades for door in doors):
        if time.monotonic() > until:
            counts = [len(door.trades) for door in doors]
            raise BenchError(f"Expected {trades} trades at each door, was {counts}")
        await asyncio.sleep(0.01)


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


def _keep(results: Results, delays_ns: "array[int]", *, rate: int, door: str) -> None:
    latency, histogram = summed(delays_ns)
    name = f"latency_spread_{rate}_{door}"
    results.figures |= {
        f"{name}_p50_ms": latency.p50_us / 1e3,
        f"{name}_p99_ms": latency.p99_us / 1e3,
    }
    results.runs.append(
        {
            "part": "latency",
            "load": "spread",
            "trades_per_s": rate,
            "door": door,
            "ticks": len(delays_ns),
            "latency": latency.as_dict(),
            "histogram": histogram,
        }
    )
