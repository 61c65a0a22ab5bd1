"""Synthetic blocks: as many trades as asked for, which a shard's group takes."""

from bench import rates
from bench.blocks import TOKENS, Trading
from engine.messages import TokenCreated, Traded, Transferred
from engine.positions import ZERO_ADDRESS
from tests.support.scenario import Scenario


def test_first_block_has_every_launch_with_its_mint() -> None:
    events = Trading(Scenario()).launches().events
    launches = [event for event in events if isinstance(event, TokenCreated)]
    mints = [event for event in events if isinstance(event, Transferred)]
    assert len(launches) == TOKENS
    assert [mint.token for mint in mints] == [launch.token for launch in launches]
    assert all(mint.sender == ZERO_ADDRESS for mint in mints)


def test_next_block_has_so_many_trades() -> None:
    trading = Trading(Scenario())
    trading.launches()
    blocks = [trading.next(30), trading.next(20)]
    trades = [[e for e in block.events if isinstance(e, Traded)] for block in blocks]
    assert [len(each) for each in trades] == [30, 20]
    assert blocks[1].header.parent_hash == blocks[0].header.hash


def test_group_applies_every_trade_of_each_turn() -> None:
    found = rates.apply_rates(2, blocks=2)
    assert len(found) == 2 and min(found) > 0
