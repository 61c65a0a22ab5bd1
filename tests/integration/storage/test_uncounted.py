"""Pending points: what is recorded and not final, by the same book, never written."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.messages import FeedPosition
from engine.points import pending as view
from engine.points.pending import Pending
from engine.points.rules import MICRO
from storage import uncounted
from storage.points import bridge_cursor
from storage.uncounted import RecordedDeeds, UncountedReads
from tests.support import transfers as t
from tests.support.bridge_history import Bridge
from tests.support.history import position_of
from tests.support.points_process import SEASON
from tests.support.points_world import NAMES, START, World, opened, settle
from tests.support.scenario import CHAIN_ID, address_of


@pytest.fixture
async def world(pool: Any, mongodb_url: str) -> AsyncIterator[World]:
    async with opened(pool, mongodb_url) as made:
        await made.referred()
        await made.person("dave", START - 3, "alice")
        await made.play(60, hours=4)
        await settle(made.actor())
        yield made


async def unfinal(world: World, blocks: int) -> list[FeedPosition]:
    """Recorded and not final; the position before them and of each."""
    positions = [await world.events.position()]
    for _ in range(blocks):
        block = world.saga.play()
        rows = world.historian.rows(block)
        await world.events.write([rows], incarnation=world.incarnation, position=position_of(block))
        world.saw(rows)
        positions.append(position_of(block))
    return positions


async def pending(world: World, pool: Any, name: str) -> tuple[Pending, uncounted.Uncounted]:
    reads = UncountedReads(world.database, RecordedDeeds(pool, CHAIN_ID), CHAIN_ID)
    who = address_of(name)
    found = await reads.of(who, SEASON.id)
    return (
        view.pending(world.rules, found.known, found.deeds, who=who, season=SEASON.id),
        found,
    )


async def balances(world: World) -> dict[str, int]:
    found = {one["who"]: one["micro"] async for one in world.database["points_balances"].find()}
    return {name: found.get("0x" + address_of(name).hex(), 0) for name in NAMES}


async def written(world: World) -> dict[str, list[Any]]:
    names = sorted(await world.database.list_collection_names())
    return {
        name: [one async for one in world.database[name].find().sort("_id", 1)] for name in names
    }


@pytest.mark.parametrize("seed", range(4))
async def test_pending_is_what_the_wallet_gets_once_it_is_final(
    world: World, pool: Any, seed: int
) -> None:
    world.saga.random = random.Random(seed)
    before = await balances(world)
    await unfinal(world, 12)
    expected = {name: await pending(world, pool, name) for name in NAMES}
    assert sum(one.micro > 0 for one, _ in expected.values()) >= 3
    assert any("referral" in one.by_rule for one, _ in expected.values())
    # Final, and nothing is done for longer than any window is open.
    world.saga.time += 2 * 86_400
    quiet = world.saga.seal()
    await world.events.write(
        [world.historian.rows(quiet)], incarnation=world.incarnation, position=position_of(quiet)
    )
    world.now = quiet.header.timestamp
    await world.events.finalise(world.saga.number, world.incarnation)
    await settle(world.actor())
    await world.compare()
    after = await balances(world)
    gained = {name: after[name] - before[name] for name in NAMES}
    assert gained == {name: one.micro for name, (one, _) in expected.items()}
    for name in NAMES:
        left, found = await pending(world, pool, name)
        assert (left.micro, found.deeds, found.tip) == (0, (), quiet.header.number)


async def test_reorganised_away_pending_is_gone_and_nothing_was_written(
    world: World, pool: Any
) -> None:
    before = await written(world)
    first = {name: (await pending(world, pool, name))[0] for name in NAMES}
    ancestor, *_, tip = await unfinal(world, 15)
    coming = {name: await pending(world, pool, name) for name in NAMES}
    assert coming != first and any(found.deeds for _, found in coming.values())
    assert all(found.tip == tip.number for _, found in coming.values())
    await settle(world.actor())
    assert await written(world) == before, "a view, never a row"
    assert await world.events.rewind(ancestor, incarnation=world.incarnation)
    assert {name: (await pending(world, pool, name))[0] for name in NAMES} == first
    await settle(world.actor())
    assert await written(world) == before, "nothing to compensate"


async def test_stranger_and_wallet_before_its_login_have_nothing_pending(
    world: World, pool: Any
) -> None:
    await unfinal(world, 10)
    for name in ("erin", "pooler"):
        coming, found = await pending(world, pool, name)
        assert (coming.micro, found.deeds) == (0, ())
    assert found.balance == {"micro": 0, "rows": 0, "by": {}}


async def test_pending_is_bounded_and_says_so(
    world: World, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await unfinal(world, 15)
    coming, found = await pending(world, pool, "alice")
    assert found.whole and coming.micro > 0
    whole = trades(found.deeds)
    monkeypatch.setattr(uncounted, "TRADES_MAX", 5)
    _, found = await pending(world, pool, "alice")
    assert not found.whole
    assert trades(found.deeds) == whole[: len(trades(found.deeds))], "the first ones"
    monkeypatch.undo()
    monkeypatch.setattr(uncounted, "WALLETS_MAX", 1)
    assert not (await pending(world, pool, "alice"))[1].whole


async def test_counted_meanwhile_no_deed_is_seen_twice_or_not_at_all(
    world: World, pool: Any
) -> None:
    # The ledger counts between the look at it and the look at history.
    await unfinal(world, 12)
    expected, _ = await pending(world, pool, "alice")
    sums = (await balances(world))["alice"] + expected.micro

    class Late:
        async def above(self, *given: Any) -> Any:
            await world.events.finalise(world.saga.number, world.incarnation)
            await settle(world.actor())
            return await RecordedDeeds(pool, CHAIN_ID).above(*given)

    who = address_of("alice")
    found = await UncountedReads(world.database, Late(), CHAIN_ID).of(who, SEASON.id)
    shown = view.pending(world.rules, found.known, found.deeds, who=who, season=SEASON.id)
    assert found.balance["micro"] + shown.micro == sums


def trades(deeds: Sequence[Any]) -> list[str]:
    return [deed.key for deed in deeds if deed.kind == "trade"]


async def test_transfer_that_was_paid_is_pending_until_it_is_counted_and_for_the_referrers_too(
    world: World, pool: Any
) -> None:
    bridge, names = Bridge(pool), ("alice", "bob", "carol")
    before = {name: (await pending(world, pool, name))[0] for name in names}
    # Paid in the season, by the clock of another chain.
    offset = world.now - t.header(t.RISE, 1).timestamp
    paid = await bridge.transfer(who=address_of("alice"), ends=False)
    await bridge.execute(f"UPDATE bridge_events SET block_time = block_time + {offset}")

    async def gained() -> dict[str, tuple[int, int]]:
        found = {}
        for name in names:
            one, _ = await pending(world, pool, name)
            rule = {rule: one.by_rule.get(rule, 0) for rule in ("bridge", "referral")}
            old = before[name].by_rule
            found[name] = tuple(rule[kind] - old.get(kind, 0) for kind in rule)
        return found  # type: ignore[return-value]

    points = paid.amount * 100 * MICRO // t.ETHER
    expected = {
        "alice": (points, 0),
        "bob": (0, points // 10),
        "carol": (0, points // 20),
    }
    assert await gained() == expected
    assert (await pending(world, pool, "alice"))[0].micro == before["alice"].micro + points
    # Final and ended, not counted yet: the same.
    await bridge.target.finalise()
    await bridge.end(paid)
    assert await gained() == expected
    await settle(world.actor())  # which counts no transfers
    assert await gained() == expected
    ledger = world.ledger
    assert await ledger.bridged() == 0
    await world.database["points_cursors"].update_one(
        {"_id": bridge_cursor(CHAIN_ID)}, {"$set": {"seq": 1}}
    )
    assert await gained() == dict.fromkeys(names, (0, 0))


async def test_transfer_that_waits_or_went_back_is_not_pending_and_changes_no_windows(
    world: World, pool: Any
) -> None:
    await unfinal(world, 6)
    before = {name: (await pending(world, pool, name))[0] for name in NAMES}
    bridge = Bridge(pool)
    await bridge.source.say(t.deposited, replace(t.message(77), depositor=address_of("alice")))
    await bridge.transfer(who=address_of("alice"), back=True)
    offset = world.now - t.header(t.RISE, 1).timestamp
    await bridge.execute(f"UPDATE bridge_events SET block_time = block_time + {offset}")
    assert {name: (await pending(world, pool, name))[0] for name in NAMES} == before


async def test_transfers_of_others_beyond_the_bound_say_that_not_all_was_seen(
    world: World, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(pool)
    for _ in range(3):
        await bridge.transfer()
    assert (await pending(world, pool, "alice"))[1].whole
    monkeypatch.setattr(uncounted, "TRANSFERS_MAX", 3)
    _, found = await pending(world, pool, "alice")
    assert not found.whole and not any(deed.kind == "bridge" for deed in found.deeds)
