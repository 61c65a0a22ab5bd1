"""The doors' markets with a replica before them: what goes where, and what is learnt of it."""

import asyncio
import time

from actors import replicas
from actors.markets import Markets
from actors.replicas import ReplicatedMarkets
from engine.buckets import bucket_of
from engine.control import Directory, EntriesWanted, Instance, Quotes, Take, Views
from engine.limits import BUCKETS, REPLICA_LEASE_S
from engine.messages import BucketOwner, QuoteReply, QuoteRequest
from engine.states import Cut, Deaf, Listening
from tests.support import fake_roles
from tests.support.shard_world import ALL, ETH, World, running


class Wire:
    """Redis without Redis: what a shard says is heard at once."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.states = fake_roles.States()
        self.listened = frozenset()
        self.publish = self._publish

    async def _publish(self, messages):
        for one in messages:
            if getattr(one, "bucket", None) in (None, *self.listened):
                self.queue.put_nowait(one)
        return await self.states.publish(messages)

    async def doors(self, buckets):
        return {bucket: int(bucket in self.listened) for bucket in buckets}

    async def listen(self, wanted):
        while True:
            for bucket in self.listened - wanted():
                yield Deaf(bucket)
            for bucket in wanted() - self.listened:
                yield Listening(bucket)
            self.listened = wanted()
            try:
                yield await asyncio.wait_for(self.queue.get(), 0.01)
            except TimeoutError:
                continue


class Door(World):
    def __init__(self):
        self.wire = Wire()
        super().__init__(states=self.wire, clock=asyncio.get_running_loop().time)
        log = fake_roles.Log()
        markets = Markets(self.calls, log, timeout_s=0.5)
        self.door = ReplicatedMarkets(markets, self.wire, self.calls, log=log, block_time_s=1.0)
        self.request = QuoteRequest(self.token, True, False, ETH // 100)

    async def open(self):
        shard = self.shard()
        await shard.handlers[Take](Take(ALL))
        self.route(1, "shard-0/1", 1)
        return shard

    def route(self, version, name, incarnation):
        owners = tuple(BucketOwner(bucket, name, incarnation) for bucket in range(BUCKETS))
        self.door.route(Directory(version, (Instance("shard-0", "shard", name),), owners))

    def asked(self, kind):
        return sum(isinstance(message, kind) for _, message in self.calls.asked)

    async def until_served(self):
        async with asyncio.timeout(3):
            while not self.door.tally.served:
                reply = await self.door.quote(self.request)
                await asyncio.sleep(0.02)
        return reply


async def test_market_enters_by_use_and_is_asked_for_once():
    world = Door()
    shard = await world.open()
    async with running(world.door), running(shard):
        first = await world.door.quote(world.request)
        assert isinstance(first, QuoteReply)
        assert await world.until_served() == first
        calls = world.asked(Quotes)
        for _ in range(50):
            assert await world.door.quote(world.request) == first
        assert (world.asked(Quotes), world.asked(EntriesWanted)) == (calls, 1)
    counters = world.door.counters()
    assert counters["replica_served"] == 51
    assert (counters["replica_markets"], counters["replica_buckets"]) == (1, 1)
    assert sum(world.door.tally.passed.values()) == calls


async def test_token_that_nobody_launched_takes_no_place():
    world = Door()
    shard = await world.open()
    async with running(world.door), running(shard):
        for _ in range(5):
            reply = await world.door.quote(QuoteRequest(b"z" * 20, True, False, 1))
            assert reply.code == "token_not_found"
            await asyncio.sleep(0.03)
    assert world.door.counters()["replica_markets"] == 0
    assert world.asked(EntriesWanted) == 0


async def test_callback_is_called_at_once_where_the_replica_answers_and_once_in_any_case():
    world = Door()
    shard = await world.open()
    got = []
    async with running(world.door), running(shard):
        world.door.begin(world.request, got.append)
        assert got == []
        await asyncio.sleep(0.02)
        assert len(got) == 1
        await world.until_served()
        world.door.begin(world.request, got.append)
        assert got[1] == got[0]


async def test_answer_of_a_shard_raises_what_the_replica_may_say():
    world = Door()
    shard = await world.open()
    async with running(world.door), running(shard):
        await world.until_served()
        # The change is not heard here, but a view of the market that has it is given.
        world.wire.listened = frozenset()
        world.wire.publish = world.wire.states.publish
        world.scenario.buy(world.token, ETH // 50)
        world.seal()
        await world.listener.send()
        served = world.door.tally.served
        await world.door.quote(world.request)
        assert world.door.tally.served == served + 1
        (view,) = await world.door.views([world.token])
        reply = await world.door.quote(world.request)
        assert reply.as_of.version == view.as_of.version
        assert world.door.tally.served == served + 1
    assert world.asked(Views) == 1


async def test_new_owner_in_the_directory_ends_what_the_old_one_said():
    world = Door()
    shard = await world.open()
    second = world.shard("shard-1/1")
    async with running(world.door), running(shard):
        await world.until_served()
        await second.handlers[Take](Take(ALL))
        world.route(2, "shard-1/1", 2)
        reply = await world.door.quote(world.request)
        assert reply.as_of.version[0] == 2
    assert world.door.tally.served == 1


async def test_shard_that_does_not_give_its_markets_costs_no_quote():
    world = Door()
    shard = await world.open()
    del shard.handlers[EntriesWanted]
    world.calls.roles["shard-0/1"] = shard
    async with running(world.door), running(shard):
        for _ in range(10):
            assert isinstance(await world.door.quote(world.request), QuoteReply)
            await asyncio.sleep(0.02)
    assert world.door.tally.served == 0


async def test_lost_connection_lets_go_of_everything():
    world = Door()
    shard = await world.open()
    async with running(world.door), running(shard):
        await world.until_served()
        world.wire.queue.put_nowait(Cut())
        await asyncio.sleep(0.02)
        served = world.door.tally.served
        assert isinstance(await world.door.quote(world.request), QuoteReply)
        assert world.door.tally.served == served
    assert bucket_of(world.token) not in world.door._listened


async def test_bug_of_the_replica_costs_no_quote(monkeypatch):
    monkeypatch.setattr(replicas, "RESTART_PAUSE_S", 0.01)
    world = Door()
    shard = await world.open()
    async with running(world.door), running(shard):
        first = await world.until_served()
        with monkeypatch.context() as broken:
            broken.setattr(world.door._replica, "answer", lambda *_: 1 // 0)
            assert await world.door.quote(world.request) == first
            assert world.door.tally.passed["bug"] == 1
        with monkeypatch.context() as broken:
            broken.setattr(world.door._replica, "beat", lambda *_: 1 // 0)
            await asyncio.sleep(0.1)
            assert await world.door.quote(world.request) == first
        served = world.door.tally.served
        world.wire.listened = frozenset()
        async with asyncio.timeout(3):
            while world.door.tally.served == served:
                assert await world.door.quote(world.request) == first
                await asyncio.sleep(0.02)
    assert world.door._log.events().count("replica_bug") >= 2


async def test_age_is_counted_from_when_a_beat_was_made_not_from_when_it_came():
    world = Door()
    shard = await world.open()
    async with running(world.door), running(shard):
        await world.until_served()
        door, ahead_ns = world.door, int((REPLICA_LEASE_S + 0.05) * 1e9)
        # As if each beat had been under way for so long; a clock that is behind hides nothing, and
        # once it has shown, a beat that comes as late as it was behind is as old as it is.
        cases = ((ahead_ns, False), (0, True), (-ahead_ns, True), (0, False), (ahead_ns, False))
        for shift_ns, fresh in cases:
            door._wall_ns = lambda shift_ns=shift_ns: time.time_ns() + shift_ns
            await asyncio.sleep(REPLICA_LEASE_S + 0.1)
            served, stale = door.tally.served, door.tally.passed["stale"]
            assert isinstance(await door.quote(world.request), QuoteReply)
            assert (door.tally.served > served) is fresh
            assert (door.tally.passed["stale"] > stale) is not fresh
