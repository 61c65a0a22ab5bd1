"""One seeded run of each kind: a world, what happens to it, and what was broken at the end."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from actors import recovery
from engine import snapshot
from engine.control import Scale
from engine.group import Group
from storage.buckets import BucketStore
from storage.events import EventStore
from storage.snapshots import SnapshotStore
from tests.simulation import checks
from tests.simulation.loop import outside, run
from tests.simulation.node import AT_HASH, EVERYWHERE, PUSHED, RANGES, RECEIPTS, Faults
from tests.simulation.world import DEPTH, SETTLE_S, Log, World
from tests.support.dumps import dump

LIES: dict[str, Faults] = {
    f"{lie} {name}": Faults(lie=lie, where=frozenset(where), share=share)
    for lie in ("drop", "repeat", "reorder", "delay")
    for name, where, share in (
        ("pushed", {PUSHED}, 0.7),
        ("on ranges", {RANGES}, 0.7),
        ("at hash", {AT_HASH}, 0.7),
        ("in receipts", {RECEIPTS}, 0.6),
        ("everywhere", EVERYWHERE, 0.4),
    )
} | {
    "lag": Faults(lag=3),
    "cut": Faults(cut_share=0.4),
    "half open": Faults(half_open=True),
    "error": Faults(lie="error", share=0.3),
    "false head": Faults(lie="false_head", share=0.8),
}
SHARDS_MOST = 4
_CHAINS = itertools.count(10**6)
KINDS = ("reorg", "deep", "lies", "shreds", "kills", "scaling", "recovery")


@dataclass
class Outcome:
    """`trials` of what the kind counts; `failures` are sentences; `figures` add up by name."""

    kind: str
    seed: int
    mode: str = ""
    trials: int = 0
    failures: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


Course = Callable[[World, Outcome], Awaitable[None]]


def simulate(
    seed: int, *, kind: str, url: str, mode: str = "", patience_s: float = SETTLE_S
) -> Outcome:
    """Run it. The same seed takes the same course, but for the order of the store's answers.
    `patience_s` of virtual time is what everybody has to stand on the tip at the end.
    """
    outcome = Outcome(kind, seed, mode)
    dice = random.Random(f"{kind} {seed} {mode}")
    shreds = dice.random() < 0.6
    world = World(url, next(_CHAINS), dice, shreds=shreds, patience_s=patience_s)
    courses: dict[str, Course] = {
        "reorg": _reorgs,
        "deep": _too_deep,
        "lies": lambda one, out: _lies(one, out, mode),
        "shreds": _shreds,
        "kills": _kills,
        "scaling": _scaling,
        "recovery": _recovery,
    }
    try:
        run(_bounded(world, outcome, courses[kind]))
    except (AssertionError, KeyError, RuntimeError, TimeoutError) as error:
        outcome.failures.append(f"{type(error).__name__}: {error}")
    return outcome


async def _bounded(world: World, outcome: Outcome, course: Course) -> None:
    try:
        await world.start()
        await course(world, outcome)
    finally:
        await world.stop()


async def _reorgs(world: World, outcome: Outcome) -> None:
    dice = world.random
    world.node.faults.cut_share = dice.choice((0.0, 0.1))
    for _ in range(14):
        await world.block(shown=dice.random() < 0.7)
    for _ in range(12):
        depth = dice.randint(1, max(world.deepest, 1))
        if world.deepest >= 1:
            length = dice.choice((depth, depth + 1, depth + 2, max(depth - 1, 1)))
            await world.reorg(depth, length, heads=dice.random() < 0.8)
            outcome.trials += 1
            outcome.figures[f"depth {depth}"] = outcome.figures.get(f"depth {depth}", 0) + 1
        for _ in range(dice.randrange(3)):
            await world.block(shown=dice.random() < 0.7)
        await world.note_visible()
    outcome.failures += await checks.faults(world)


async def _too_deep(world: World, outcome: Outcome) -> None:
    for _ in range(DEPTH + 6):
        await world.block()
    assert await world.until(world.settled), await world.positions()
    with outside():
        before = await dump(world.pool, world.chain_id)
    states = await world.states()
    await world.reorg(DEPTH + 1, DEPTH + 3)
    outcome.trials += 1
    halted = await world.until(lambda: bool(world.log.of("listener_halted")), 30.0)
    if not halted:
        outcome.failures.append("the listener did not halt")
    await asyncio.sleep(10.0)
    with outside():
        after = await dump(world.pool, world.chain_id)
    if after != before:
        outcome.failures.append("rows changed")
    found: dict[bytes, tuple[Any, ...]] = {}
    for process in world.cluster.living("shard"):
        for served in process.plain._served.values():
            for token, timeline in served.group.timelines.items():
                found[token] = tuple(snapshot.state_row(timeline.tip)[1:])
            if world.now() - served.beat < 5:
                outcome.failures.append("quotes are still fresh")
    if found != states:
        outcome.failures.append("memory changed")


async def _lies(world: World, outcome: Outcome, mode: str) -> None:
    dice = world.random
    for _ in range(4):
        await world.block()
    told = LIES[mode]
    faults = Faults(told.lie, told.where, told.share, told.lag, told.cut_share, told.half_open)
    world.node.faults = faults
    late = 0.0
    for number in range(14):
        await world.block(shown=dice.random() < 0.5)
        if number == 6:
            world.node.cut()  # so that ranges are read, and the window is filled anew
        if number == 9 and dice.random() < 0.5 and world.deepest >= 3:
            await world.reorg(3, 4)
    outcome.trials += 1
    outcome.figures["lies told"] = sum(faults.told.values())
    began = world.now()
    await world.until(world.settled, 20.0)
    late = world.now() - began
    outcome.figures["settled within s, still lied to"] = round(late, 2)
    outcome.failures += await checks.faults(world)


async def _shreds(world: World, outcome: Outcome) -> None:
    dice = world.random
    for _ in range(3):
        await world.block()
    for _ in range(20):
        txs = world.chain.coming(dice.randrange(1, 6))
        world.node.preview(txs)
        await asyncio.sleep(0.4)
        sealed = list(txs)
        deed = dice.choice(("true", "absent", "reordered", "other", "reorg"))
        if deed == "absent" and sealed:
            del sealed[dice.randrange(len(sealed))]
        elif deed == "reordered":
            dice.shuffle(sealed)
        elif deed == "other":
            sealed = world.chain.coming(2) + sealed[1:]
        outcome.trials += deed != "true"
        if deed == "reorg" and world.deepest >= 2:
            await world.reorg(2, 2)
        world.node.sealed([world.chain.seal(sealed)])
        await asyncio.sleep(0.6)
        await world.note_visible()
    outcome.failures += await checks.faults(world)
    retracted = sum(told.tick.event == "retracted" for told in world.ticks.told)
    shown = sum(
        told.tick.event == "transaction" and told.tick.data["status"] == "preconfirmed"
        for told in world.ticks.told
    )
    outcome.figures |= {"shown before their block": shown, "retracted": retracted}


async def _kills(world: World, outcome: Outcome) -> None:
    dice = world.random
    for _ in range(5):
        await world.block()
    world.cluster.lose_reply = lambda: dice.random() < 0.02
    world.cluster.repeat = lambda: dice.random() < 0.02
    for _ in range(24):
        slot = dice.choice(("recorder", "recorder", "shard-0", "shard-1", "listener"))
        world.kill(slot, after=dice.randrange(10), inside=dice.random() < 0.4)
        await world.block()
        if dice.random() < 0.25 and world.deepest >= 1:
            depth = dice.randint(1, world.deepest)
            await world.reorg(depth, depth + dice.randrange(2))
        await world.note_visible()
    killed = sum(process.dead for process in world.cluster.processes.values())
    outcome.trials += max(world.cluster.started - 4, killed)
    outcome.failures += await checks.faults(world)


async def _scaling(world: World, outcome: Outcome) -> None:
    dice = world.random
    for _ in range(5):
        await world.block()
    world.cluster.lose_reply = lambda: dice.random() < 0.02
    wanted = 0
    for _ in range(12):
        wanted = dice.randint(1, SHARDS_MOST)
        assert world.supervisor is not None
        await world.supervisor.handlers[Scale](Scale(shards=wanted))
        outcome.trials += 1
        for _ in range(dice.randrange(1, 4)):
            if dice.random() < 0.3:
                slot = f"shard-{dice.randrange(SHARDS_MOST)}"
                world.kill(slot, after=dice.randrange(10), inside=dice.random() < 0.4)
            if dice.random() < 0.15:
                await world.supervise()
            await world.block()
        if dice.random() < 0.25 and world.deepest >= 1:
            depth = dice.randint(1, world.deepest)
            await world.reorg(depth, depth + dice.randrange(2))
        await world.note_visible()
    outcome.failures += await checks.faults(world)
    living = len(world.cluster.living("shard"))
    if living != wanted:
        outcome.failures.append(f"{living} shards, wanted were {wanted}")


async def _recovery(world: World, outcome: Outcome) -> None:
    # Snapshot and replay against replay from zero; then with every kind of bad snapshot.
    dice = world.random
    for _ in range(30):
        await world.block()
        if dice.random() < 0.1 and world.deepest >= 1:
            await world.reorg(world.deepest, world.deepest)
    unsettled = await world.settle()
    if unsettled:
        outcome.failures.append(unsettled)
        return
    for process in list(world.cluster.processes.values()):
        if process.instance.role in ("shard", "listener"):
            process.kill()
    assert world.supervisor is not None and world._main is not None
    world._main.cancel()
    with outside():
        zero, _ = await _recovered(world, snapshots=False)
        with_snapshots, refused = await _recovered(world)
        outcome.trials += 1
        if with_snapshots != zero or refused:
            outcome.failures.append("recovered from snapshots, the bytes differ")
        stored = await world.pool.fetchval(
            "SELECT count(*) FROM snapshots WHERE chain_id = $1", world.chain_id
        )
        outcome.figures["snapshots"] = stored
        if not stored:
            outcome.failures.append("no snapshot was kept: nothing is shown")
        await _spoil(world, outcome, zero)


async def _spoil(world: World, outcome: Outcome, zero: bytes) -> None:
    good = await world.pool.fetch("SELECT * FROM snapshots WHERE chain_id = $1", world.chain_id)
    for name, spoil in SPOILT.items():
        await _put_back(world, good)
        changed = await world.pool.execute(spoil, world.chain_id)
        count = int(changed.rsplit(" ", 1)[1])
        spoilt, refused = await _recovered(world)
        outcome.trials += count
        outcome.figures[f"bad snapshots, {name}"] = count
        if spoilt != zero:
            outcome.failures.append(f"bad snapshots, {name}: the bytes differ")
        if refused < count:
            outcome.failures.append(f"bad snapshots, {name}: {refused} of {count} detected")


SPOILT = {
    "flipped": "UPDATE snapshots SET payload = set_byte(payload, length(payload) / 2,"
    " get_byte(payload, length(payload) / 2) # 1) WHERE chain_id = $1",
    "truncated": "UPDATE snapshots SET payload = substring(payload FROM 1 FOR length(payload) - 1)"
    " WHERE chain_id = $1",
    "of an older schema": "UPDATE snapshots SET schema = schema - 1 WHERE chain_id = $1",
    "ahead of the cursor": "UPDATE snapshots SET block_number = block_number + 1000"
    " WHERE chain_id = $1",
}


async def _put_back(world: World, rows: list[Any]) -> None:
    await world.pool.execute("DELETE FROM snapshots WHERE chain_id = $1", world.chain_id)
    if not rows:
        return
    names = list(rows[0].keys())
    places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    statement = f"INSERT INTO snapshots ({', '.join(names)}) VALUES ({places})"
    await world.pool.executemany(statement, [tuple(row) for row in rows])


async def _recovered(world: World, *, snapshots: bool = True) -> tuple[bytes, int]:
    # (the bytes of every market, how many snapshots were found bad)
    store, log = SnapshotStore(world.pool, world.chain_id), Log()
    incarnations = await BucketStore(world.pool, world.chain_id).take("again", range(1024))
    group: Group = await recovery.recover(
        name="again",
        incarnations=incarnations,
        reorg_depth=DEPTH,
        snapshots=store if snapshots else _None(),
        events=EventStore(world.pool, world.chain_id),
        log=log,
    )
    markets = [group.timelines[token].tip for token in sorted(group.timelines)]
    return snapshot.to_bytes(markets), store.bad + len(log.of("snapshot_refused"))


class _None:
    async def load(self, buckets: Any) -> dict[int, list[Any]]:
        return {}

    async def save(self, **_: Any) -> bool:
        return False
