"""What follows a mark, as far as markets took it in."""

from dataclasses import replace

from engine.buckets import bucket_of
from engine.group import Group
from engine.limits import SAID_BLOCKS
from engine.messages import FeedBatch, FeedPosition, Reorg, TokenCreated, Traded
from engine.said import Mark, following
from tests.support.scenario import CHAIN_ID, Scenario

ETH = 10**18


def applied(group, *messages):
    """The changes."""
    return group.apply(FeedBatch(CHAIN_ID, group.position, messages, 0))[0]


def started():
    """A group on the block of a launch, the scenario, the launch."""
    scenario = Scenario(seed=3)
    token = scenario.launch("a")
    bucket = bucket_of(token)
    group, block = Group("g", {bucket: 1}, 8), scenario.seal()
    applied(group, block)
    (launch,) = [one for one in block.events if isinstance(one, TokenCreated)]
    return group, scenario, launch


def test_event_that_a_market_did_not_take_in_is_not_said_by_its_next_owner_or_taken_back():
    group, scenario, launch = started()
    bucket, before = bucket_of(launch.token), group.position
    scenario.buy(launch.token, ETH // 50)
    block = scenario.seal()
    at = replace(launch.at, block_number=block.header.number, block_hash=block.header.hash)
    again = replace(launch, at=replace(at, log_index=99, tx_hash=b"x" * 32))
    (change,) = applied(group, replace(block, events=(*block.events, again)))
    told = [effect.event for effect in change.effects]
    assert len(told) == 1 and isinstance(told[0], Traded)
    assert following(group, {bucket: Mark(before)})[bucket].events == tuple(told)
    (change,) = applied(group, Reorg(CHAIN_ID, before.number, before.hash))
    assert [one.tx_hash for one in change.retracted] == [told[0].at.tx_hash]


def test_replayed_event_that_a_market_did_not_take_in_is_not_said_either():
    group, scenario, launch = started()
    replayed = Group("g", group.incarnations, 8)
    scenario.buy(launch.token, ETH // 50)
    block = scenario.seal()
    (event,) = [one for one in block.events if isinstance(one, Traded)]
    for one in (launch, launch, event, event):
        replayed.replay(one, cursor=block.header.number)
    replayed.recovered(FeedPosition(block.header.number, block.header.hash))
    bucket = bucket_of(launch.token)
    assert following(replayed, {bucket: Mark(FeedPosition(-1, bytes(32)))})[bucket].events == (
        launch,
        event,
    )


def test_open_trade_of_a_block_far_ahead_is_not_waited_for():
    group, _, launch = started()
    bucket, here = bucket_of(launch.token), group.position

    def found(ahead):
        shown = {"blockNumber": here.number + ahead, "txHash": "0x", "position": 0}
        return following(group, {bucket: Mark(here, (shown,))}).get(bucket)

    assert found(1) is None and found(SAID_BLOCKS) is None
    assert found(SAID_BLOCKS + 1).gap
    assert not found(0).gap and len(found(0).taken_back) == 1
