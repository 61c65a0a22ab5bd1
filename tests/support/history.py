"""Rows of a scenario's blocks, made by `engine.history` as the recorder makes them."""

from dataclasses import dataclass, field, replace

from engine.history import ZERO_ADDRESS, rows_of
from engine.messages import Block, CurveNumbers, EventHeader, FeedPosition, TokenCreated
from engine.rows import BlockRows, TransferRow
from tests.support.scenario import LAUNCHPAD, Scenario


@dataclass
class Historian:
    """`rows(block)` of blocks in order; keeps the curves and closes that they need."""

    curves: dict[bytes, CurveNumbers] = field(default_factory=dict)
    closes: dict[bytes, int] = field(default_factory=dict)

    def rows(self, block: Block) -> BlockRows:
        rows = rows_of(block, self.curves, self.closes, venues=frozenset({LAUNCHPAD}))
        self.curves |= {token.token: token.curve for token in rows.tokens}
        self.closes |= {market.token: market.price_e18 for market in rows.markets}
        created = [event for event in block.events if isinstance(event, TokenCreated)]
        mints = tuple(_mint(event) for event in created)
        return replace(rows, transfers=mints + rows.transfers)


def position_of(block: Block) -> FeedPosition:
    return FeedPosition(block.header.number, block.header.hash)


def _mint(event: TokenCreated) -> TransferRow:
    # The scenario leaves the mint out, and its log index free.
    at = event.at
    mint_at = EventHeader(
        *(getattr(at, name) for name in EventHeader.__slots__[:6]),
        log_index=at.log_index + 1,
        position=at.position + 1,
        emitter=event.token,
        version=at.version,
    )
    supply = event.curve.curve_supply + event.curve.pool_supply
    return TransferRow(mint_at, event.token, ZERO_ADDRESS, LAUNCHPAD, supply)


@dataclass
class Traders:
    """Trades at random of wallets that sell only what they hold, as on a real chain."""

    scenario: Scenario
    names: tuple[str, ...] = ("alice", "bob", "carol")
    held: dict[tuple[bytes, str], int] = field(default_factory=dict)

    def trade(self, count: int) -> None:
        for _ in range(count):
            pick = self.scenario.random
            token, name = pick.choice(sorted(self.scenario.tokens)), pick.choice(self.names)
            held = self.held.get((token, name), 0)
            if held and pick.random() < 0.4:
                sold = held if pick.random() < 0.3 else pick.randrange(held // 2, held) + 1
                self.scenario.sell(token, sold, name)
                self.held[token, name] = held - sold
            else:
                quote = self.scenario.buy(token, pick.randrange(10**9, 10**15), name)
                self.held[token, name] = held + quote.tokens
