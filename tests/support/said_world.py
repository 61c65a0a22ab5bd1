"""A shard, and what was said of trades on their topics, for tests of both."""

import contextlib
import copy
from dataclasses import replace

from engine.control import Feed, Take
from engine.messages import SEALED, FeedBatch, FeedPosition, Preconfirmed, Traded
from tests.support.scenario import CHAIN_ID
from tests.support.shard_world import ALL, ETH, running
from tests.support.tasks import passed

SOON_S = 0.25


def said(world, topic="trades", kind="transaction"):
    """(transaction, place) of what was said of sealed trades and launches, in order."""
    found = []
    for at, name, data in world.ticks.counted:
        event = data["event"] if name == "user" else name
        sealed = event != "transaction" or data["status"] == SEALED
        if at.startswith(topic) and event == kind:
            found += [(data["txHash"], data["position"])] if sealed else []
    return found


def trades(world, after=0):
    """Those of the chain, in order."""
    return [
        ("0x" + event.at.tx_hash.hex(), event.at.position)
        for block in world.listener.blocks
        for event in block.events
        if block.header.number > after and type(event).__name__ in ("Traded", "TokenCreated")
    ]


def stand_still(world, name):
    """The listener sends nothing to that shard any more."""
    kept = {at: where for at, where in world.listener.followers.items() if at[0] != name}
    world.listener.followers = kept


async def trade(world, count=1, *, tokens=None):
    for _ in range(count):
        for token in tokens or (world.token, world.other):
            world.scenario.buy(token, ETH // 50)
        world.seal()
        await world.listener.send()


@contextlib.asynccontextmanager
async def owner(world, name="shard-0/1"):
    shard = world.shard(name)
    async with running(shard):
        await shard.handlers[Take](Take(ALL))
        await passed(SOON_S)
        yield shard


def previewed(world):
    """A trade that is preconfirmed for the next block, and is not in it."""
    fork = copy.deepcopy(world.scenario)
    fork.buy(world.token, ETH // 50)
    block = fork.seal(received_ns=5)
    events = tuple(
        replace(event, at=replace(event.at, block_hash=None))
        for event in block.events
        if isinstance(event, Traded)
    )
    return Preconfirmed(CHAIN_ID, block.header.number, events, 7)


async def feed(world, name, *messages):
    """Preconfirmed ones, on the tip."""
    header = world.listener.blocks[-1].header
    tip = FeedPosition(header.number, header.hash)
    for group in [group for consumer, group in world.listener.followers if consumer == name]:
        batch = FeedBatch(CHAIN_ID, tip, messages, tip.number)
        await world.calls.ask(name, Feed(group, batch), timeout_s=1)
    await passed(SOON_S)


def of_open_blocks(world, topic="trades"):
    """What was said of trades that were not sealed, in order."""
    found = [
        (name if name != "user" else data["event"], data["txHash"], data.get("status"))
        for at, name, data in world.ticks.counted
        if at.startswith(topic)
    ]
    return [(name, tx_hash) for name, tx_hash, status in found if status != SEALED]


def shown_and_taken_back(world, message):
    tx_hash = "0x" + message.events[0].at.tx_hash.hex()
    wanted = [("transaction", tx_hash), ("retracted", tx_hash)]
    return of_open_blocks(world) == of_open_blocks(world, "user") == wanted
