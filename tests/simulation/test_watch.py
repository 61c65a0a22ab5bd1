"""Auditor and reconciler over the whole simulated system: quiet on what is true, and heard on
whatever is spoilt.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from actors.auditor import Auditor
from actors.reconciler import Reconciler
from chain.decode import Decoder
from chain.source import ChainSource
from engine.control import Quotes, StatusWanted
from engine.messages import QuoteRequest, Refusal
from storage.events import EventStore
from tests.simulation import wire
from tests.simulation.loop import outside, run
from tests.simulation.processes import Fuse, Port
from tests.simulation.world import World

pytestmark = pytest.mark.timeout(60)
Course = Callable[[World], Awaitable[None]]


async def _lived(given: World, course: Course) -> None:
    await given.start()
    try:
        for number in range(24):
            await given.block()
            if number % 8 == 7:
                await given.reorg(given.deepest, given.deepest)
        await given.block([])
        assert await given.until(given.settled, 5.0), (
            await given.positions(),
            given.log.lines[-12:],
        )
        await course(given)
    finally:
        await given.stop()


def live(url: str, number: int, course: Course) -> None:
    run(_lived(World(url, 5 * 10**6 + number, random.Random(number)), course))


def reconciler(world: World) -> Reconciler[Any]:
    return Reconciler(
        chain=world.settings,
        pause_s=1.0,
        source=ChainSource(world.node, world.settings),
        decoder_of=partial(Decoder, world.settings),
        recorded=Port(EventStore(world.pool, world.chain_id), Fuse()),
        log=world.log,
        dice=random.Random(1),
    )


def auditor(world: World) -> Auditor:
    async def contracts(*, version: int, tokens: Any, block: int) -> list[Any]:
        state = world.chain.blocks[block].pad.state()
        truth = {wire.address(name): row for name, row in state.items()}
        return [truth.get(token, ("none", 0, 0, 0, 0, 0)) for token in tokens]

    made = Auditor(
        chain=world.settings,
        looks_per_s=2.0,
        heads=ChainSource(world.node, world.settings),
        contracts=contracts,
        launches=Port(EventStore(world.pool, world.chain_id), Fuse()),
        calls=world.cluster,
        log=world.log,
    )
    assert world.supervisor is not None
    directory = world.supervisor.directory
    made.handlers[type(directory)](directory)
    return made


def counts(role: Any) -> dict[str, int]:
    return dict(role.handlers[StatusWanted](StatusWanted()))


async def reread(world: World) -> dict[str, int]:
    made = reconciler(world)
    for block in range(world.chain.tip.number - 2, 0, -1):  # launches are met last
        await made.look(block)
    return counts(made)


def test_reconciler_finds_history_whole(url: str) -> None:
    async def course(world: World) -> None:
        found = await reread(world)
        assert found["reconciled"] > 15 and found["reconciled_events"] > 30, found
        assert not any(found[name] for name in found if not name.startswith("reconciled")), found
        await reconciler(world).look()

    live(url, 1, course)


SPOILS = {
    "an event is gone": (
        "DELETE FROM events WHERE (chain_id, tx_hash, position) = (SELECT chain_id, tx_hash,"
        " position FROM events WHERE chain_id = $1 AND kind = 'Traded' AND block_number < 10"
        " LIMIT 1)",
        {"reconcile_missing": 1, "reconcile_extra": 0},
    ),
    "a value was changed": (
        "UPDATE transfers SET amount = amount + 1 WHERE (chain_id, tx_hash, position) = (SELECT"
        " chain_id, tx_hash, position FROM transfers WHERE chain_id = $1 AND block_number < 10"
        " LIMIT 1)",
        {"reconcile_missing": 1, "reconcile_extra": 1},
    ),
    "a row that never was": (
        "INSERT INTO transfers SELECT chain_id, tx_hash, position + 500, version, block_number,"
        " block_hash, block_time, tx_index, log_index + 500, token_address, sender, recipient,"
        " amount FROM transfers WHERE chain_id = $1 AND block_number < 10 LIMIT 1",
        {"reconcile_missing": 0, "reconcile_extra": 1},
    ),
}


@pytest.mark.parametrize("name", SPOILS)
def test_reconciler_hears_spoilt_history(url: str, name: str) -> None:
    statement, wanted = SPOILS[name]

    async def course(world: World) -> None:
        with outside():
            assert (await world.pool.execute(statement, world.chain_id)).endswith(" 1")
        found = await reread(world)
        assert {key: found[key] for key in wanted} == wanted, found
        assert world.log.of("history_differs")

    live(url, 10 + list(SPOILS).index(name), course)


def test_auditor_finds_memory_true_while_the_chain_goes_on(url: str) -> None:
    async def course(world: World) -> None:
        made = auditor(world)
        for _ in range(12):
            await world.block()
            await made.look()
        found = counts(made)
        assert found["audited"] > 20 and found["drift"] == found["suspects"] == 0, found

    live(url, 20, course)


def test_auditor_halts_a_market_that_drifted_and_taking_it_anew_mends_it(url: str) -> None:
    async def course(world: World) -> None:
        made = auditor(world)
        process, token = spoil_one(world)
        for _ in range(8):
            await world.block([])
            await made.look()
        found = counts(made)
        assert (found["drift"], found["halted"]) == (1, 1), (found, world.log.of("market_drifted"))
        asked = QuoteRequest(token, True, False, 10**12, 100)
        (refusal,) = process.plain.handlers[Quotes](Quotes((asked,))).replies
        assert isinstance(refusal, Refusal) and refusal.code == "market_halted"
        process.kill()
        assert world.supervisor is not None
        await world.until(lambda: not world.supervisor.ready)
        await world.until(lambda: world.supervisor.ready)
        await world.block([])
        assert token in await world.states()

    live(url, 21, course)


def spoil_one(world: World) -> tuple[Any, bytes]:
    for process in world.cluster.living("shard"):
        for served in process.plain._served.values():
            for token, timeline in served.group.timelines.items():
                timeline.confirmed = [
                    (block, replace(market, raised=market.raised + 1))
                    for block, market in timeline.confirmed
                ]
                return process, token
    raise AssertionError("Expected a market")


def test_auditor_a_reorg_between_its_questions_is_no_drift(url: str) -> None:
    async def course(world: World) -> None:
        made = auditor(world)
        for _ in range(6):
            await world.block()
            look = asyncio.ensure_future(made.look())
            await asyncio.sleep(0.003)
            await world.reorg(min(world.deepest, 4), 4)
            await look
        assert counts(made)["drift"] == 0

    live(url, 22, course)
