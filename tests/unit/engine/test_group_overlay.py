"""Preconfirmed events above the tip, and what is taken back of what was shown."""

from dataclasses import replace

from engine import overlay
from engine.buckets import bucket_of
from engine.messages import (
    Block,
    FeedBatch,
    FeedPosition,
    Preconfirmed,
    Reorg,
    Traded,
)
from tests.support.scenario import CHAIN_ID, Scenario
from tests.unit.engine.test_group import at, batch, group, truth

ETH = 10**18


def open_view(block: Block) -> Preconfirmed:
    events = tuple(
        replace(event, at=replace(event.at, block_hash=None))
        for event in block.events
        if hasattr(event, "seq")
    )
    return Preconfirmed(CHAIN_ID, block.header.number, events)


def world():
    scenario = Scenario(remember=True)
    token = scenario.launch("a")
    first = scenario.seal()
    target = group()
    target.apply(batch(target.position, first))
    return scenario, token, target


def test_preconfirmed_trades_are_quoted_and_become_true_at_the_seal():
    scenario, token, target = world()
    scenario.buy(token, ETH // 10)
    scenario.buy(token, ETH // 20)
    block = scenario.seal()
    (change,), _ = target.apply(batch(target.position, open_view(block)))
    line = target.timelines[token]
    assert (line.current.sold, line.tip.sold) == (scenario.tokens[token].sold, 0)
    assert (change.as_of.status, change.as_of.block_hash) == ("preconfirmed", None)
    assert change.as_of.block_number == block.header.number
    assert target.as_of(line, bucket_of(token), sealed=True).status == "sealed"
    again, _ = target.apply(batch(target.position, open_view(block)))
    assert again == []
    (change,), _ = target.apply(batch(target.position, block))
    assert change.retracted == () and change.as_of.status == "sealed"
    assert line.quoted is None and line.tip.sold == scenario.tokens[token].sold


def test_price_at_the_seal_says_when_the_open_block_above_it_was_heard():
    scenario, token, target = world()
    scenario.buy(token, ETH // 10)
    sealed = scenario.seal(received_ns=1_000)
    scenario.buy(token, ETH // 20)
    opened = replace(open_view(scenario.seal()), received_ns=9_000)
    target.apply(batch(target.position, replace(open_view(sealed), received_ns=1_000)))
    target.apply(batch(target.position, opened))
    (change,), _ = target.apply(batch(target.position, sealed))
    assert (change.as_of.status, change.as_of.block_number) == ("preconfirmed", opened.block_number)
    assert change.events_as_of.block_number == sealed.header.number
    assert change.received_ns == 9_000


def test_price_at_the_seal_of_what_was_open_says_when_its_block_was_heard():
    scenario, token, target = world()
    scenario.buy(token, ETH // 10)
    sealed = scenario.seal(received_ns=1_000)
    target.apply(batch(target.position, replace(open_view(sealed), received_ns=2_000)))
    (change,), _ = target.apply(batch(target.position, sealed))
    assert (change.as_of.status, change.received_ns) == ("sealed", 1_000)


def test_preconfirmed_trade_that_is_absent_at_the_seal_is_retracted_and_undone():
    scenario, token, target = world()
    parent = target.position
    other = scenario.fork_at(_header(target, scenario), salt="other")
    scenario.buy(token, ETH // 10)
    target.apply(batch(parent, open_view(scenario.seal())))
    changes_before = target.timelines[token].changes
    (change,), _ = target.apply(batch(parent, other.seal()))
    assert [one.type for one in change.retracted] == ["BUY"]
    assert target.timelines[token].current.sold == 0
    assert change.as_of.version[1] > changes_before


def test_preconfirmed_trade_with_other_amounts_at_the_seal_is_retracted():
    scenario, token, target = world()
    other = scenario.fork_at(_header(target, scenario), salt="other")
    scenario.buy(token, ETH // 10)
    shown = open_view(scenario.seal())
    target.apply(batch(target.position, shown))
    other.buy(token, ETH // 7)
    (change,), _ = target.apply(batch(target.position, other.seal()))
    assert [one.tx_hash for one in change.retracted] == [shown.events[0].at.tx_hash]
    assert len(change.effects) == 1
    assert target.timelines[token].current.sold == other.tokens[token].sold


def test_preconfirmed_trade_at_another_place_of_its_transaction_is_retracted():
    # Subscribers know a trade by its transaction and place: the one that was shown is no more.
    scenario, token, target = world()
    scenario.buy(token, ETH // 10)
    block = scenario.seal()
    shown = open_view(block)
    moved = [replace(e, at=replace(e.at, position=e.at.position + 2)) for e in shown.events]
    target.apply(batch(target.position, replace(shown, events=tuple(moved))))
    (change,), _ = target.apply(batch(target.position, block))
    assert [one.position for one in change.retracted] == [moved[0].at.position]
    assert target.timelines[token].tip.sold == scenario.tokens[token].sold


def test_preconfirmed_event_with_a_hole_before_it_drops_the_overlay_until_the_seal():
    scenario, token, target = world()
    for _ in range(3):
        scenario.buy(token, ETH // 10)
    block = scenario.seal()
    whole = open_view(block)
    target.apply(batch(target.position, replace(whole, events=whole.events[:1])))
    target.apply(batch(target.position, replace(whole, events=whole.events[2:])))
    assert target.timelines[token].current.sold == 0
    (change,), _ = target.apply(batch(target.position, block))
    assert change.retracted == ()
    assert target.timelines[token].current.sold == scenario.tokens[token].sold


def test_launch_that_does_not_come_true_leaves_no_market_and_numbering_goes_on():
    scenario, _, target = world()
    other = scenario.fork_at(_header(target, scenario), salt="other")
    token = scenario.launch("new")
    (change,), _ = target.apply(batch(target.position, open_view(scenario.seal())))
    assert change.market is not None and target.next_seq(token) == 1
    empty = other.seal()
    (change,), _ = target.apply(batch(target.position, empty))
    assert change.market is None and [one.type for one in change.retracted] == ["CREATE"]
    assert token not in target.timelines and target.next_seq(token) == 2
    version = change.as_of.version
    other.launch("new")
    (change,), _ = target.apply(batch(target.position, other.seal()))
    assert change.as_of.version > version and target.next_seq(token) == 3


def test_reorg_retracts_what_was_shown_and_ends_on_the_other_chain():
    scenario, token, target = world()
    header = _header(target, scenario)
    fork = scenario.fork_at(header, salt="fork")
    for _ in range(3):
        scenario.buy(token, ETH // 10)
        target.apply(batch(target.position, scenario.seal()))
    reorg = Reorg(CHAIN_ID, header.number, header.hash)
    (change,), _ = target.apply(batch(target.position, reorg))
    assert len(change.retracted) == 3 and change.market.sold == 0
    assert target.position == FeedPosition(header.number, header.hash)
    fork.buy(token, ETH // 3)
    block = fork.seal()
    target.apply(batch(target.position, block))
    line = target.timelines[token]
    assert {token: (line.tip.sold, line.tip.raised, line.tip.seq)} == truth(fork)
    assert target.position == at(block)


def test_reorg_of_a_launch_forgets_the_market():
    scenario = Scenario(remember=True)
    first = scenario.seal()
    target = group()
    target.apply(batch(target.position, first))
    token = scenario.launch("late")
    scenario.buy(token, ETH)
    target.apply(batch(target.position, scenario.seal()))
    reorg = Reorg(CHAIN_ID, first.header.number, first.header.hash)
    (change,), _ = target.apply(FeedBatch(CHAIN_ID, target.position, (reorg,), 0))
    assert change.market is None and token not in target.timelines
    assert sorted(one.type for one in change.retracted) == ["BUY", "CREATE"]


def test_preview_of_a_sealed_block_changes_nothing():
    scenario, token, target = world()
    scenario.buy(token, ETH // 10)
    block = scenario.seal()
    target.apply(batch(target.position, block))
    assert target.apply(batch(target.position, open_view(block)))[0] == []
    assert isinstance(block.events[0], Traded)


def _header(target, scenario):
    number = target.position.number
    return Block(replace(scenario._header(), number=number, hash=target.position.hash), ()).header


def test_preconfirmed_event_that_is_sealed_already_is_not_taken_back_later():
    scenario, token, target = world()
    scenario.buy(token, ETH // 10)
    block = scenario.seal()
    target.apply(batch(target.position, block))
    # Told once more, for the block after: of the fork that a reorg left, say.
    late = open_view(block)
    events = tuple(
        replace(one, at=replace(one.at, block_number=block.header.number + 1))
        for one in late.events
    )
    told = replace(late, block_number=block.header.number + 1, events=events)
    assert target.apply(batch(target.position, told))[0] == []
    changes, _ = target.apply(batch(target.position, scenario.seal()))
    assert changes == []


def test_preconfirmed_trade_that_is_sealed_otherwise_in_an_earlier_block_is_retracted_at_once():
    scenario, token, _ = world()
    scenario.buy(token, ETH // 10)
    (event,) = [one for one in open_view(scenario.seal()).events if isinstance(one, Traded)]
    block = event.at.block_number
    ahead = replace(event, at=replace(event.at, block_number=block + 1))
    assert overlay.split([ahead], [event], block) == ([], ())
    assert overlay.split([ahead], [replace(event, tokens=1)], block) == ([], (ahead,))
    other = replace(event, tokens=1, at=replace(event.at, position=event.at.position + 1))
    assert overlay.split([ahead], [other], block) == ([ahead], ())
