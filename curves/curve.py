"""What every bonding curve answers, what a trade on it gives, and how it refuses.

All amounts are integers in base units: ETH in wei, tokens in token-wei (18 decimals).
Rounding always favours the pool: what a trader receives is floored, what a trader pays
is ceiled. Source: `chain/contracts/curves/*.sol`, bit for bit.
"""

from typing import ClassVar, Protocol

from curves.values import value

WAD = 10**18
TOTAL_SUPPLY = 1_000_000_000 * WAD
AMOUNT_MAX = 2**112 - 1


class CurveError(ValueError):
    """A trade that the contract reverts too. `code` is stable and public."""

    code: ClassVar[str] = "curve_error"


class MarketNotOpen(CurveError):
    """The market's phase does not allow this trade (contract: `MarketNotOpen`)."""

    code = "market_graduating"


class AmountTooLarge(CurveError):
    """An amount above 2**112 - 1 (contract: `AmountTooLarge`)."""

    code = "amount_too_large"


class ExceedsSold(CurveError):
    """A sell of more tokens than the curve has sold (contract: `ExceedsSold`)."""

    code = "exceeds_sold"


class ExceedsRaised(CurveError):
    """A sell for more ETH than the curve holds (contract: `ExceedsRaised`)."""

    code = "exceeds_sold"


class ZeroOutput(CurveError):
    """Nothing in or nothing out (contract: `ZeroOutput`)."""

    code = "zero_output"


class SlippageExceeded(CurveError):
    """The trade is worse than the bound it carries (contract: `SlippageExceeded`)."""

    code = "slippage_exceeded"


class Curve(Protocol):
    """A curve family with its numbers. State is (`sold`, `raised`), both from zero.

    Every method is the bare curve: no fees, no clipping, no checks of zero. The caller
    (`curves.trade`) keeps `tokens <= curve_supply - sold` on buys and `tokens <= sold`
    on sells.
    """

    @property
    def curve_supply(self) -> int:
        """Token-wei that the curve sells in all."""

    @property
    def pool_supply(self) -> int:
        """Token-wei kept for the pool."""

    def tokens_for_eth(self, sold: int, raised: int, eth: int) -> int:
        """Buy exact-in: token-wei for `eth` wei, floored."""

    def eth_for_tokens(self, sold: int, raised: int, tokens: int) -> int:
        """Buy exact-out: wei to pay for `tokens`, ceiled."""

    def proceeds_of_tokens(self, sold: int, raised: int, tokens: int) -> int:
        """Sell exact-in: wei received for `tokens`, floored."""

    def tokens_for_proceeds(self, sold: int, raised: int, eth: int) -> int:
        """Sell exact-out: token-wei to give for `eth` wei, ceiled. May raise ExceedsRaised."""

    def price_fraction(self, sold: int, raised: int) -> tuple[int, int]:
        """Spot price in wei per token-wei as (numerator, denominator), exact."""


@value
class Quote:
    """What one trade gives on one state.

    `eth` is what the trader pays in all (buy: equals `spent`) or receives net of fees
    (sell). `curve_eth` is what enters or leaves the curve; the three fees are the
    difference. `refund` is what an exact-in buy gets back when it was clipped.
    `sold` and `raised` are the state after.
    """

    is_buy: bool
    exact_out: bool
    requested: int
    tokens: int
    eth: int
    curve_eth: int
    protocol_fee: int
    creator_fee: int
    launch_fee: int
    refund: int
    clipped: bool
    sold: int
    raised: int

    @property
    def fee(self) -> int:
        """All fees together, wei."""
        return self.protocol_fee + self.creator_fee + self.launch_fee
