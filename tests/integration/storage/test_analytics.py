"""Rolling figures against plain sums over what is recorded, through reorganisations."""

import asyncio
import random

import pytest

from engine.errors import TransientError
from storage import postgres
from storage.market_reads import MarketReads
from tests.model.costs import costs
from tests.support.history import Historian, Saga, position_of
from tests.support.scenario import CHAIN_ID, address_of

DAY, HOUR = 86_400, 3_600
START = 1_767_225_600

PLAIN = """
SELECT
    tokens.token_address AS token,
    coalesce(sum(c.volume_eth) FILTER (WHERE c.time > $2 - 86400), 0) AS day,
    coalesce(sum(c.trades) FILTER (WHERE c.time > $2 - 86400), 0) AS trades,
    coalesce(sum(c.volume_eth) FILTER (WHERE c.time > $2 - 3600), 0) AS hour,
    coalesce(sum(c.volume_eth), 0) AS ever
FROM tokens
LEFT JOIN price_history AS c USING (chain_id, version, token_address)
WHERE tokens.chain_id = $1
GROUP BY 1
"""
KEPT = """
SELECT token_address AS token, volume_24h AS day, trades_24h AS trades, volume_1h AS hour,
    volume_ever AS ever
FROM token_stats WHERE chain_id = $1
"""
PRICES = "SELECT token_address, price_before FROM token_stats WHERE chain_id = $1"
TRADES = """
SELECT version, token_address, user_address, type, eth_amount, token_amount
FROM transactions WHERE chain_id = $1 AND type IN ('BUY', 'SELL') AND position >= 0
ORDER BY block_number, tx_index, log_index
"""
BEFORE = """
SELECT DISTINCT ON (token_address) token_address AS token, close
FROM price_history WHERE chain_id = $1 AND time <= $2
ORDER BY token_address, time DESC
"""


async def fetch(pool, query, *arguments):
    async with postgres.session(pool) as connection:
        return await connection.fetch(query, CHAIN_ID, *arguments)


async def compare(pool, time):
    plain = {row["token"]: tuple(row)[1:] for row in await fetch(pool, PLAIN, time)}
    kept = {row["token"]: tuple(row)[1:] for row in await fetch(pool, KEPT)}
    assert kept == plain
    before = {row["token"]: row["close"] for row in await fetch(pool, BEFORE, time - DAY)}
    rows = await fetch(pool, PRICES)
    assert {row[0]: row[1] for row in rows if row[1] is not None} == before
    trades = [tuple(row) for row in await fetch(pool, TRADES)]
    expected = {}
    for (_, _, trader), one in costs((row[:3], *row[3:]) for row in trades).items():
        expected[trader] = expected.get(trader, 0) + one.realised
    rows = await fetch(pool, "SELECT trader, realised_wei FROM trader_stats WHERE chain_id = $1")
    found = {row["trader"]: row["realised_wei"] for row in rows}
    assert {who: expected.get(who, 0) for who in found} == found
    assert {who for who, wei in expected.items() if wei} <= found.keys()
    return sum(day for day, *_ in plain.values()), len(found)


async def test_figures_are_those_of_plain_sums_through_reorganisations(
    events, pool, analytics, market_reads
):
    dice = random.Random(5)
    saga, historian = Saga(seed=9, time=START), Historian()
    incarnation = await events.claim()
    final, past, volumes, traders = -1, [], [], 0
    for turn in range(60):
        for _ in range(dice.randrange(1, 9)):
            past.append((saga.fork("", reseeded=False), _copy(historian)))
            block = saga.play()
            await events.write(
                [historian.rows(block)], incarnation=incarnation, position=position_of(block)
            )
            saga.time += dice.choice((0, 0, 0, 60, 2_000, 30_000))
        if dice.random() < 0.4 and len(past) > 3:
            depth = dice.randrange(1, 4)
            if saga.number - depth > final:
                saga, historian = past[-depth]
                del past[-depth:]
                saga = saga.fork(f"fork {turn}", reseeded=True)
                ancestor = (await events.trail(depth + 1))[depth]
                assert await events.rewind(ancestor, incarnation=incarnation)
                continue  # the figures are behind until a block follows
        if dice.random() < 0.5:
            final = max(final, saga.number - dice.randrange(3))
            await events.finalise(final, incarnation)
        if dice.random() < 0.8:
            assert await analytics.turn() == saga.number
            volume, traders = await compare(pool, await _time(pool))
            volumes.append(volume)
    assert len({*volumes}) > 10 and traders > 2
    await analytics.turn()
    overview = await market_reads.stats("overview")
    assert overview["tokens"] == len(await fetch(pool, "SELECT FROM tokens WHERE chain_id = $1"))
    creators = await market_reads.stats("creators")
    assert sum(one["tokens"] for one in creators) == overview["tokens"]
    board, total = await market_reads.traders(page=1, limit=100)
    assert [one.realised for one in board] == sorted((o.realised for o in board), reverse=True)
    assert total == len(board) == traders


async def _time(pool):
    rows = await fetch(pool, "SELECT block_time FROM cursors WHERE chain_id = $1")
    return rows[0]["block_time"]


def _copy(historian):
    return Historian(dict(historian.curves), dict(historian.markets))


async def test_a_token_that_stops_trading_leaves_the_hour_and_the_day(
    events, analytics, market_reads, reads
):
    saga, historian = Saga(seed=1, time=START), Historian()
    incarnation = await events.claim()

    async def play(act, step=0):
        saga.time += step
        act()
        block = saga.seal()
        saga.time, saga._last_at = block.header.timestamp, None
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
        await events.finalise(saga.number, incarnation)
        await analytics.turn()

    made = []
    await play(lambda: made.append(saga.launch("one")))
    await play(lambda: saga.buy(made[0], 10**17, "alice"))
    ((one,), _) = await market_reads.trending(page=1, limit=10)
    assert one.volume_1h == one.token.volume_24h > 0 and one.price_before is None
    await play(lambda: None, HOUR + 60)
    assert await market_reads.trending(page=1, limit=10) == ([], 0)
    assert (await reads.token(made[0])).volume_24h == one.volume_1h
    await play(lambda: None, DAY)
    assert (await reads.token(made[0])).volume_24h == 0
    await play(lambda: saga.buy(made[0], 10**16, "bob"), 3 * DAY)
    ((again,), _) = await market_reads.trending(page=1, limit=10)
    assert 0 < again.volume_1h == again.token.volume_24h < one.volume_1h
    assert again.price_before is not None
    overview = await market_reads.stats("overview")
    assert int(overview["volumeEver"]) == one.volume_1h + again.volume_1h


async def test_turns_at_once_count_once(events, pool, analytics):
    saga, historian = Saga(seed=2, time=START), Historian()
    incarnation = await events.claim()
    for _ in range(30):
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
    await events.finalise(saga.number - 2, incarnation)
    await asyncio.gather(*(analytics.turn() for _ in range(5)))
    await compare(pool, await _time(pool))


async def test_holders_creator_and_trades_are_listed(events, pool, market_reads, reads):
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()
    for _ in range(60):
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
    mine, total = await market_reads.of_creator(address_of("creator"), page=1, limit=3)
    assert total >= len(mine) == 3
    token = mine[0].token
    holders = await market_reads.holders(token, page=1, limit=100)
    balances = [one.balance for one in holders]
    assert balances == sorted(balances, reverse=True)
    record = await reads.token(token)
    assert len(holders) == record.holders
    seen, before = [], None
    while page := await market_reads.trades(7, before):
        seen += [(one.block_number, one.tx_index, one.log_index) for one in page]
        before = seen[-1]
    assert seen == sorted(seen, reverse=True) and len(seen) == await reads.count_trades() > 50
    king = await market_reads.king()
    assert king.phase == "curve"


async def test_a_long_past_is_added_in_parts(events, pool, analytics, monkeypatch):
    monkeypatch.setattr("storage.analytics.STEP_S", 3 * HOUR)
    saga, historian = Saga(seed=6, time=START), Historian()
    incarnation = await events.claim()
    for number in range(60):
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
        saga.time += 5_000 if number % 3 == 0 else 0
    await events.finalise(saga.number - 2, incarnation)
    steps, real = [], analytics._step

    async def step(**options):
        steps.append(await real(**options))
        return steps[-1]

    monkeypatch.setattr(analytics, "_step", step)
    assert await analytics.turn() == saga.number
    assert len(steps) > 5 and steps[:-1] == [None] * (len(steps) - 1)
    await compare(pool, await _time(pool))


async def test_replica_away_is_left_alone_for_a_while_and_the_primary_answers(
    events, pool, analytics
):
    saga, historian = Saga(seed=1, time=START), Historian()
    incarnation = await events.claim()
    for _ in range(6):
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
    await analytics.turn()
    away = await postgres.connect("postgresql://x:y@127.0.0.1:1/none", size=2, lazy=True)
    now, asked = [0.0], []
    reads = MarketReads(away, CHAIN_ID, primary=pool, clock=lambda: now[0])
    real = reads._read

    async def read(chosen, query, *arguments):
        asked.append("replica" if chosen is away else "primary")
        return await real(chosen, query, *arguments)

    reads._read = read
    alone = MarketReads(pool, CHAIN_ID)
    assert await reads.stats("overview") == await alone.stats("overview") is not None
    assert await reads.trending(page=1, limit=5) == await alone.trending(page=1, limit=5)
    assert asked == ["replica", "primary", "primary", "primary"]
    now[0] += 6
    await reads.king()
    assert asked[4:] == ["replica", "primary"]
    both = MarketReads(away, CHAIN_ID, primary=away)
    with pytest.raises(TransientError) as caught:
        await both.king()
    assert caught.value.code == "store_unavailable"
    away.terminate()
