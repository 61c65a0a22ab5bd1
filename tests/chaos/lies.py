"""A node that lies to the real listener, and one that says nothing."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import asyncpg

from tests.chaos import truth as truths
from tests.chaos.report import Row, say
from tests.chaos.world import RECOVERY_S_MAX, SETTLE_S_MAX, World, stopped, until
from tests.support.load import percentiles
from tests.support.rpc_faults import ALWAYS, Faults, Places

EVERYWHERE = ALWAYS | Places.RECEIPTS
CONTRADICTIONS = ("absent", "swapped", "changed")
SELDOM = ("pushes old heads",)
WHILES_MAX = 20

Lie = Callable[[Faults], None]


def _set(places: Places, **fields: Any) -> Lie:
    def lie(faults: Faults) -> None:
        faults.places = places
        for name, value in fields.items():
            setattr(faults, name, value)

    return lie


LIES: dict[str, Lie] = {
    "drops pushed logs": _set(Places.PUSHED, drop=0.5),
    "drops everywhere but receipts": _set(ALWAYS, drop=0.3),
    "drops the last log of a block": _set(ALWAYS, drop_tail=0.7),
    "repeats": _set(EVERYWHERE, repeat=0.4),
    "reorders": _set(EVERYWHERE, reorder=0.7),
    "delays": _set(ALWAYS, delay_s=0.4),
    "answers with errors": _set(ALWAYS, errors=0.2),
    "lags behind": _set(ALWAYS, lag_blocks=2),
    "pushes old heads": _set(ALWAYS, false_heads=0.5),
    "drops shreds": _set(Places.SHREDS, drop=0.3),
    "repeats and reorders shreds": _set(Places.SHREDS, repeat=0.4, reorder=0.7),
    "delays shreds": _set(Places.SHREDS, delay_s=0.4),
}


async def lies(world: World, each_s: float) -> Row:
    """Every lie for a while under load; after it nothing may be missing."""
    row = Row("no event lost when the RPC lies", "lying RPC, real listener", len(LIES))
    before = len(world.log_lines("block_revised", "block_reread_by_receipts"))
    caught_up: list[float] = []
    told: dict[str, int] = {}
    await world.begin()
    for name, lie in LIES.items():
        counts = world.proxy.faults.counts.total()
        lie(world.proxy.faults)
        # Until one was told at least: on a busy machine no trade may come in so short a while.
        for _ in range(WHILES_MAX):
            await asyncio.sleep(each_s)
            if world.proxy.faults.counts.total() > counts or name in SELDOM:
                break
        world.proxy.faults.calm()
        row.trials += 1
        told[name] = world.proxy.faults.counts.total() - counts
        took = await _caught_up(world)
        if took is None:
            row.fail(f"{name}: not caught up in {SETTLE_S_MAX} s")
        else:
            caught_up.append(took)
    idle = [name for name, count in told.items() if not count and name not in SELDOM]
    for name in idle:
        row.fail(f"{name}: no lie was told, so nothing was shown")
    row.figure["lies_told"] = sum(told.values())
    row.figure["truth_again_s"] = percentiles(caught_up)
    row.figure["by_receipts"] = (
        len(world.log_lines("block_revised", "block_reread_by_receipts")) - before
    )
    await world.agree(row)
    row.planted, row.caught = await truths.planted(
        world.truth, world.system.run.database_url, first=world.first
    )
    return row


async def contradictions(world: World, each_s: float) -> Row:
    """What was preconfirmed and is not sealed so is taken back, and had no effect on money."""
    row = Row("a shred that does not come true is taken back", "contradicted shreds")
    await world.begin()
    untrue: list[str] = []
    for mode in CONTRADICTIONS:
        faults = world.proxy.faults
        faults.untrue.clear()
        faults.contradict, faults.contradictions = mode, 0.7
        await asyncio.sleep(each_s)
        faults.calm()
        if mode == "absent":
            untrue = list(faults.untrue)  # the only ones that cannot come true in any way
        row.figure[mode] = faults.counts[mode]
    await world.agree(row)
    shown = {key for key in world.watcher.preconfirmed if key[0] in set(untrue)}
    taken = {key for key in shown if world.watcher.retracted[key]}
    row.trials = len(shown)
    row.figure |= {
        "untrue_shown": len(shown),
        "retracted": len(taken),
        "retracted_in_all": world.watcher.told["retracted"],
        "money_effects": await _money(world, untrue),
    }
    for key in shown - taken:
        row.fail(f"not taken back: {key}")
    if row.figure["money_effects"]:
        row.fail(f"{row.figure['money_effects']} rows of what never happened")
    if shown:
        # One more that nobody takes back: the comparison must see it stand.
        standing = world.watcher.standing | {
            min(shown): {"type": "BUY", "ethAmount": "1", "tokenAmount": "1"}
        }
        told = truths.subscriber(world.truth, standing, first=world.first)
        row.plant("an untrue trade that still stands", caught=told.count > 0)
    return row


async def frozen(world: World, rng: random.Random, count: int) -> Row:
    """Its sockets stay open and say nothing: quotes must turn 503 and come back."""
    row = Row("a dead or frozen feed is seen", "frozen node", trials_min=2)
    turned: list[float] = []
    last: list[float] = []
    back: list[float] = []
    await world.begin()
    for number in range(count):
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        world.load.forget_silence()
        began = time.monotonic()
        if number % 2:
            with stopped(world.anvil.pid):
                await _stale(world, row, began, turned)
                last.append(max(world.load.answered.values()) - began)
        else:
            world.proxy.faults.frozen = world.proxy.faults.half_open = True
            await _stale(world, row, began, turned)
            last.append(max(world.load.answered.values()) - began)
            world.proxy.faults.calm()
        row.trials += 1
        thawed = time.monotonic()
        await world.calm_again()
        back.append(time.monotonic() - thawed)
        if last[-1] > RECOVERY_S_MAX:
            row.fail(f"a quote of {last[-1]:.1f} s after the freeze")
    row.figure |= {
        "stale_after_s": percentiles(turned),
        "last_quote_s": percentiles(last),
        "back_s": percentiles(back),
    }
    await world.agree(row)
    row.plant("a feed that is not frozen", caught=not await _would_be_stale(world))
    return row


async def _stale(world: World, row: Row, began: float, turned: list[float]) -> None:
    wanted = len(world.load.tokens)

    async def all_stale() -> bool:
        return world.load.codes["stale_chain"] >= wanted

    try:
        await until(all_stale, 2 * RECOVERY_S_MAX, "quotes turn stale")
    except AssertionError:
        row.fail(f"no 503 stale_chain: {dict(world.load.codes)}")
    turned.append(time.monotonic() - began)
    if turned[-1] > RECOVERY_S_MAX:
        row.fail(f"503 only after {turned[-1]:.1f} s")
    # A while longer: nothing may be answered from the old state any more.
    answered = dict(world.load.answered)
    await asyncio.sleep(1.5)
    if world.load.answered != answered:
        row.fail("a quote was answered from an old state")


async def _would_be_stale(world: World) -> bool:
    world.load.forget_silence()
    await asyncio.sleep(2.0)
    return world.load.codes["stale_chain"] > 0


async def _caught_up(world: World) -> float | None:
    began, tip = time.monotonic(), world.proxy.tip
    while time.monotonic() - began < SETTLE_S_MAX:
        if world.proxy.tip > tip and await world.sealed_number() >= world.proxy.tip:
            return time.monotonic() - began
        await asyncio.sleep(0.02)
    return None


async def _money(world: World, untrue: list[str]) -> int:
    hashes = [bytes.fromhex(one[2:]) for one in untrue]
    connection = await asyncpg.connect(world.system.run.database_url, timeout=10)
    try:
        rows = 0
        for table in ("events", "transactions", "transfers"):
            rows += await connection.fetchval(
                f"SELECT count(*) FROM {table} WHERE tx_hash = ANY($1)", hashes
            )
        rows += await connection.fetchval(
            "SELECT count(*) FROM outbox o WHERE EXISTS (SELECT 1 FROM unnest($1::text[]) h"
            " WHERE o.key LIKE '%' || h || '%' OR o.payload::text LIKE '%' || h || '%')",
            [one[2:] for one in untrue],
        )
    finally:
        await connection.close()
    say(f"  {len(untrue)} transactions never happened, {rows} rows of them")
    return int(rows)
