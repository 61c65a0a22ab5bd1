"""A door's replica fed by shards as plain classes over a real Redis: the same answers, or none."""

import asyncio
import contextlib
import secrets
import time

import pytest

from actors.markets import Markets
from actors.replicas import ReplicatedMarkets
from engine.buckets import bucket_of
from engine.control import Directory, Feed, Halt, Instance, Quotes, Take
from engine.limits import REPLICA_LEASE_S
from engine.messages import BucketOwner, FeedBatch, QuoteReply, QuoteRequest
from engine.replica import FLOOR, STALE
from engine.states import Beat, BucketStates, Mark, Place, Standing, state_of
from storage import valkey
from storage.states import States
from tests.support import fake_roles
from tests.support.shard_world import ALL, CHAIN, CHAIN_ID, ETH, World, running
from tests.unit.engine.test_group_overlay import open_view

STALE_S = REPLICA_LEASE_S + 0.05


@pytest.fixture
async def redis(redis_url):
    client = valkey.connect(redis_url)
    yield client
    await client.aclose()


class Lossy(States):
    """Loses a share of the messages about markets; beats come."""

    lost = 0
    every = 0

    async def publish(self, messages):
        kept = []
        for one in messages:
            if self.every and isinstance(one, BucketStates) and one.seq % self.every == 0:
                self.lost += 1
            else:
                kept.append(one)
        return await super().publish(kept)


class System(World):
    """Shards, and a door with a replica; `said` is all that any shard would have answered."""

    def __init__(self, redis):
        self.namespace = f"test:{secrets.token_hex(6)}"
        self.redis = redis
        self.out = Lossy(redis, namespace=self.namespace)
        super().__init__(states=self.out, clock=time.monotonic)
        self.requests = [
            QuoteRequest(token, *side, ETH // 1_000, sealed=sealed)
            for token in (self.token, self.other)
            for side in ((True, False), (True, True), (False, False), (False, True))
            for sealed in (False, True)
        ]
        self.said = set()
        self.version = 1
        log = fake_roles.Log()
        self.door = ReplicatedMarkets(
            Markets(self.calls, log, timeout_s=1.0),
            States(redis, namespace=self.namespace),
            self.calls,
            log=log,
            block_time_s=CHAIN.block_time_s,
        )

    async def own(self, shard, name, incarnation, *, routed=True):
        await shard.handlers[Take](Take(ALL))
        self.note(shard)
        if routed:
            self.route(name, incarnation)

    def route(self, name, incarnation):
        self.version += 1
        owners = tuple(BucketOwner(bucket, name, incarnation) for bucket in sorted(ALL))
        instances = (Instance("shard-0", "shard", name),)
        self.door.route(Directory(self.version, instances, owners))

    def note(self, *shards):
        for shard in shards:
            replies = shard.handlers[Quotes](Quotes(tuple(self.requests))).replies
            self.said.update(zip(self.requests, replies, strict=True))

    async def step(self, *shards, preview=True):
        """A block, seen before it is sealed, and what the shards would say after each."""
        self.scenario.trade_at_random(3)
        block = self.scenario.seal(received_ns=5)
        if preview:
            for (consumer, group), position in self.listener.followers.items():
                batch = FeedBatch(CHAIN_ID, position, (open_view(block),), position.number)
                await self.calls.ask(consumer, Feed(group, batch), timeout_s=1)
            self.note(*shards)
            await asyncio.sleep(0.005)
        self.listener.blocks.append(block)
        self.events.record(block)
        await self.listener.send()
        self.note(*shards)

    async def warm(self):
        """Ask until the replica answers all of it."""
        async with asyncio.timeout(5):
            while True:
                before = self.door.tally.served
                for request in self.requests:
                    self.judge(request, await self.door.quote(request))
                if self.door.tally.served - before == len(self.requests):
                    return
                await asyncio.sleep(0.02)

    async def served(self, request):
        """(the answer, whether it came from the replica)."""
        before = self.door.tally.served
        reply = await self.door.quote(request)
        return reply, self.door.tally.served > before

    def judge(self, request, reply):
        assert (request, reply) in self.said


@contextlib.asynccontextmanager
async def opened(redis):
    """A system with a door that hears."""
    system = System(redis)
    async with running(system.door):
        yield system


async def test_answers_are_the_shards_to_the_bit_under_load_and_after_a_takeover(redis):
    async with opened(redis) as system:
        first, second = system.shard("shard-0/1"), system.shard("shard-1/1")
        await system.own(first, "shard-0/1", 1)
        async with running(first):
            await system.warm()
            counts = await _load(system, (first,), 1.5)
        assert counts["served"] > 5 * counts["passed"]
        await system.own(second, "shard-1/1", 2)
        async with running(second):
            await system.warm()
            counts = await _load(system, (second,), 1.0)
        assert counts["served"] > 5 * counts["passed"]
        assert counts["incarnations"] == {2}
        assert system.door.counters()["replica_age_ms_max"] <= 1e3 * REPLICA_LEASE_S


async def _load(system, shards, seconds):
    counts = {"served": 0, "passed": 0, "incarnations": set()}
    until = time.monotonic() + seconds
    blocks = asyncio.create_task(_blocks(system, shards, until))
    while time.monotonic() < until:
        for request in system.requests:
            reply, served = await system.served(request)
            system.judge(request, reply)
            counts["served" if served else "passed"] += 1
            if served and isinstance(reply, QuoteReply):
                counts["incarnations"].add(reply.as_of.version[0])
        await asyncio.sleep(0.002)
    await blocks
    return counts


async def _blocks(system, shards, until):
    while time.monotonic() < until:
        await system.step(*shards)
        await asyncio.sleep(0.02)


async def test_lost_messages_are_seen_and_made_up_for(redis):
    async with opened(redis) as system:
        shard = system.shard("shard-0/1")
        await system.own(shard, "shard-0/1", 1)
        async with running(shard):
            await system.warm()
            system.out.every = 5
            counts = await _load(system, (shard,), 1.5)
            assert system.out.lost > 5
            assert counts["served"] > 0
            system.out.every = 0
            await system.warm()


async def test_shard_that_falls_silent_is_asked_after_the_lease(redis):
    async with opened(redis) as system:
        shard = system.shard("shard-0/1")
        await system.own(shard, "shard-0/1", 1)
        async with running(shard):
            await system.warm()
        # It answers still, and moves on, but says nothing.
        reply, served = await system.served(system.requests[0])
        assert served
        await asyncio.sleep(STALE_S)
        await system.step(shard)
        for request in system.requests:
            reply, served = await system.served(request)
            assert not served
            assert shard.handlers[Quotes](Quotes((request,))).replies == (reply,)
        assert system.door.tally.passed[STALE] >= len(system.requests)
        async with running(shard):
            await system.warm()


async def test_owner_of_a_lower_incarnation_is_not_heard(redis):
    async with opened(redis) as system:
        first, second = system.shard("shard-0/1"), system.shard("shard-1/1")
        await system.own(first, "shard-0/1", 1)
        async with running(first):
            await system.warm()
            await system.own(second, "shard-1/1", 2)
            # The old one goes on and is heard: Redis' fence is not what keeps it out here.
            for _ in range(10):
                await _say_as(system, first, 1)
                reply, served = await system.served(system.requests[0])
                assert not served and reply.as_of.version[0] == 2
                await asyncio.sleep(0.02)
        async with running(second):
            await system.warm()
            # Nor does it bring down the new one.
            for _ in range(10):
                await _say_as(system, first, 1)
                await asyncio.sleep(0.02)
                reply, _ = await system.served(system.requests[0])
                assert reply.as_of.version[0] == 2


async def _say_as(system, shard, incarnation):
    # Past the fence, as if it had been said before the new owner spoke.
    bucket = bucket_of(system.token)
    served = next(iter(shard._served.values()))
    place = Place(10_000, b"z" * 32, -1, 10_000)
    state, made_ns = state_of(served.group, system.token), time.time_ns()
    states = BucketStates(bucket, incarnation, 500, place, 0, made_ns, (state,))
    beat = Beat(made_ns, (Standing(place, 0, (Mark(bucket, incarnation, 500),)),))
    for message in (states, beat):
        await system.redis.publish(*system.out._packed(message))


async def test_shard_that_was_overtaken_lets_go_of_what_its_beats_name(redis):
    async with opened(redis) as system:
        first, second = system.shard("shard-0/1"), system.shard("shard-1/1")
        await system.own(first, "shard-0/1", 1)
        async with running(first):
            await system.warm()
            await system.own(second, "shard-1/1", 2)
            async with running(second):
                await system.warm()
                await asyncio.sleep(0.1)
        assert {bucket_of(system.token), bucket_of(system.other)}.isdisjoint(dict(first.owners))


async def test_receipt_is_waited_for(redis):
    async with opened(redis) as system:
        shard = system.shard("shard-0/1")
        await system.own(shard, "shard-0/1", 1)
        request = system.requests[0]
        async with running(shard):
            await system.warm()
            mined = system.listener.blocks[-1].header.number + 1
            system.door.mined(system.token, mined)
            for _ in range(3):
                _, served = await system.served(request)
                assert not served
            assert system.door.tally.passed[FLOOR] == 3
            _, served = await system.served(system.requests[-1])
            assert served, "another market is not held up"
            await system.step(shard)
            await system.warm()
            reply, served = await system.served(request)
            assert served and reply.as_of.block_number >= mined


async def test_version_that_a_tick_named_is_waited_for(redis):
    async with opened(redis) as system:
        shard = system.shard("shard-0/1")
        await system.own(shard, "shard-0/1", 1)
        async with running(shard):
            await system.warm()
            reply, _ = await system.served(system.requests[0])
            incarnation, changes = reply.as_of.version
            system.door.saw(system.token, (incarnation, changes))
            assert (await system.served(system.requests[0]))[1]
            system.door.saw(system.token, (incarnation, changes + 1))
            assert not (await system.served(system.requests[0]))[1]


async def test_halted_market_and_lost_redis_are_the_shards_business(redis, redis_url):
    async with opened(redis) as system:
        shard = system.shard("shard-0/1")
        await system.own(shard, "shard-0/1", 1)
        async with running(shard):
            await system.warm()
            shard.handlers[Halt](Halt(system.token, "differs"))
            system.note(shard)
            await asyncio.sleep(0.1)
            reply, served = await system.served(system.requests[0])
            assert (reply.code, served) == ("market_halted", False)
            killer = valkey.connect(redis_url)
            await killer.client_kill_filter(_type="pubsub")
            await killer.aclose()
            await asyncio.sleep(0.02)
            last = system.requests[-1]
            system.judge(last, await system.door.quote(last))
            async with asyncio.timeout(5):
                while not (await system.served(last))[1]:
                    await asyncio.sleep(0.02)
