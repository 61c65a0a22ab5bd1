"""Thinned price history shows the same in wider steps, and is what the chain makes."""

import random

import pytest

from engine.messages import FeedPosition
from storage import compare, postgres, thinning
from storage.events import EventStore
from storage.thinning import DAY_S, HOUR_S, Thinning
from tests.support.history import Historian, Saga, position_of
from tests.support.scenario import CHAIN_ID

START = 1_767_225_600
KEPT = {"minutes_s": 2 * DAY_S, "hours_s": 4 * DAY_S}


@pytest.fixture
async def played(events, analytics):
    """Ten days of trades, final but for the last blocks."""
    dice, saga, historian = random.Random(3), Saga(seed=8, time=START), Historian()
    incarnation, blocks = await events.claim(), []
    while saga.time < START + 10 * DAY_S:
        block = saga.play()
        blocks.append(historian.rows(block))
        await events.write(blocks[-1:], incarnation=incarnation, position=position_of(block))
        saga.time += dice.choice((0, 30, 60, 900, 9_000, 20_000))
    await events.finalise(saga.number - 3, incarnation)
    await analytics.turn()
    return saga, blocks


async def rows(pool, *, below=2**62):
    async with postgres.session(pool) as connection:
        return await connection.fetch(
            "SELECT * FROM price_history WHERE chain_id = $1 AND time < $2"
            " ORDER BY token_address, time",
            CHAIN_ID,
            below,
        )


async def charts(reads, tokens, now):
    """Every chart that is to stay: day steps for ever, hours and minutes while they are kept."""
    found = []
    for token in tokens:
        for step_s, reach_s in ((DAY_S, 20 * DAY_S), (HOUR_S, 3 * DAY_S), (60, DAY_S)):
            end = now - now % step_s + step_s
            found.append(await reads.candles(token, start=end - reach_s, end=end, step_s=step_s))
    return found


async def test_charts_are_the_same_before_and_after(played, pool, reads, analytics):
    saga, blocks = played
    tokens, now = sorted(saga.tokens), blocks[-1].header.timestamp
    before, many = await charts(reads, tokens, now), await rows(pool)
    thin = Thinning(pool, CHAIN_ID, **KEPT)
    gone = await thin.turn(1_000)
    after = await rows(pool)
    assert gone == len(many) - len(after) > len(many) / 5
    assert await charts(reads, tokens, now) == before
    assert await thin.turn(1_000) == 0, "all that is old enough is done"
    assert await rows(pool) == after
    edges = {HOUR_S: now - 2 * DAY_S, DAY_S: now - 4 * DAY_S}
    for step_s, edge in edges.items():
        old = [row["time"] for row in after if row["time"] < edge - 2 * step_s]
        assert old and all(time % step_s == 0 for time in old)
    fresh = [row for row in many if row["time"] >= now - 2 * DAY_S]
    assert [row for row in after if row["time"] >= now - 2 * DAY_S] == fresh and fresh


async def test_figures_go_on_being_right_over_thinned_candles(played, pool, events, analytics):
    await Thinning(pool, CHAIN_ID, **KEPT).turn(1_000)
    async with postgres.session(pool) as connection:
        query = "SELECT token_address, volume_24h, volume_ever FROM token_stats ORDER BY 1"
        before = await connection.fetch(query)
        await analytics.turn()
        assert await connection.fetch(query) == before
        # Worked out from nothing, over days of every width.
        await connection.execute("TRUNCATE token_stats, analytics_windows")
        await analytics.turn()
        fresh = await connection.fetch(query)
    assert {tuple(row) for row in fresh} <= {tuple(row) for row in before} and len(fresh) > 2


async def test_nothing_is_thinned_that_is_not_final_or_still_counted(
    played, pool, events, analytics
):
    before = await rows(pool)
    async with postgres.session(pool) as connection:
        final = await connection.fetchval("SELECT finalised_number FROM cursors")
        await connection.execute("UPDATE cursors SET finalised_number = $1", final // 2)
        time = await connection.fetchval(
            "SELECT block_time FROM blocks WHERE number = $1", final // 2
        )
        await Thinning(pool, CHAIN_ID, minutes_s=0, hours_s=0).turn(1_000)
        assert len(await rows(pool)) < len(before)
        kept = [row for row in before if row["time"] >= time - time % HOUR_S]
        after = await rows(pool)
        assert [row for row in after if row["time"] >= time - time % HOUR_S] == kept
        await connection.execute("UPDATE cursors SET finalised_number = $1", final)
        since = await connection.fetchval("SELECT since FROM analytics_windows")
        await Thinning(pool, CHAIN_ID, minutes_s=0, hours_s=0).turn(1_000)
        kept = [row for row in before if row["time"] >= since]
        assert [row for row in await rows(pool) if row["time"] >= since] == kept and kept
        await connection.execute("TRUNCATE analytics_windows, candle_thinning")
    before = await rows(pool)
    assert await Thinning(pool, CHAIN_ID, minutes_s=0, hours_s=0).turn() == 0
    assert await rows(pool) == before, "nobody has counted them yet"


async def test_killed_at_any_batch_ends_where_an_undisturbed_one_does(
    played, pool, monkeypatch, database_url
):
    monkeypatch.setattr("storage.thinning.TOKENS_A_BATCH", 2)
    _, blocks = played
    async with postgres.session(pool) as connection:
        whole = await compare.digests(
            connection, CHAIN_ID, schema="public", kept=compare.Kept(-1, {})
        )
    dice, thin, spoilt = random.Random(1), Thinning(pool, CHAIN_ID, **KEPT), 0
    real = thin._merge

    async def dying(connection, step_s, **rest):
        nonlocal spoilt
        found = await real(connection, step_s, **rest)
        if dice.random() < 0.2:
            spoilt += 1
            raise ConnectionResetError("killed before the commit")
        return found

    monkeypatch.setattr(thin, "_merge", dying)
    compared = 0
    while True:
        try:
            await thin.turn(3)
            if await done(pool, thin):
                break
        except Exception as error:
            assert "ConnectionResetError" in str(error)
        if compared < 3:
            compared += await equal_to_rebuilt(pool, database_url, blocks)
    assert spoilt > 5 and compared == 3
    async with postgres.session(pool) as connection:
        edges = await thinning.edges(connection, CHAIN_ID)
        thinned = await compare.digests(
            connection, CHAIN_ID, schema="public", kept=compare.Kept(-1, {})
        )
    assert edges.keys() == {HOUR_S, DAY_S}
    assert thinned["price_history"].rows < whole["price_history"].rows
    assert await equal_to_rebuilt(pool, database_url, blocks)


async def done(pool, thin) -> bool:
    marks = []
    async with postgres.session(pool) as connection:
        for step_s in (HOUR_S, DAY_S):
            mark, edge = await thin._mark(connection, step_s), await thin._edge(connection, step_s)
            marks.append(mark.until + step_s > edge)
    return all(marks)


async def equal_to_rebuilt(pool, url, blocks) -> bool:
    """As `risecurve replay` compares: rows rebuilt beside against rows that were thinned."""
    schema = "scratch_thinning"
    async with postgres.session(pool) as connection:
        edges = await thinning.edges(connection, CHAIN_ID)
        tables = await compare.digests(
            connection, CHAIN_ID, schema="public", kept=compare.Kept(-1, edges)
        )
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    scratch = await postgres.connect(url, size=2, schema=schema)
    try:
        await postgres.migrate(scratch)
        store = EventStore(scratch, CHAIN_ID)
        incarnation = await store.claim()
        last = blocks[-1].header
        position = FeedPosition(last.number, last.hash)
        await store.write(blocks, incarnation=incarnation, position=position)
        async with postgres.session(scratch) as connection:
            rebuilt = await compare.digests(
                connection, CHAIN_ID, schema=schema, kept=compare.Kept(-1, edges)
            )
            assert rebuilt["price_history"] == tables["price_history"]
            lines = await compare.differing(
                scratch,
                CHAIN_ID,
                table="price_history",
                schemas=("public", schema),
                kept=compare.Kept(-1, edges),
            )
            assert lines == []
            await connection.execute(
                f"UPDATE {schema}.price_history SET volume_eth = volume_eth + 1"
                f" WHERE time = (SELECT min(time) FROM {schema}.price_history)"
            )
            spoilt = await compare.digests(
                connection, CHAIN_ID, schema=schema, kept=compare.Kept(-1, edges)
            )
            assert spoilt["price_history"] != tables["price_history"]
    finally:
        scratch.terminate()
        async with postgres.session(pool) as connection:
            await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    return True
