"""What the demo counts; the view draws it, the end judges it."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

RATE_WINDOW_S = 5.0
LATENCIES_KEPT = 100_000


@dataclass(slots=True)
class MarketLine:
    """The last price tick of a token, as text."""

    name: str
    symbol: str
    family: str
    price: str = "-"
    market_cap: str = "-"
    progress_bps: int = 0
    phase: str = "curve"
    trades: int = 0


@dataclass
class Tally:
    """`trade_hashes` are mined buys and sells; first buys and reverts are not among them.
    `foreign_hashes` are swaps straight on the pools, `graduations` tokens that got theirs.
    """

    wanted_trades: int | None = None
    started: float = field(default_factory=time.monotonic)
    markets: dict[str, MarketLine] = field(default_factory=dict)
    trade_hashes: list[str] = field(default_factory=list)
    foreign_hashes: list[str] = field(default_factory=list)
    traders: list[str] = field(default_factory=list)
    in_flight: int = 0
    reverts: int = 0
    quotes_checked: int = 0
    pool_quotes_checked: int = 0
    pool_trades: int = 0
    graduations: int = 0
    retracted: int = 0
    quote_mismatches: int = 0
    mismatches: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    ticks: int = 0
    tick_gaps: int = 0
    log_to_tick_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    _trade_times: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    _quote_times: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10_000))

    def ticket(self) -> bool:
        """Whether one more trade may start; each must end in `traded` or `not_traded`."""
        begun = len(self.trade_hashes) + self.in_flight
        if self.wanted_trades is not None and begun >= self.wanted_trades:
            return False
        self.in_flight += 1
        return True

    def traded(self, tx_hash: str) -> None:
        """A trade was mined and succeeded."""
        self.in_flight -= 1
        self.trade_hashes.append(tx_hash)
        self._trade_times.append(time.monotonic())

    def not_traded(self, *, reverted: bool = False) -> None:
        """A trade was not mined, or mined and reverted."""
        self.in_flight -= 1
        self.reverts += reverted

    @property
    def complete(self) -> bool:
        """All wanted trades are mined."""
        return self.wanted_trades is not None and len(self.trade_hashes) >= self.wanted_trades

    @property
    def graduated(self) -> list[MarketLine]:
        """Markets that trade on their pool."""
        return [market for market in self.markets.values() if market.phase == "graduated"]

    def quoted(self, count: int, *, on_pools: int = 0) -> None:
        """`count` quotes were answered and compared with the contract, `on_pools` of them
        for graduated tokens.
        """
        self.quotes_checked += count
        self.pool_quotes_checked += on_pools
        self._quote_times.append((time.monotonic(), count))

    def trades_per_s(self) -> float:
        """Over the last seconds."""
        since = time.monotonic() - RATE_WINDOW_S
        return sum(1 for at in self._trade_times if at > since) / RATE_WINDOW_S

    def quotes_per_s(self) -> float:
        """Over the last seconds."""
        since = time.monotonic() - RATE_WINDOW_S
        return sum(count for at, count in self._quote_times if at > since) / RATE_WINDOW_S


def percentile(values: Sequence[float], share: float) -> float | None:
    """Nearest rank; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
