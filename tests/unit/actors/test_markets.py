"""The door's client of the shards: one call for many, stale incarnations refused."""

import asyncio

from actors.markets import Markets
from engine.buckets import bucket_of
from engine.control import Directory, Instance, MarketViews, Ping, QuoteReplies, Quotes, Views
from engine.limits import BUCKETS, QUOTE_BATCH_MAX, QUOTE_BATCH_SPLIT, QUOTE_CALLS_PER_SHARD
from engine.messages import BucketOwner, QuoteRequest, Refusal
from tests.support import fake_roles

TOKEN = b"t" * 20
REQUEST = QuoteRequest(TOKEN, True, False, 1)


class FakeShard:
    """Answers every quote with a refusal that carries its incarnation."""

    def __init__(self, incarnation, code="zero_output", wait_s=0.0):
        self.incarnation, self.code, self.wait_s = incarnation, code, wait_s
        self.sizes = []
        self.asked, self.released = asyncio.Event(), asyncio.Event()
        self.released.set()
        self.busy = self.busiest = 0
        self.handlers = {Quotes: self.quotes, Views: self.views}

    async def quotes(self, message):
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        self.sizes.append(len(message.requests))
        self.asked.set()
        await asyncio.sleep(self.wait_s)
        await self.released.wait()
        self.busy -= 1
        return QuoteReplies(tuple(self._reply(r.token) for r in message.requests))

    def views(self, message):
        return MarketViews(tuple(self._reply(token) for token in message.tokens))

    def _reply(self, token):
        return Refusal(self.code, "", bucket_of(token), self.incarnation)


def directory(version, *owners):
    instances = tuple(Instance("shard-0", "shard", name) for name, _ in owners)
    name, incarnation = owners[-1]
    rows = tuple(BucketOwner(bucket, name, incarnation) for bucket in range(BUCKETS))
    return Directory(version, instances, rows)


def client(timeout_s=0.4, **shards):
    calls = fake_roles.Calls()
    calls.roles.update(shards)
    return Markets(calls, fake_roles.Log(), timeout_s=timeout_s), calls


async def test_quotes_that_wait_together_share_a_call():
    shard = FakeShard(1, wait_s=0.005)
    markets, _ = client(timeout_s=60.0, a=shard)
    markets.route(directory(1, ("a", 1)))
    await markets.quotes([REQUEST] * 1_500)
    assert sum(shard.sizes) == 1_500
    assert len(shard.sizes) <= 6
    assert max(shard.sizes) <= QUOTE_BATCH_MAX
    assert shard.busiest <= QUOTE_CALLS_PER_SHARD


async def test_quotes_that_wait_together_are_split_so_that_both_sides_work():
    shard = FakeShard(1)
    shard.released.clear()
    markets, _ = client(timeout_s=60.0, a=shard)
    markets.route(directory(1, ("a", 1)))
    waiting = asyncio.gather(*(markets.quote(REQUEST) for _ in range(4 * QUOTE_BATCH_SPLIT)))
    await shard.asked.wait()
    await asyncio.sleep(0)
    assert shard.sizes == [QUOTE_BATCH_SPLIT] * QUOTE_CALLS_PER_SHARD
    shard.released.set()
    await waiting


async def test_few_quotes_that_wait_together_are_one_call():
    shard = FakeShard(1)
    markets, _ = client(timeout_s=60.0, a=shard)
    markets.route(directory(1, ("a", 1)))
    await markets.quotes([REQUEST] * QUOTE_BATCH_SPLIT)
    assert shard.sizes == [QUOTE_BATCH_SPLIT]


async def test_more_quotes_than_that_are_shared_evenly_by_the_calls():
    shard = FakeShard(1)
    markets, _ = client(timeout_s=60.0, a=shard)
    markets.route(directory(1, ("a", 1)))
    await markets.quotes([REQUEST] * 1_201)
    assert shard.sizes == [301, 300, 300, 300]


async def test_answer_of_a_lower_incarnation_is_never_given():
    old = FakeShard(1)
    markets, _ = client(a=old)
    markets.route(directory(1, ("a", 2)))
    assert (await markets.quote(REQUEST)).code == "shard_unavailable"
    assert markets.refused_stale > 0


async def test_quote_under_way_at_the_old_owner_is_asked_again_of_the_new_one():
    old, new = FakeShard(1), FakeShard(2, code="exceeds_sold")
    old.released.clear()
    markets, _ = client(timeout_s=60.0, a=old, b=new)
    markets.route(directory(1, ("a", 1)))
    waiting = asyncio.create_task(markets.quote(REQUEST))
    await old.asked.wait()
    markets.route(directory(2, ("a", 1), ("b", 2)))
    old.released.set()
    assert (await waiting).code == "exceeds_sold"


async def test_dead_owner_answers_shard_unavailable_in_time_and_heals_with_the_directory():
    markets, calls = client(a=FakeShard(1))
    calls.dead.add("a")
    markets.route(directory(1, ("a", 1)))
    assert (await markets.quote(REQUEST)).code == "shard_unavailable"
    calls.roles["b"] = FakeShard(2)
    markets.route(directory(2, ("b", 2)))
    assert (await markets.quote(REQUEST)).code == "zero_output"


async def test_shard_is_greeted_once_before_it_owns_anything():
    markets, calls = client(a=FakeShard(1), b=FakeShard(2))
    markets.route(directory(1, ("b", 1), ("a", 1)))
    markets.route(directory(2, ("b", 1), ("a", 1)))
    await asyncio.sleep(0.01)
    assert sorted(calls.asked, key=str) == [("a", Ping()), ("b", Ping())]


async def test_older_directory_changes_nothing():
    markets, _ = client(a=FakeShard(1), b=FakeShard(2))
    markets.route(directory(5, ("b", 2)))
    markets.route(directory(4, ("a", 1)))
    assert (await markets.quote(REQUEST)).incarnation == 2


async def test_views_keep_their_order_and_refuse_the_stale():
    markets, _ = client(a=FakeShard(1))
    tokens = [bytes([n]) * 20 for n in range(5)]
    markets.route(directory(1, ("a", 1)))
    assert [view.bucket for view in await markets.views(tokens)] == [bucket_of(t) for t in tokens]
    markets.route(directory(2, ("a", 2)))
    assert {view.code for view in await markets.views(tokens)} == {"shard_unavailable"}


async def test_quote_that_comes_as_the_last_call_ends_is_answered():
    shard = FakeShard(1)
    markets, _ = client(a=shard)
    markets.route(directory(1, ("a", 1)))
    for turns in range(12):
        first = asyncio.create_task(markets.quote(REQUEST))
        for _ in range(turns):
            await asyncio.sleep(0)
        late = asyncio.create_task(markets.quote(REQUEST))
        assert {(await first).code, (await late).code} == {"zero_output"}


async def test_call_that_fails_in_an_unknown_way_answers_every_quote():
    class Broken(FakeShard):
        async def quotes(self, message):
            raise RuntimeError("bug")

    markets, _ = client(a=Broken(1))
    markets.route(directory(1, ("a", 1)))
    replies = await markets.quotes([REQUEST] * 3)
    assert {reply.code for reply in replies} == {"shard_unavailable"}
