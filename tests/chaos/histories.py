"""Reorganisations under load, transactions dropped or included again elsewhere."""

import asyncio
import random
import time

from chain.rpc import JsonRpc, RpcError
from tests.chaos import truth as truths
from tests.chaos.quotes import QuoteChecker
from tests.chaos.report import Row, say
from tests.chaos.world import SETTLE_S_MAX, World
from tests.support.load import percentiles
from tests.support.reorgs import kept

REORGS_MIN = 40
DEPTH_MAX = 8
POLL_S = 0.02
PLANT_S = 1.5
PLANT_ROUNDS = 10


async def reorgs(world: World, rng: random.Random, count: int) -> list[Row]:
    """Depth 1 to 8, half of them told by the proxy's own call, half behind its back."""
    row = Row("reorg-correct", "reorgs on real processes", trials_min=REORGS_MIN)
    checker = QuoteChecker(world, rng, "quotes while the chain reorganises")
    await world.begin()
    depths: list[int] = []
    times: list[float] = []
    dropped = again = 0
    for number in range(count):
        await asyncio.sleep(rng.uniform(0.2, 1.2))
        depth = 1 + number % DEPTH_MAX if number < DEPTH_MAX else rng.randint(1, DEPTH_MAX)
        done = await _reorganise(world, rng, depth)
        if done is None:
            row.fail(f"reorg {number}: the node refused it")
            continue
        dropped, again = dropped + done[0], again + done[1]
        depths.append(depth)
        row.trials += 1
        took = await _on_the_node_s_chain(world)
        if took is None:
            row.fail(f"reorg {number} of depth {depth}: quotes not on the new chain")
        else:
            times.append(took)
        await checker.round()
    row.figure |= {
        "depth_max": max(depths, default=0),
        "transactions_dropped": dropped,
        "included_again": again,
        "on_the_new_chain_s": percentiles(times),
        "retracted": world.watcher.told["retracted"],
    }
    await world.agree(row)
    if dropped and not world.watcher.told["retracted"]:
        row.fail("transactions vanished and nobody was told")
    await _plant(world, row)
    return [row, checker.judge()]


async def _reorganise(world: World, rng: random.Random, depth: int) -> tuple[int, int] | None:
    for _ in range(5):
        pairs, dropped = await kept(world.straight, rng, depth)
        through = JsonRpc(world.proxy.rpc_url, timeout_s=30.0)
        try:
            rpc = through if rng.random() < 0.5 else world.straight
            await rpc.call("anvil_reorg", [depth, pairs])
        except RpcError as error:
            # A block came between reading and rewriting: its transactions do not fit.
            say(f"  reorg of {depth} again: {error}"[:160])
            continue
        finally:
            await through.close()
        return dropped, len(pairs)
    return None


async def _on_the_node_s_chain(world: World) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < SETTLE_S_MAX:
        try:
            quote = await world.load.quote(world.load.tokens[0], finality="sealed")
            number = int(quote["asOf"]["blockNumber"])
            block = await world.straight.call("eth_getBlockByNumber", [hex(number), False])
            head = int(await world.straight.call("eth_blockNumber", []), 16)
        except Exception:
            await asyncio.sleep(POLL_S)
            continue
        fresh = head - number <= 2  # the open block, and one being sealed
        if fresh and block is not None and block["hash"] == quote["asOf"]["blockHash"]:
            return time.monotonic() - began
        await asyncio.sleep(POLL_S)
    return None


async def _plant(world: World, row: Row) -> None:
    # A subscriber that is not told of what vanished for good must come out different.
    for _ in range(PLANT_ROUNDS):
        await world.begin()
        world.watcher.withhold = 1
        await asyncio.sleep(PLANT_S)
        await world.straight.call("anvil_reorg", [DEPTH_MAX // 2, []])
        await world.settle()
        if not world.watcher.withhold:
            break
    world.watcher.withhold = 0
    told = truths.subscriber(world.truth, world.watcher.standing, first=world.first)
    row.plant("a retraction that a subscriber is not told", caught=told.count > 0)
