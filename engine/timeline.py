"""A market through the unfinalised window: sealed values, and what is preconfirmed above.

`confirmed` holds (block, value) in rising blocks; its first entry is the value at the
window's base, the others one for each later block that changed the market. `overlay`
holds the preconfirmed events above the tip; the quoted value is the overlay folded on the
tip. There is no undo: a reorg pops values.
"""

from dataclasses import dataclass, field

from engine.errors import ConsistencyError
from engine.market import Effect, Market, apply
from engine.messages import MarketEvent


@dataclass(slots=True)
class Timeline:
    """One market's values. `changes` counts every visible change, and only grows."""

    confirmed: list[tuple[int, Market]]
    overlay: list[MarketEvent] = field(default_factory=list)
    quoted: Market | None = None
    changes: int = 0
    seq: int = 0
    halted: str | None = None

    @property
    def tip(self) -> Market:
        """The newest sealed value."""
        return self.confirmed[-1][1]

    @property
    def current(self) -> Market:
        """What is quoted: the overlay folded on the tip, or the tip."""
        return self.quoted or self.tip

    def state_at(self, block: int) -> Market | None:
        """The value after `block`; None before its launch or below the window's base."""
        for number, market in reversed(self.confirmed):
            if number <= block:
                return market
        return None

    def seal(self, block: int, events: list[MarketEvent]) -> tuple[Effect, ...]:
        """Apply a sealed block's events, all at once. Raises ConsistencyError, unchanged."""
        market, effects = fold(self.tip, events)
        if market is not self.tip:
            if self.confirmed[-1][0] == block:
                self.confirmed.pop()
            self.confirmed.append((block, market))
            self.changes += 1
        return effects

    def forget_below(self, base: int) -> None:
        """Drop values that no reorg can reach any more; the one at `base` stays."""
        keep = 0
        for index, (number, _) in enumerate(self.confirmed):
            if number <= base:
                keep = index
        if keep:
            del self.confirmed[:keep]

    def pop_above(self, ancestor: int) -> bool:
        """Void every value above `ancestor`. True when something was left to stand on."""
        while self.confirmed and self.confirmed[-1][0] > ancestor:
            self.confirmed.pop()
            self.changes += 1
        self.overlay.clear()
        self.quoted = None
        return bool(self.confirmed)


def fold(market: Market | None, events: list[MarketEvent]) -> tuple[Market, tuple[Effect, ...]]:
    """Apply `events` in order. Raises ConsistencyError on the first that does not fit."""
    effects: list[Effect] = []
    for event in events:
        market, came = apply(market, event)
        effects.extend(came)
    if market is None:
        raise ConsistencyError("unknown_market", "Expected at least one event")
    return market, tuple(effects)
