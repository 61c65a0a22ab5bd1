"""What comes from the cache is what Postgres answers: under writes, rewinds and without Redis."""

import asyncio
import random
from dataclasses import replace

import pytest

from storage import cached as kept_rows
from storage import postgres, valkey
from storage.cache import RowCache
from storage.cached import CachedDocuments, CachedReads
from storage.documents import connect, database
from tests.support.history import Historian, Saga, position_of
from tests.support.scenario import CHAIN_ID, address_of

START = 1_767_225_600
STEPS = (60, 1_800)
WALLETS = ("alice", "carol", "erin")


@pytest.fixture
def cache(redis, namespace):
    return RowCache(redis, namespace=namespace)


@pytest.fixture
def cached(pool, cache):
    return CachedReads(pool, CHAIN_ID, cache, keep_from=1)


def copied(historian: Historian) -> Historian:
    return Historian(dict(historian.curves), dict(historian.markets))


async def same(reads, cached, tokens, now: int) -> None:
    for token in tokens:
        for step_s in STEPS:
            end = now - now % step_s + step_s
            span = {"start": end - 30 * step_s, "end": end, "step_s": step_s}
            expected = await reads.candles(token, **span)
            for _ in range(2):
                assert await cached.candles(token, **span) == expected
    for name in WALLETS:
        expected = await reads.holdings(address_of(name), 100, closed=name != "alice")
        for _ in range(2):
            found = await cached.holdings(address_of(name), 100, closed=name != "alice")
            # Their order follows prices, which are not of the cache.
            assert {*found.holdings} == {*expected.holdings}
            assert replace(found, holdings=expected.holdings) == expected


async def test_cached_answers_are_those_without_it_through_reorganisations(
    events, reads, cached, cache
):
    dice = random.Random(11)
    saga, historian, past = Saga(seed=12, time=START), Historian(), []
    incarnation = await events.claim()
    rewound = 0
    for turn in range(30):
        past.append((saga.fork("", reseeded=False), copied(historian)))
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
        saga.time += dice.choice((0, 0, 20, 60, 400, 4_000))
        tokens = sorted(saga.tokens)[:2]
        await same(reads, cached, tokens, block.header.timestamp)
        if dice.random() < 0.35 and len(past) > 4:
            depth = dice.randrange(1, 4)
            ancestor = (await events.trail(depth + 1))[depth]
            saga, historian = past[-depth]
            del past[-depth:]
            saga = saga.fork(f"fork {turn}", reseeded=True)
            assert await events.rewind(ancestor, incarnation=incarnation)
            rewound += 1
            await same(reads, cached, sorted(saga.tokens)[:2], block.header.timestamp)
    assert rewound > 5 and cache.found > 150 and cache.failed == 0


async def test_chart_of_a_token_that_trades_on_is_found_while_its_step_is_open(
    events, reads, cached, cache
):
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()

    async def play(act) -> None:
        act()
        block = saga.seal()
        saga.time, saga._last_at = block.header.timestamp, None
        rows = historian.rows(block)
        await events.write([rows], incarnation=incarnation, position=position_of(block))

    made = []
    await play(lambda: made.append(saga.launch("one")))
    for _ in range(12):
        await play(lambda: saga.buy(made[0], 10**15))
    end = saga.time - saga.time % 3_600 + 3_600
    saga.time = end
    await play(lambda: saga.buy(made[0], 10**15))
    span = {"start": end - 3_600 * 5, "end": end + 3_600, "step_s": 3_600}
    await cached.candles(made[0], **span)
    before = cache.found
    for number in range(5):
        await play(lambda: saga.buy(made[0], 10**15, "bob"))
        assert await cached.candles(made[0], **span) == await reads.candles(made[0], **span)
        assert cache.found == before + number + 1
    mine = address_of("alice")
    await cached.holdings(mine, 100)
    await play(lambda: saga.buy(made[0], 10**15, "bob"))
    before = cache.found
    found = await cached.holdings(mine, 100)
    assert cache.found == before + 1 and found.block == saga.number, "others traded, alice did not"
    assert found == await reads.holdings(mine, 100)


async def test_hidden_token_leaves_the_cached_wallet_at_once(events, reads, cached, pool):
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()
    token = saga.launch("one")
    saga.buy(token, 10**15)
    block = saga.seal()
    await events.write(
        [historian.rows(block)], incarnation=incarnation, position=position_of(block)
    )
    mine = address_of("alice")
    assert len((await cached.holdings(mine, 100)).holdings) == 1
    for visibility, left in (("hidden", 0), ("visible", 1)):
        async with postgres.session(pool) as connection:
            await connection.execute("UPDATE tokens SET visibility = $1", visibility)
        assert len((await cached.holdings(mine, 100)).holdings) == left
        assert await cached.holdings(mine, 100) == await reads.holdings(mine, 100)


async def test_new_recorder_makes_what_was_remembered_void(events, cached, cache):
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()
    saga.buy(saga.launch("one"), 10**15)
    block = saga.seal()
    await events.write(
        [historian.rows(block)], incarnation=incarnation, position=position_of(block)
    )
    await cached.holdings(address_of("alice"), 100)
    await events.claim()
    found = cache.found
    await cached.holdings(address_of("alice"), 100)
    assert cache.found == found


async def test_wallet_of_many_tokens_is_read_anew(events, reads, cached, cache):
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()
    for number in range(4):
        saga.buy(saga.launch(f"coin {number}"), 10**15)
    block = saga.seal()
    await events.write(
        [historian.rows(block)], incarnation=incarnation, position=position_of(block)
    )
    for _ in range(2):
        assert await cached.holdings(address_of("alice"), 4) == await reads.holdings(
            address_of("alice"), 4
        )
    assert cache.found == 0


async def test_documents_are_kept_and_unknown_ones_are_not(mongodb_url, cache):
    client = connect(mongodb_url)
    documents, others = (CachedDocuments(database(client), cache, keep_from=1) for _ in range(2))
    hashes = [bytes([number] * 32) for number in range(3)]
    document = {"name": "火箭", "symbol": "T"}
    now = {"creator": bytes(20), "now": 1.0}
    await documents.store_metadata(hashes[0], document, **now)
    # From MongoDB, from the door's memory, and, at another door, from Redis.
    for one, found in ((documents, 0), (documents, 0), (others, 1)):
        assert await one.metadata(hashes) == {f"0x{hashes[0].hex()}": document}
        assert cache.found == found
    await documents.store_metadata(hashes[1], document | {"symbol": "U"}, **now)
    assert (await documents.metadata(hashes))[f"0x{hashes[1].hex()}"]["symbol"] == "U"
    await database(client).drop_collection("metadata")
    for one in (documents, others):
        assert len(await one.metadata(hashes)) == 2
    await client.close()


async def test_documents_in_memory_are_bounded(mongodb_url, cache, monkeypatch):
    monkeypatch.setattr(kept_rows, "DOCUMENTS_KEPT_MAX", 3)
    client = connect(mongodb_url)
    documents = CachedDocuments(database(client), cache, keep_from=1)
    for number in range(9):
        at = {"creator": bytes(20), "now": 1.0}
        await documents.store_metadata(bytes([number] * 32), {"name": str(number)}, **at)
        assert len(await documents.metadata([bytes([number] * 32)])) == 1
    assert len(documents._known) == 3
    await client.close()


async def test_what_is_asked_for_once_is_read_in_one_trip_and_twice_is_kept(
    events, reads, pool, cache, mongodb_url
):
    cached = CachedReads(pool, CHAIN_ID, cache)
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()
    token = saga.launch("one")
    for _ in range(3):
        saga.buy(token, 10**15)
        block = saga.seal()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
        saga.time += 3_600
    end = block.header.timestamp - block.header.timestamp % 3_600 + 3_600
    span = {"start": START - START % 3_600, "end": end, "step_s": 3_600}
    mine = address_of("alice")
    for asked, found in ((0, 0), (2, 0), (2, 2)):
        assert await cached.candles(token, **span) == await reads.candles(token, **span)
        assert await cached.holdings(mine, 100) == await reads.holdings(mine, 100)
        assert (cache.missed, cache.found) == (asked, found)
    client = connect(mongodb_url)
    documents, one = CachedDocuments(database(client), cache), b"\x05" * 32
    await documents.store_metadata(one, {"name": "five"}, creator=bytes(20), now=1.0)
    for asked, found in ((2, 2), (3, 2), (3, 3)):
        assert await documents.metadata([one]) == {"0x" + one.hex(): {"name": "five"}}
        assert (cache.missed, cache.found) == (asked, found)
        documents._known.clear()
    await client.close()


async def test_cache_stays_within_its_bytes_and_drops_what_ends_first(redis, namespace):
    small = RowCache(redis, namespace=namespace, bytes_max=5_000)
    await small.put({"long": b"x" * 1_000}, seconds=1_000)
    for number in range(20):
        await small.put({f"short {number}": b"x" * 1_000}, seconds=100)
    await small.put({"huge": b"x" * 1_000_000}, seconds=100)
    names = ["long", "huge", *(f"short {number}" for number in range(20))]
    kept = {key for key, value in zip(names, await small.get(names), strict=True) if value}
    assert "long" in kept and "short 19" in kept and len(kept) == 4
    sizes = await redis.hgetall(f"{namespace}:rows:sizes")
    assert int(sizes.pop(b"")) == sum(map(int, sizes.values())) <= 5_000
    assert await redis.zcard(f"{namespace}:rows:ends") == len(kept) == len(sizes)
    await small.put({"long": b"y"}, seconds=1)
    sizes = await redis.hgetall(f"{namespace}:rows:sizes")
    assert int(sizes.pop(b"")) == sum(map(int, sizes.values()))
    assert 0 < await redis.ttl(f"{namespace}:rows:short 19") <= 100


async def test_redis_away_is_asked_once_a_second_and_answers_stay_the_same(
    events, reads, pool, namespace
):
    client = valkey.connect("redis://127.0.0.1:1", timeout_s=1)
    now = [100.0]
    cache = RowCache(client, namespace=namespace, clock=lambda: now[0])
    cached = CachedReads(pool, CHAIN_ID, cache, keep_from=1)
    saga, historian = Saga(seed=3, time=START), Historian()
    incarnation = await events.claim()
    for _ in range(6):
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
    await same(reads, cached, sorted(saga.tokens), block.header.timestamp)
    assert cache.failed == 1 and cache.found == 0
    now[0] += 1.5
    await same(reads, cached, sorted(saga.tokens), block.header.timestamp)
    assert cache.failed == 2
    await client.aclose()


async def test_redis_that_hangs_costs_a_quarter_of_a_second_once(pool, namespace, events):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = valkey.connect(f"redis://127.0.0.1:{port}", timeout_s=5)
    cache = RowCache(client, namespace=namespace)
    began = asyncio.get_running_loop().time()
    assert await cache.get(["a"]) == [None] and await cache.get(["b", "c"]) == [None, None]
    await cache.put({"a": b"1"}, seconds=5)
    assert asyncio.get_running_loop().time() - began < 1 and cache.failed == 1
    await client.aclose()
    server.close()
    await server.wait_closed()
