"""The shard as a plain class: take, load, replay, serve; stale, fenced, halted."""

import asyncio
from dataclasses import replace

import pytest

from engine.buckets import bucket_of
from engine.control import (
    Drain,
    Feed,
    Halt,
    Quotes,
    Release,
    StatesAt,
    Take,
    Taken,
    Views,
)
from engine.limits import BUCKETS
from engine.messages import (
    BucketOwner,
    FeedBatch,
    FeedPosition,
    MarketView,
    QuoteReply,
    QuoteRequest,
    Refusal,
    Traded,
)
from tests.support.scenario import CHAIN_ID
from tests.support.shard_world import ALL, ETH, World, running, told


async def test_take_replays_history_and_the_feed_and_serves():
    world = World()
    for _ in range(20):
        world.seal(trades=4, record=len(world.listener.blocks) < 15)
    shard = world.shard()
    taken = await shard.handlers[Take](Take(ALL))
    assert len(taken.owners) == BUCKETS
    reply = world.ask(shard)
    assert isinstance(reply, QuoteReply)
    assert reply.as_of.block_number == 21
    states = shard.handlers[StatesAt](StatesAt(21)).states
    expected = {(t, one.sold, one.raised) for t, one in world.scenario.tokens.items()}
    assert {(token, sold, raised) for token, _, sold, raised, *_ in states} == expected


async def test_quote_before_take_is_shard_unavailable():
    world = World()
    assert world.ask(world.shard()).code == "shard_unavailable"


async def test_quote_of_unknown_token_is_token_not_found():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    reply = shard.handlers[Quotes](Quotes((QuoteRequest(b"z" * 20, True, False, 1),))).replies[0]
    assert reply.code == "token_not_found"


async def test_quote_after_five_silent_blocks_is_stale_and_heals_with_the_next_beat():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    world.clock.now += 5.1
    assert world.ask(shard).code == "stale_chain"
    world.seal()
    await world.listener.send()
    assert isinstance(world.ask(shard), QuoteReply)


async def test_feed_behind_the_head_is_no_beat():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    block = world.seal()
    group, position = next(iter(world.listener.followers.items()))
    world.clock.now += 5.1
    batch = FeedBatch(CHAIN_ID, position, (block,), block.header.number + 1)
    shard.handlers[Feed](Feed(group[1], batch))
    assert world.ask(shard).code == "stale_chain"


async def test_second_owner_serves_the_same_and_the_first_writes_nothing_more():
    world = World()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    await first.handlers[Take](Take(ALL))
    for _ in range(12):
        world.seal(trades=3)
    await world.listener.send()
    await second.handlers[Take](Take(ALL))
    newer, older = world.ask(second), world.ask(first)
    assert newer.amount_out == older.amount_out
    assert newer.as_of.version[0] == older.as_of.version[0] + 1
    bucket = bucket_of(world.token)
    async with running(second):
        world.seal(trades=8)
        await world.listener.send()
        await asyncio.sleep(0.05)
    await first.handlers[Drain](Drain())
    assert world.snapshots.refused > 0
    assert not any(world.snapshots.rows.values())
    sent = len(world.ticks.sent)
    async with running(first):
        await asyncio.sleep(0.05)
    # The first shard had the same block; the fence refused its ticks and it let go.
    assert len(world.ticks.sent) == sent
    assert bucket not in dict(first.owners)


async def test_release_of_a_higher_incarnation_drops_and_of_a_lower_one_keeps():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    bucket = bucket_of(world.token)
    shard.handlers[Release](Release((BucketOwner(bucket, "other", 1),)))
    assert isinstance(world.ask(shard), QuoteReply)
    shard.handlers[Release](Release((BucketOwner(bucket, "other", 2),)))
    assert world.ask(shard).code == "shard_unavailable"


async def test_wrong_trade_halts_its_market_and_no_other():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    block = world.seal(trades=20, record=False)
    lies = tuple(
        replace(e, sold=e.sold + 1) if isinstance(e, Traded) and e.token == world.token else e
        for e in block.events
    )
    world.listener.blocks[-1] = replace(block, events=lies)
    await world.listener.send()
    assert world.ask(shard).code == "market_halted"
    view = shard.handlers[Views](Views((world.other,))).views[0]
    assert isinstance(view, MarketView)
    assert "market_halted" in world.log.events()


async def test_recovery_from_snapshot_reads_less_and_gives_the_same():
    world = World()
    first = world.shard("shard-0/1")
    await first.handlers[Take](Take(ALL))
    for _ in range(30):
        world.seal(trades=5)
    await world.listener.send()
    await first.handlers[Drain](Drain())
    assert any(world.snapshots.rows.values())
    world.events.read = 0
    second = world.shard("shard-1/1")
    await second.handlers[Take](Take(ALL))
    assert 0 < world.events.read < len(world.events.rows) / 2
    states = second.handlers[StatesAt](StatesAt(31)).states
    truth = {(t, one.sold, one.raised, one.seq) for t, one in world.scenario.tokens.items()}
    assert {(t, sold, raised, seq) for t, _, sold, raised, seq, *_ in states} == truth


@pytest.mark.parametrize("damage", ["bytes", "schema", "ahead"])
async def test_bad_snapshot_is_refused_and_the_older_or_history_used(damage):
    world = World()
    first = world.shard("shard-0/1")
    await first.handlers[Take](Take(ALL))
    for _ in range(30):
        world.seal(trades=5)
    await world.listener.send()
    await first.handlers[Drain](Drain())
    for rows in world.snapshots.rows.values():
        for row in rows:
            if damage == "bytes":
                row.payload = row.payload[:-9]
            elif damage == "schema":
                row.schema += 1
            else:
                row.block_number += 1_000
    second = world.shard("shard-1/1")
    await second.handlers[Take](Take(ALL))
    assert "snapshot_refused" in world.log.events()
    states = second.handlers[StatesAt](StatesAt(31)).states
    truth = {(t, one.sold, one.raised) for t, one in world.scenario.tokens.items()}
    assert {(t, sold, raised) for t, _, sold, raised, *_ in states} == truth


async def test_ticks_are_numbered_without_gap_and_a_lost_one_changes_the_generation():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    async with running(shard):
        for _ in range(3):
            world.scenario.buy(world.token, ETH // 50)
            world.seal()
        await world.listener.send()
        await asyncio.sleep(0.05)
        mine = [t for t in world.ticks.sent if t.topic == f"token:0x{world.token.hex()}"]
        assert [t.seq for t in mine] == list(range(1, len(mine) + 1))
        assert {t.event for t in mine} == {"price", "transaction"}
        world.ticks.down = True
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        await asyncio.sleep(0.05)
        world.ticks.down = False
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        await asyncio.sleep(0.05)
    after = [t for t in world.ticks.sent if t.topic == f"token:0x{world.token.hex()}"][-1]
    assert after.generation != mine[-1].generation


async def test_position_of_an_early_batch_is_answered_not_applied():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(ALL))
    group = next(iter(world.listener.followers))[1]
    early = FeedBatch(CHAIN_ID, FeedPosition(500, bytes(32)), (world.seal(),), 501)
    assert shard.handlers[Feed](Feed(group, early)).number == 1


async def test_postgres_down_take_fails_and_owned_buckets_go_on():
    world = World()
    shard = world.shard()
    await shard.handlers[Take](Take(frozenset({bucket_of(world.token)})))
    world.owners.down = True
    with pytest.raises(Exception, match="store_unavailable"):
        await shard.handlers[Take](Take(ALL))
    assert isinstance(world.ask(shard), QuoteReply)
    assert not isinstance(world.ask(shard), Refusal)


async def test_two_takes_at_once_end_with_the_higher_incarnation():
    world = World()
    shard = world.shard()
    position = world.events.position
    gate = asyncio.Event()

    async def slow_once():
        world.events.position = position
        await gate.wait()
        return await position()

    world.events.position = slow_once
    first = asyncio.create_task(shard.handlers[Take](Take(ALL)))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(shard.handlers[Take](Take(ALL)))
    await asyncio.sleep(0.01)
    gate.set()
    await asyncio.gather(first, second)
    assert dict(shard.owners) == {b: row.incarnation for b, row in world.owners.rows.items()}


@pytest.mark.parametrize("how", ["arithmetic", "audit"])
async def test_halted_market_is_told_once_and_again_when_the_next_owner_serves_it(how):
    world = World()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    await first.handlers[Take](Take(ALL))
    block = world.seal(trades=20, record=False)
    if how == "arithmetic":
        lies = tuple(
            replace(e, sold=e.sold + 1) if isinstance(e, Traded) and e.token == world.token else e
            for e in block.events
        )
        world.listener.blocks[-1] = replace(block, events=lies)
    async with running(first):
        if how == "audit":
            for _ in range(2):
                first.handlers[Halt](Halt(world.token, "differs"))
        await world.listener.send()
        await asyncio.sleep(0.05)
        assert told(world, world.token) == ["price", "transaction", "halted"]
        halted = [one.row for one in world.ticks.listed if one.token == world.token]
        assert halted[-1]["unavailable"] == "market_halted" and halted[-1]["price"] is None
    assert world.ticks.halts.keys() == {world.token}
    world.listener.blocks[-1] = block
    del world.listener.followers[next(iter(world.listener.followers))]
    async with running(second):
        await second.handlers[Take](Take(ALL))
        await asyncio.sleep(0.05)
        assert told(world, world.token).count("served") == 1
        assert told(world, world.token)[-1] != "halted"
        assert world.ticks.halts == {}
        assert "served" not in told(world, world.other)


async def test_take_that_comes_late_leaves_what_another_shard_took_since():
    world = World()
    first, second = world.shard("shard-0/1"), world.shard("shard-1/1")
    (other,) = {bucket_of(world.other)} - {bucket_of(world.token)}
    late = Take(frozenset({bucket_of(world.token), other}), {})
    await second.handlers[Take](Take(frozenset({other})))
    taken = await first.handlers[Take](late)
    assert [one.bucket for one in taken.owners] == [bucket_of(world.token)]
    assert dict(second.owners) == {other: 1}
    assert isinstance(world.ask(first), QuoteReply)
    assert await second.handlers[Take](late) == Taken((BucketOwner(other, "shard-1/1", 2),))
    assert await first.handlers[Take](Take(frozenset({other}), {other: 1})) == Taken(())
    assert dict(first.owners) == {bucket_of(world.token): 1}
