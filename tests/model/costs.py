"""Profit by moving average cost, by the plainest means: each sell's profit is put down."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass
class Cost:
    """Of one wallet in one token, after some trades."""

    held: int = 0
    cost: int = 0
    realised: int = 0

    def trade(self, side: str, *, eth: int, tokens: int) -> None:
        if side == "BUY":
            self.held += tokens
            self.cost += eth
            return
        gone = min(tokens, self.held)
        share = self.cost * gone // self.held if self.held else 0
        self.held -= gone
        self.cost -= share
        self.realised += eth - share


def costs(trades: Iterable[tuple[K, str, int, int]]) -> dict[K, Cost]:
    """Of (whose, BUY or SELL, ETH, tokens) in the order of the chain."""
    found: dict[K, Cost] = {}
    for key, side, eth, tokens in trades:
        found.setdefault(key, Cost()).trade(side, eth=eth, tokens=tokens)
    return found
