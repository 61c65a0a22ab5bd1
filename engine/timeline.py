"""A market through the unfinalised window: sealed values, and what is preconfirmed above.

`confirmed` holds (block, value) in rising blocks; its first entry is the value at the
window's base, the others one for each later block that changed the market. It is empty for
a market whose launch is only preconfirmed. `overlay` holds the preconfirmed events above
the tip; the quoted value is the overlay folded on the tip. There is no undo: a reorg pops
values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine import overlay as overlays
from engine.errors import ConsistencyError
from engine.market import Effect, Market, apply, apply_trades
from engine.messages import MarketEvent


@dataclass(slots=True)
class Timeline:
    """One market's values. `changes` counts every visible change, `seq` its topic's messages;
    both only grow. `blind` drops the overlay until the next seal; `heard_ns` is when the newest
    of what is preconfirmed came."""

    confirmed: list[tuple[int, Market]]
    overlay: list[MarketEvent] = field(default_factory=list)
    quoted: Market | None = None
    blind: bool = False
    changes: int = 0
    seq: int = 0
    heard_ns: int = 0
    halted: str | None = None

    @property
    def sealed(self) -> Market | None:
        """The newest sealed value; None while the launch is only preconfirmed."""
        return self.confirmed[-1][1] if self.confirmed else None

    @property
    def tip(self) -> Market:
        """The newest sealed value of a market that has one."""
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

    def preview(self, events: Sequence[MarketEvent]) -> tuple[Effect, ...]:
        """Put preconfirmed events on top. One that was there before, or that is sealed already,
        changes nothing; one that does not fit drops the overlay until the seal, and what was
        seen stays remembered.
        """
        known = {(event.at.tx_hash, event.at.log_index) for event in self.overlay}
        fresh = [e for e in events if (e.at.tx_hash, e.at.log_index) not in known]
        if not fresh or self.halted is not None:
            return ()
        if self.blind:
            return ()
        try:
            market, effects, applied = _fold_new(self.quoted or self.sealed, fresh)
        except ConsistencyError:
            self.changes += self.quoted is not None
            self.quoted, self.blind = None, True
            return ()
        # Only these: what was never shown must not be taken back at the seal.
        self.overlay.extend(applied)
        if not effects:
            return ()
        self.quoted = market
        self.changes += 1
        return effects

    def seal(
        self, block: int, events: Sequence[MarketEvent]
    ) -> tuple[tuple[Effect, ...], tuple[MarketEvent, ...]]:
        """Apply a sealed block's events, all at once: (effects, preconfirmed events that did
        not come true). Raises ConsistencyError, unchanged.
        """
        effects: tuple[Effect, ...] = ()
        before = market = self.sealed
        if events:
            market, effects = fold(before, events)
            if market is not before:
                if self.confirmed and self.confirmed[-1][0] == block:
                    self.confirmed.pop()
                self.confirmed.append((block, market))
        retracted: tuple[MarketEvent, ...] = ()
        waiting: list[MarketEvent] = []
        if self.overlay:
            waiting, retracted = overlays.split(self.overlay, events, block)
        self._refold(waiting)
        if effects or retracted or market is not before:
            self.changes += 1
        return effects, retracted

    def forget_below(self, base: int) -> None:
        """Drop values that no reorg can reach any more; the one at `base` stays."""
        keep = 0
        for index, (number, _) in enumerate(self.confirmed):
            if number > base:
                break
            keep = index
        if keep:
            del self.confirmed[:keep]

    def pop_above(self, ancestor: int) -> tuple[MarketEvent, ...]:
        """Void every value above `ancestor`, and the overlay, which is answered."""
        while self.confirmed and self.confirmed[-1][0] > ancestor:
            self.confirmed.pop()
        voided = tuple(self.overlay)
        self.overlay, self.quoted, self.blind = [], None, False
        self.changes += 1
        return voided

    def _refold(self, waiting: list[MarketEvent]) -> None:
        # The next open block may have begun before this one was sealed.
        self.overlay, self.quoted, self.blind = waiting, None, False
        if waiting:
            try:
                self.quoted, _ = fold(self.sealed, waiting)
            except ConsistencyError:
                self.blind = True


def fold(market: Market | None, events: Sequence[MarketEvent]) -> tuple[Market, tuple[Effect, ...]]:
    """Apply `events` in order. Raises ConsistencyError on the first that does not fit."""
    effects: list[Effect] = []
    done = 0
    while done < len(events):
        moved: Sequence[Effect] = ()
        if market is not None:
            market, moved = apply_trades(market, events, start=done)
            if len(moved) == len(events):
                return market, tuple(moved)  # mostly: a block has nothing but trades of it
        if moved:
            effects += moved
        else:
            market, came = apply(market, events[done])
            effects += came
        done += len(moved) or 1
    if market is None:
        raise ConsistencyError("unknown_market", "Expected at least one event")
    return market, tuple(effects)


def _fold_new(
    market: Market | None, events: Sequence[MarketEvent]
) -> tuple[Market | None, tuple[Effect, ...], list[MarketEvent]]:
    effects: list[Effect] = []
    applied: list[MarketEvent] = []
    for event in events:
        before = market
        market, came = apply(market, event)
        effects.extend(came)
        if market is not before:
            applied.append(event)
    return market, tuple(effects), applied
