"""Synthetic blocks of launches and trades, for benches of what comes after the chain."""

from dataclasses import replace

from engine.messages import Block, ChainEvent, TokenCreated, Transferred
from engine.positions import ZERO_ADDRESS
from tests.support.history import Traders
from tests.support.scenario import LAUNCHPAD, Scenario

TOKENS = 200
WALLETS = 500


class Trading:
    """`launches` gives the first block, `next` block after block of trades."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        for number in range(TOKENS):
            scenario.launch(f"bench {number}")
        self._traders = Traders(scenario, tuple(f"trader {number}" for number in range(WALLETS)))

    def launches(self) -> Block:
        """Of all tokens."""
        return minted(self._scenario.seal())

    def next(self, trades: int) -> Block:
        """Buys and sells at random of wallets that sell only what they hold."""
        self._traders.trade(trades)
        return self._scenario.seal()


def minted(block: Block) -> Block:
    """With the mint of each launch, which the scenario leaves out; its log index is free."""
    events: list[ChainEvent] = []
    for event in block.events:
        events.append(event)
        if isinstance(event, TokenCreated):
            place = {"log_index": event.at.log_index + 1, "position": event.at.position + 1}
            at = replace(event.at, emitter=event.token, **place)
            supply = event.curve.curve_supply + event.curve.pool_supply
            events.append(Transferred(at, event.token, ZERO_ADDRESS, LAUNCHPAD, supply))
    return replace(block, events=tuple(events))
