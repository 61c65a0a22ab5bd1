"""Buckets at one position: batches apply once, in order, all markets at once."""

from dataclasses import replace

import pytest

from engine import snapshot
from engine.buckets import assign, bucket_of
from engine.errors import ConsistencyError
from engine.group import NOWHERE, Group
from engine.limits import BUCKETS
from engine.messages import Block, FeedBatch, FeedPosition, Finalised, Reorg, Traded
from tests.support.scenario import CHAIN_ID, CONSTANT_PRODUCT, LINEAR, Scenario


def group(depth: int = 64) -> Group:
    return Group("g", dict.fromkeys(range(BUCKETS), 1), depth)


def batch(after: FeedPosition, *messages, head: int = 0) -> FeedBatch:
    return FeedBatch(CHAIN_ID, after, messages, head)


def at(block: Block) -> FeedPosition:
    return FeedPosition(block.header.number, block.header.hash)


def run(scenario: Scenario, blocks: int, trades: int = 5) -> list[Block]:
    made = []
    for _ in range(blocks):
        scenario.trade_at_random(trades)
        made.append(scenario.seal())
    return made


def feed(target: Group, blocks: list[Block]) -> None:
    for block in blocks:
        _, applied = target.apply(batch(target.position, block))
        assert applied


def started(tokens: int = 4) -> tuple[Scenario, list[Block]]:
    scenario = Scenario(seed=7)
    for index in range(tokens):
        scenario.launch(f"t{index}", LINEAR if index % 2 else CONSTANT_PRODUCT)
    return scenario, [scenario.seal()]


def states(target: Group) -> dict[bytes, tuple[int, int, int]]:
    return {t: (m.tip.sold, m.tip.raised, m.tip.seq) for t, m in target.timelines.items()}


def truth(scenario: Scenario) -> dict[bytes, tuple[int, int, int]]:
    return {t: (one.sold, one.raised, one.seq) for t, one in scenario.tokens.items()}


def test_apply_blocks_gives_the_chain_state():
    scenario, blocks = started()
    target = group()
    feed(target, blocks + run(scenario, 30))
    assert states(target) == truth(scenario)


def test_apply_same_batch_twice_applies_once():
    scenario, blocks = started()
    target = group()
    message = batch(NOWHERE, *blocks, *run(scenario, 3))
    assert target.apply(message)[1]
    before = states(target)
    assert target.apply(message) == ([], False)
    assert states(target) == before


def test_apply_batch_that_skips_ahead_applies_nothing():
    scenario, blocks = started()
    target = group()
    feed(target, blocks)
    later = run(scenario, 2)
    assert target.apply(batch(at(later[0]), later[1])) == ([], False)
    assert target.position == at(blocks[0])


def test_apply_block_of_another_parent_is_refused():
    scenario, blocks = started()
    target = group()
    feed(target, blocks)
    stranger = run(scenario, 1)[0]
    stranger = replace(stranger, header=replace(stranger.header, parent_hash=b"x" * 32))
    with pytest.raises(ConsistencyError, match="broken_chain"):
        target.apply(batch(target.position, stranger))


def test_apply_wrong_trade_halts_that_market_only():
    scenario, blocks = started()
    target = group()
    feed(target, blocks)
    block = run(scenario, 1, trades=12)[0]
    trades = [e for e in block.events if isinstance(e, Traded)]
    victim = trades[0].token
    lie = replace(trades[0], tokens=trades[0].tokens + 1)
    events = tuple(lie if e is trades[0] else e for e in block.events)
    target.apply(batch(target.position, replace(block, events=events)))
    assert set(target.halted) == {victim}
    expected = {t: s for t, s in truth(scenario).items() if t != victim}
    assert {t: s for t, s in states(target).items() if t != victim} == expected


def test_apply_reorg_pops_to_the_ancestor_and_follows_the_new_branch():
    scenario, blocks = started()
    target, fresh = group(), group()
    common = blocks + run(scenario, 5)
    feed(target, common)
    feed(fresh, common)
    ancestor = at(common[-1])
    branch = Scenario(seed=99)
    branch.__dict__.update({k: v for k, v in scenario.__dict__.items() if k != "random"})
    branch.tokens = {t: replace(one) for t, one in scenario.tokens.items()}
    old = run(scenario, 4)
    scenario.launch("only on the old branch")
    feed(target, [*old, scenario.seal()])
    branch.salt = "b"
    new = run(branch, 6)
    reorg = Reorg(CHAIN_ID, ancestor.number, ancestor.hash)
    assert target.apply(batch(target.position, reorg, *new))[1]
    feed(fresh, new)
    assert states(target) == states(fresh) == truth(branch)


def test_apply_reorg_below_the_base_is_refused():
    scenario, blocks = started()
    target = group(depth=3)
    feed(target, blocks + run(scenario, 6))
    with pytest.raises(ConsistencyError, match="reorg_too_deep"):
        target.apply(batch(target.position, Reorg(CHAIN_ID, 2, bytes(32))))


def test_window_keeps_no_more_than_its_depth():
    scenario, blocks = started()
    target = group(depth=5)
    feed(target, blocks + run(scenario, 40))
    assert len(target.hashes) <= 6
    assert all(len(line.confirmed) <= 6 for line in target.timelines.values())


def test_snapshot_and_replay_give_the_same_bytes_as_replay_from_zero():
    scenario, blocks = started()
    blocks += run(scenario, 50)
    whole = group(depth=8)
    feed(whole, blocks)
    pages = snapshot.markets_at(whole, whole.base)
    restored = group(depth=8)
    for markets in pages.values():
        for market in snapshot.from_bytes(snapshot.to_bytes(markets)):
            restored.restore(market, whole.base)
    for block in blocks:
        for event in block.events:
            if hasattr(event, "seq") and event.at.block_number > whole.base:
                restored.replay(event, cursor=whole.position.number)
    restored.recovered(whole.position)
    tip = whole.position.number
    restored.dirty = set(whole.dirty)
    left = {b: snapshot.to_bytes(m) for b, m in snapshot.markets_at(whole, tip).items()}
    right = {b: snapshot.to_bytes(m) for b, m in snapshot.markets_at(restored, tip).items()}
    assert left == right


def test_as_of_turns_finalised_with_the_marker():
    _scenario, blocks = started()
    target = group()
    feed(target, blocks)
    token, timeline = next(iter(target.timelines.items()))
    assert target.as_of(timeline, bucket_of(token)).status == "sealed"
    target.apply(batch(target.position, Finalised(CHAIN_ID, 1)))
    assert target.as_of(timeline, bucket_of(token)).status == "finalised"


def test_assign_covers_every_bucket_once_and_moves_only_what_it_must():
    two, three = assign(["a", "b"]), assign(["a", "b", "c"])
    assert sorted(bucket for share in three.values() for bucket in share) == list(range(BUCKETS))
    assert three["a"] <= two["a"]
    assert three["b"] <= two["b"]
    assert 0.2 * BUCKETS < len(three["c"]) < 0.5 * BUCKETS
