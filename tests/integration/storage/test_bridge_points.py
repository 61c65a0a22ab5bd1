"""Points for transfers between the chains: each completed one once, from the bridge's outbox."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from actors.points import PointsLedger
from engine.errors import TransientError
from engine.points.rules import MICRO
from storage import postgres
from storage.bridge_outbox import BridgeOutbox
from storage.points import Counted, PointsStore
from tests.support.fakes import FakeSink
from tests.support.points_world import Killed, World, _die_inside, opened, settle
from tests.support.scenario import CHAIN_ID, address_of

ETHER = 10**18
DAY_S = 86_400


@pytest.fixture
async def world(pool: Any, mongodb_url: str) -> AsyncIterator[World]:
    async with opened(pool, mongodb_url) as made:
        await made.referred()
        await made.play(10)
        await settle(made.actor())
        yield made


def counting(world: World, pool: Any, ledger: Any = None) -> PointsLedger:
    return PointsLedger(
        rules=world.rules,
        outbox=world.outbox,
        ledger=ledger or world.ledger,
        days=world.days,
        place=Counted,
        log=FakeSink(),
        transfers=BridgeOutbox(pool),
    )


async def ended(
    pool: Any, seq: int, name: str, *, eth: int = 1, status: str = "COMPLETED", at: int
) -> None:
    payload = {
        "message": f"{seq:064x}",
        "user": address_of(name).hex(),
        "amount": str(eth * ETHER),
        "paidAt": at,
    }
    async with postgres.session(pool) as connection:
        await connection.execute(
            "INSERT INTO bridge_outbox (seq, source_chain, version, request_id, status, payload)"
            " VALUES ($1, 11155111, 1, $2, $3, $4::text::jsonb)",
            *(seq, seq.to_bytes(32, "big"), status, orjson.dumps(payload).decode()),
        )


async def rows(world: World) -> dict[str, tuple[str, int]]:
    """key → (who, points) of what came of transfers, referrers' parts too."""
    return {
        one["_id"]: (one["who"], one["micro"] // MICRO)
        async for one in world.database["points_ledger"].find({"_id": {"$regex": "bridge:"}})
    }


async def balances_wrong(world: World) -> int:
    found = {
        one["_id"]: (one["rule"], bytes.fromhex(one["who"][2:]), one["micro"])
        async for one in world.database["points_ledger"].find()
    }
    owed = {
        one["_id"]: (bytes.fromhex(one["who"][2:]), int(one["wei"]))
        async for one in world.database["referral_ledger"].find()
    }
    return await world._wrong_balances(found, owed)


async def test_completed_transfers_give_points_by_amount_and_to_the_referrers(
    world: World, pool: Any
) -> None:
    await ended(pool, 1, "alice", eth=2, at=world.now)
    await ended(pool, 2, "bob", status="FAILED", at=world.now)
    await ended(pool, 3, "dave", at=world.now)  # never logged in
    await settle(counting(world, pool))
    await settle(counting(world, pool))
    key = f"bridge:11155111:{1:064x}"
    alice, bob, carol = ("0x" + address_of(name).hex() for name in ("alice", "bob", "carol"))
    assert await rows(world) == {
        key: (alice, 200),
        f"referral:1:{key}": (bob, 20),
        f"referral:2:{key}": (carol, 10),
    }
    assert await world.ledger.bridged() == 3
    assert await balances_wrong(world) == 0


async def test_transfer_of_a_day_that_the_ledger_has_not_reached_waits_for_it(
    world: World, pool: Any
) -> None:
    await ended(pool, 1, "carol", at=world.now)
    await ended(pool, 2, "carol", at=world.now + DAY_S)
    await ended(pool, 3, "carol", at=world.now)
    await settle(counting(world, pool))
    assert await world.ledger.bridged() == 1
    world.saga.time += DAY_S
    await world.play(3)
    await settle(counting(world, pool))
    assert await world.ledger.bridged() == 3
    assert len(await rows(world)) == 3 and await balances_wrong(world) == 0


async def test_ledger_that_dies_inside_and_two_at_once_count_each_transfer_once(
    world: World, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.points.BATCH", 3)
    for seq in range(1, 31):
        await ended(pool, seq, "carol", at=world.now)
    inside = _die_inside(world.ledger, random.Random(3))
    inside.rate = 0.5
    while inside.killed < 12 and await world.ledger.bridged() < 20:
        try:
            await counting(world, pool).step()
        except Killed:
            continue
    inside.stop()

    async def run() -> None:
        store = PointsStore(world.database, CHAIN_ID)
        await store.claim()
        for _ in range(100):
            try:
                if not await counting(world, pool, store).step():
                    return
            except TransientError:
                continue

    await asyncio.gather(run(), run())
    assert inside.killed > 3
    assert len(await rows(world)) == 30 and await balances_wrong(world) == 0
