"""A shard as a plain class, with a listener that sends all it has, for its tests."""

import asyncio
import contextlib

from actors.shard import TokenShard
from engine.control import (
    Directory,
    Feed,
    Follow,
    Instance,
    Quotes,
)
from engine.limits import BUCKETS
from engine.messages import (
    FeedBatch,
    QuoteRequest,
)
from engine.settings import ActorSettings, ChainSettings, Deployment
from tests.support import fake_roles
from tests.support.scenario import CHAIN_ID, LAUNCHPAD, LINEAR, Scenario

ETH = 10**18
CHAIN = ChainSettings(
    chain_id=CHAIN_ID,
    rpc_url="",
    ws_url="",
    genesis_hash=bytes(32),
    launchpads=(Deployment(address=LAUNCHPAD, lens=LAUNCHPAD, first_block=1, version=1),),
    weth=bytes(20),
    factory=bytes(20),
    router=bytes(20),
    reorg_depth_max=8,
)
ALL = frozenset(range(BUCKETS))


class FakeListener:
    """Sends every block it has to whoever follows, at once."""

    def __init__(self, calls):
        self.calls = calls
        self.blocks = []
        self.followers = {}
        self.handlers = {Follow: self.follow}

    async def follow(self, follow):
        self.followers[(follow.consumer, follow.group)] = follow.position
        await self.send()

    async def send(self):
        for (consumer, group), position in list(self.followers.items()):
            after = position
            while True:
                rest = [b for b in self.blocks if b.header.number > after.number]
                head = self.blocks[-1].header.number if self.blocks else -1
                batch = FeedBatch(CHAIN_ID, after, tuple(rest[:10]), head)
                answer = await self.calls.ask(consumer, Feed(group, batch), timeout_s=1)
                if answer == after:
                    break
                after = answer
            self.followers[(consumer, group)] = after


class World:
    def __init__(self, *, states=None, clock=None):
        self.log, self.clock = fake_roles.Log(), clock or fake_roles.Clock()
        self.owners = fake_roles.Buckets()
        self.snapshots = fake_roles.Snapshots(self.owners)
        self.events, self.ticks = fake_roles.Events(), fake_roles.Ticks()
        self.states = states or fake_roles.States()
        self.calls = fake_roles.Calls()
        self.listener = FakeListener(self.calls)
        self.calls.roles["listener/1"] = self.listener
        self.scenario = Scenario(seed=3)
        self.token = self.scenario.launch("a")
        self.other = self.scenario.launch("b", LINEAR)
        self.seal()

    def shard(self, name="shard-0/1"):
        shard = TokenShard(
            name=name,
            chain=CHAIN,
            settings=ActorSettings(snapshot_every_blocks=4),
            buckets=self.owners,
            snapshots=self.snapshots,
            events=self.events,
            ticks=self.ticks,
            states=self.states,
            calls=self.calls,
            log=self.log,
            clock=self.clock,
        )
        self.calls.roles[name] = shard
        instances = (Instance("listener", "listener", "listener/1"),)
        shard.handlers[Directory](Directory(1, instances, ()))
        return shard

    def seal(self, trades=0, record=True):
        self.scenario.trade_at_random(trades)
        block = self.scenario.seal(received_ns=5)
        self.listener.blocks.append(block)
        if record:
            self.events.record(block)
        return block

    def ask(self, shard, **kwargs):
        request = QuoteRequest(self.token, True, False, ETH // 100, **kwargs)
        return shard.handlers[Quotes](Quotes((request,))).replies[0]


@contextlib.asynccontextmanager
async def running(shard):
    task = asyncio.create_task(shard.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def told(world, token):
    mine = [tick for tick in world.ticks.sent if tick.topic == f"token:0x{token.hex()}"]
    return [tick.data["status"] if tick.event == "status" else tick.event for tick in mine]
