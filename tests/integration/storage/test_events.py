import asyncio
from dataclasses import replace

import pytest

from engine.errors import ConsistencyError, TransientError
from engine.messages import Block, FeedPosition, PoolSynced, TokenCreated, Traded, Transferred
from engine.rows import BlockRows, CandleRow, OutboxRow
from storage import postgres, queries, statements, write
from storage.events import RECORDER, EventStore
from storage.statements import Statement
from tests.support.history import Historian, Traders, position_of
from tests.support.scenario import (
    CHAIN_ID,
    LAUNCHPAD,
    LINEAR,
    Scenario,
    address_of,
)

TABLES = (
    "users",
    "tokens",
    "markets",
    "events",
    "transactions",
    "transfers",
    "balances",
    "price_history",
    "outbox",
    "blocks",
)


def blocks_of(count: int, *, trades: int = 6, seed: int = 1) -> list[Block]:
    scenario = Scenario(seed=seed)
    scenario.launch("first")
    scenario.launch("second", LINEAR)
    blocks, traders = [scenario.seal()], Traders(scenario)
    for _ in range(count - 1):
        traders.trade(trades)
        blocks.append(scenario.seal())
    return blocks


def rows_of(blocks: list[Block]) -> list[BlockRows]:
    historian = Historian()
    return [historian.rows(block) for block in blocks]


async def contents(pool) -> dict[str, list[str]]:
    """Every row as text, without this server's clock."""
    async with postgres.session(pool) as connection:
        return {
            table: [
                row[0]
                for row in await connection.fetch(
                    f"SELECT (to_jsonb({table}) - 'created_at' - 'updated_at' - 'visible_at')::text"
                    f" AS line FROM {table} ORDER BY line"
                )
            ]
            for table in TABLES
        }


async def written(events: EventStore, blocks: list[Block]) -> int:
    incarnation = await events.claim()
    assert await events.write(
        rows_of(blocks), incarnation=incarnation, position=position_of(blocks[-1])
    )
    return incarnation


async def test_position_of_empty_history_is_minus_one(events):
    assert await events.position() == FeedPosition(-1, bytes(32))
    assert await events.claim() == 1
    assert await events.position() == FeedPosition(-1, bytes(32))


async def test_write_twice_gives_the_same_rows(pool, events):
    blocks = blocks_of(5)
    incarnation = await written(events, blocks)
    before = await contents(pool)
    assert all(before.values())
    again = await events.write(
        rows_of(blocks), incarnation=incarnation, position=position_of(blocks[-1])
    )
    assert again
    assert await contents(pool) == before
    assert await events.position() == position_of(blocks[-1])


async def test_write_block_by_block_gives_the_same_rows_as_at_once(pool, events):
    blocks, other = blocks_of(6), EventStore(pool, CHAIN_ID)
    incarnation = await events.claim()
    for block, rows in zip(blocks, rows_of(blocks), strict=True):
        assert await events.write([rows], incarnation=incarnation, position=position_of(block))
    one_by_one = await contents(pool)
    async with postgres.session(pool) as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}, cursors CASCADE")
    await written(other, blocks)
    assert await contents(pool) == one_by_one


async def test_write_overlapping_batches_skips_known_blocks(pool, events):
    blocks = blocks_of(6)
    rows = rows_of(blocks)
    incarnation = await events.claim()
    await events.write(rows[:4], incarnation=incarnation, position=position_of(blocks[3]))
    await events.write(rows[1:6], incarnation=incarnation, position=position_of(blocks[5]))
    parts = await contents(pool)
    async with postgres.session(pool) as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}, cursors CASCADE")
    await written(events, blocks)
    assert await contents(pool) == parts


async def test_write_identity_holds_even_when_the_cursor_was_lost(pool, events):
    blocks = blocks_of(3)
    incarnation = await written(events, blocks)
    before = await contents(pool)
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE cursors SET block_number = -1, block_hash = decode(repeat('00', 32), 'hex')"
        )
    await events.write(
        [replace(rows, candles=()) for rows in rows_of(blocks)],
        incarnation=incarnation,
        position=position_of(blocks[-1]),
    )
    assert await contents(pool) == before


async def test_write_fenced_writes_nothing(pool, events):
    blocks = blocks_of(3)
    old = await events.claim()
    await events.claim()
    fenced = await events.write(rows_of(blocks), incarnation=old, position=position_of(blocks[-1]))
    assert fenced is False
    assert not any((await contents(pool)).values())
    assert await events.position() == FeedPosition(-1, bytes(32))


async def test_write_two_writers_racing_only_the_newest_wins(pool):
    blocks = blocks_of(12, trades=10)
    rows = rows_of(blocks)
    wins = {"old": 0, "new": 0}

    async def write_all(name: str, store: EventStore, incarnation: int) -> None:
        for block, row in zip(blocks, rows, strict=True):
            done = await store.write([row], incarnation=incarnation, position=position_of(block))
            wins[name] += done
            if not done:
                return

    old, new = EventStore(pool, CHAIN_ID), EventStore(pool, CHAIN_ID)
    first = asyncio.create_task(write_all("old", old, await old.claim()))
    await asyncio.sleep(0.03)
    await write_all("new", new, await new.claim())
    await first
    assert wins["old"] < len(blocks)
    assert wins["new"] == len(blocks)
    raced = await contents(pool)
    async with postgres.session(pool) as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}, cursors CASCADE")
    await written(new, blocks)
    assert await contents(pool) == raced


async def test_claim_during_a_write_waits_and_then_sees_all_of_it(pool, events, monkeypatch):
    blocks = blocks_of(2)
    incarnation = await events.claim()
    slow = Statement("slow", lambda _: [[1]])
    monkeypatch.setitem(
        statements._SQL, "slow", "SELECT pg_sleep(0.3), $1::bigint, $2::text::integer[]"
    )
    monkeypatch.setattr(write, "STATEMENTS", (*write.STATEMENTS, slow))
    writing = asyncio.create_task(
        events.write(rows_of(blocks), incarnation=incarnation, position=position_of(blocks[-1]))
    )
    await asyncio.sleep(0.15)
    # What the claim's owner reads now is the last word of every earlier incarnation.
    assert await events.claim() == incarnation + 1
    assert await events.position() == position_of(blocks[-1])
    assert await writing


KILL = "SELECT pg_terminate_backend(pg_backend_pid()), $1::bigint, $2::text::integer[]"


@pytest.mark.parametrize("point", range(len(write.STATEMENTS) + 1))
async def test_write_killed_between_statements_leaves_nothing(pool, events, monkeypatch, point):
    blocks = blocks_of(3)
    incarnation = await events.claim()
    kill = Statement("kill", lambda _: [[1]])
    killed = (*write.STATEMENTS[:point], kill, *write.STATEMENTS[point:])
    with monkeypatch.context() as patch:
        patch.setitem(statements._SQL, "kill", KILL)
        patch.setattr(write, "STATEMENTS", killed)
        with pytest.raises(TransientError):
            await events.write(
                rows_of(blocks), incarnation=incarnation, position=position_of(blocks[-1])
            )
    assert not any((await contents(pool)).values())
    assert await events.position() == FeedPosition(-1, bytes(32))
    assert await events.write(
        rows_of(blocks), incarnation=incarnation, position=position_of(blocks[-1])
    )


async def test_write_wrong_parent_is_refused(pool, events):
    blocks = blocks_of(3)
    incarnation = await written(events, blocks[:2])
    before = await contents(pool)
    rows = rows_of(blocks)[2]
    forked = replace(rows, header=replace(rows.header, parent_hash=bytes(32)))
    with pytest.raises(ConsistencyError):
        await events.write([forked], incarnation=incarnation, position=position_of(blocks[2]))
    assert await contents(pool) == before


async def test_write_other_hash_of_a_known_block_is_refused(events):
    blocks = blocks_of(3)
    incarnation = await written(events, blocks)
    rows = rows_of(blocks)[2]
    other = replace(rows, header=replace(rows.header, hash=bytes(32)))
    with pytest.raises(ConsistencyError):
        await events.write([other], incarnation=incarnation, position=position_of(blocks[2]))


async def test_trail_names_the_newest_blocks_and_is_bounded(pool, events, monkeypatch):
    assert await events.trail(9) == []
    monkeypatch.setattr("storage.events.BLOCKS_KEPT", 4)
    blocks = blocks_of(9)
    incarnation = await written(events, blocks[:6])
    assert await events.trail(3) == [position_of(block) for block in reversed(blocks[3:6])]
    await events.write(
        rows_of(blocks)[6:], incarnation=incarnation, position=position_of(blocks[-1])
    )
    assert await events.trail(99) == [position_of(block) for block in reversed(blocks[4:])]


async def test_write_other_hash_of_a_block_below_a_lost_cursor_is_refused(pool, events):
    blocks = blocks_of(2)
    incarnation = await written(events, blocks)
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE cursors SET block_number = -1, block_hash = decode(repeat('00', 32), 'hex')"
        )
    rows = rows_of(blocks)[0]
    other = replace(rows, header=replace(rows.header, hash=b"h" * 32))
    with pytest.raises(ConsistencyError, match="1 blocks"):
        await events.write(
            [other], incarnation=incarnation, position=FeedPosition(1, other.header.hash)
        )


async def test_event_seqs_do_not_count_the_events_of_pairs(events):
    blocks = blocks_of(2)
    rows = rows_of(blocks)
    at, token = rows[1].events[-1].at, rows[0].tokens[0].token
    pool_at = replace(at, position=9, log_index=at.log_index + 9, emitter=b"\xff" * 20)
    synced = PoolSynced(pool_at, token, 5, 6)
    rows[1] = replace(rows[1], events=(*rows[1].events, synced))
    await events.write(rows, incarnation=await events.claim(), position=position_of(blocks[1]))
    last = max(event.event_seq for event in rows[1].events[:-1])
    assert await events.event_seqs() == {LAUNCHPAD: last}
    found = [
        e async for c in events.market_events(range(1024), after_block=1, upto_block=2) for e in c
    ]
    assert found[-1] == synced


async def test_write_second_event_of_a_number_is_refused(pool, events):
    blocks = blocks_of(3)
    incarnation = await written(events, blocks[:2])
    rows = rows_of(blocks)[2]
    doubled = tuple(replace(event, event_seq=rows.events[0].event_seq) for event in rows.events)
    with pytest.raises(ConsistencyError):
        await events.write(
            [replace(rows, events=doubled)],
            incarnation=incarnation,
            position=position_of(blocks[2]),
        )


async def test_write_trade_of_unknown_token_is_refused(pool, events):
    blocks = blocks_of(3)
    incarnation = await events.claim()
    with pytest.raises(ConsistencyError):
        await events.write(
            rows_of(blocks)[1:], incarnation=incarnation, position=position_of(blocks[-1])
        )
    assert not any((await contents(pool)).values())


async def test_write_blocks_without_events_move_the_cursor(events):
    scenario, historian = Scenario(), Historian()
    blocks = [scenario.seal() for _ in range(3)]
    incarnation = await events.claim()
    rows = [historian.rows(block) for block in blocks]
    assert await events.write(rows, incarnation=incarnation, position=position_of(blocks[-1]))
    assert await events.position() == position_of(blocks[-1])


async def test_write_hostile_text_is_kept(events, reads):
    scenario, historian = Scenario(), Historian()
    name = "<b>火箭🚀'; DROP TABLE tokens; --\ud83d".encode("utf-8", "replace").decode()
    token = scenario.launch(name)
    block = scenario.seal()
    await events.write(
        [historian.rows(block)], incarnation=await events.claim(), position=position_of(block)
    )
    record = await reads.token(token)
    assert record is not None and record.name == name
    [[event]] = [c async for c in events.market_events(range(1024), after_block=-1, upto_block=9)]
    assert isinstance(event, TokenCreated) and event == block.events[0]


async def test_market_events_come_back_whole_and_in_order(events):
    blocks = blocks_of(8)
    await written(events, blocks)
    wanted = [e for block in blocks for e in block.events if not isinstance(e, Transferred)]
    found = []
    async for part in events.market_events(range(1024), after_block=-1, upto_block=99, chunk=7):
        assert 0 < len(part) <= 7
        found += part
    assert found == wanted


async def test_market_events_keep_to_buckets_and_blocks(events):
    blocks = blocks_of(8)
    await written(events, blocks)
    first = rows_of(blocks)[0].tokens[0]
    found = [
        event
        async for part in events.market_events([first.bucket], after_block=2, upto_block=5)
        for event in part
    ]
    assert found == [
        event
        for block in blocks[2:5]
        for event in block.events
        if isinstance(event, Traded) and event.token == first.token
    ]
    nothing = [part async for part in events.market_events([], after_block=-1, upto_block=99)]
    assert nothing == []


async def test_state_for_the_recorder_and_the_listener(events):
    assert await events.event_seqs() == {}
    blocks = blocks_of(4)
    rows = rows_of(blocks)
    await written(events, blocks)
    tokens = {token.token: token for token in rows[0].tokens}
    assert await events.tokens() == {address: 1 for address in tokens}
    last_seq = max(event.event_seq for row in rows for event in row.events)
    assert await events.event_seqs() == {LAUNCHPAD: last_seq}
    curves = await events.token_curves([*tokens, bytes(20)])
    assert curves == {address: token.curve for address, token in tokens.items()}
    closes = {candle.token: candle.close for row in rows for candle in row.candles}
    markets = await events.last_markets(list(tokens))
    assert {token: row.price_e18 for token, row in markets.items()} == closes


async def test_last_close_of_a_token_that_never_traded_is_its_first_price(events):
    blocks = blocks_of(1)
    await written(events, blocks)
    for token in rows_of(blocks)[0].tokens:
        (market,) = (await events.last_markets([token.token])).values()
        assert market.price_e18 == token.initial_price_e18


async def test_event_seqs_of_two_launchpads(pool, events):
    blocks = blocks_of(3)
    await written(events, blocks)
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE events SET emitter = $1, version = 2 WHERE event_seq = 5", bytes([9] * 20)
        )
    seqs = await events.event_seqs()
    assert seqs[bytes([9] * 20)] == 5 and seqs[LAUNCHPAD] > 5


async def test_chains_do_not_see_each_other(pool, events):
    await written(events, blocks_of(3))
    other = EventStore(pool, 1)
    assert await other.claim() == 1
    assert await other.position() == FeedPosition(-1, bytes(32))
    assert await other.tokens() == {}


async def test_candles_merge_over_writes(events, reads):
    blocks = blocks_of(1)
    historian = Historian()
    first = historian.rows(blocks[0])
    token = first.tokens[0].token
    minute = 1_700_000_040
    scenario = Scenario()
    parts = [(10, 15, 8, 12, 100), (12, 30, 11, 20, 50), (20, 21, 2, 5, 7)]
    incarnation = await events.claim()
    await events.write([first], incarnation=incarnation, position=position_of(blocks[0]))
    scenario.number, scenario._parent = blocks[0].header.number, blocks[0].header.hash
    for opened, high, low, close, volume in parts:
        block = scenario.seal()
        candle = CandleRow(token, minute, opened, high, low, close, volume, 3 * volume, 2)
        rows = replace(historian.rows(block), candles=(candle,))
        await events.write([rows], incarnation=incarnation, position=position_of(block))
    [merged], before = await reads.candles(token, start=minute, end=minute + 60, step_s=60)
    assert merged == CandleRow(token, minute, 10, 30, 2, 5, 157, 471, 6)
    assert before is None


def work(key: str) -> OutboxRow:
    return OutboxRow(key, "points", LAUNCHPAD, {"amount": "12345678901234567890"}, (bytes(32), 0))


async def outbox(pool) -> dict[str, bool]:
    async with postgres.session(pool) as connection:
        rows = await connection.fetch("SELECT key, visible_at IS NOT NULL AS seen FROM outbox")
    return {row["key"]: row["seen"] for row in rows}


async def test_finalise_shows_outbox_rows_up_to_the_block(pool, events):
    blocks = blocks_of(4)
    rows = [replace(row, outbox=(work(f"work {row.header.number}"),)) for row in rows_of(blocks)]
    incarnation = await events.claim()
    await events.write(rows[:3], incarnation=incarnation, position=position_of(blocks[2]))
    assert await outbox(pool) == {"work 1": False, "work 2": False, "work 3": False}
    assert await events.finalise(2, incarnation)
    assert await outbox(pool) == {"work 1": True, "work 2": True, "work 3": False}
    assert await events.finalise(4, incarnation)
    await events.write(rows[3:], incarnation=incarnation, position=position_of(blocks[3]))
    assert all((await outbox(pool)).values())


async def test_finalise_that_waits_for_a_write_shows_what_it_wrote(pool, events):
    incarnation = await written(events, blocks_of(1))
    lock = queries.load("write")["lock_cursor"]
    late = "INSERT INTO outbox VALUES ($1, 'late', 'points', 1, NULL, 2, '{}')"
    async with postgres.transaction(pool) as writer:
        # As a write that was given up by who asked for it, and goes on.
        await writer.fetchrow(lock, CHAIN_ID, RECORDER, incarnation)
        await writer.execute(late, CHAIN_ID)
        finalising = asyncio.create_task(events.finalise(2, incarnation))
        await asyncio.sleep(0.3)
        assert not finalising.done()
    assert await finalising
    assert (await outbox(pool))["late"]


async def test_finalise_fenced_shows_nothing(pool, events):
    blocks = blocks_of(1)
    incarnation = await written(events, blocks)
    await events.claim()
    assert await events.finalise(9, incarnation) is False
    assert not any((await outbox(pool)).values())


async def test_balances_follow_transfers(pool, events):
    blocks = blocks_of(10, trades=12)
    await written(events, blocks)
    expected: dict[tuple[bytes, bytes], int] = {}
    for row in rows_of(blocks):
        for move in row.transfers:
            for holder, change in ((move.sender, -move.amount), (move.recipient, move.amount)):
                key = (move.token, holder)
                expected[key] = expected.get(key, 0) + change
    async with postgres.session(pool) as connection:
        found = await connection.fetch("SELECT token_address, holder, balance FROM balances")
        holders = await connection.fetch("SELECT token_address, holders FROM markets")
    balances = {(row["token_address"], row["holder"]): row["balance"] for row in found}
    assert {key: value for key, value in balances.items() if value} == {
        key: value for key, value in expected.items() if value and key[1] != bytes(20)
    }
    for row in holders:
        assert row["holders"] == sum(
            1
            for (token, holder), value in expected.items()
            if token == row["token_address"] and value > 0 and holder not in (LAUNCHPAD, bytes(20))
        )


async def test_balance_below_zero_is_refused(pool, events):
    scenario, historian = Scenario(), Historian()
    token = scenario.launch("first")
    scenario.buy(token, 10**16)
    block = scenario.seal()
    rows = historian.rows(block)
    stolen = replace(rows.transfers[-1], sender=address_of("nobody"))
    with pytest.raises(ConsistencyError):
        await events.write(
            [replace(rows, transfers=(*rows.transfers[:-1], stolen))],
            incarnation=await events.claim(),
            position=position_of(block),
        )
    assert not any((await contents(pool)).values())
