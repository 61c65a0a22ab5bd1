"""A Uniswap V2 pair after graduation: x*y with 0.3 % of what comes in, the pair's own rounding.

What a trader receives is floored, what a trader pays is floored and one unit added: that is
the pair's rule and not a ceiling. Source: `chain/contracts/libraries/PoolMath.sol`.
"""

from dataclasses import dataclass

from curves.curve import ExceedsRaised, ExceedsSold

KEPT = 997
WHOLE = 1_000


@dataclass(frozen=True, slots=True)
class Pool:
    """The pair's reserves in base units; both at least 1, since its liquidity is burned."""

    reserve_token: int
    reserve_weth: int

    def tokens_for_eth(self, eth: int) -> int:
        """Buy exact-in: token-wei out for `eth` wei into the pair, floored."""
        return _out(eth, self.reserve_weth, self.reserve_token)

    def eth_for_tokens(self, tokens: int) -> int:
        """Buy exact-out: wei into the pair for `tokens`, floor + 1. Raises ExceedsSold."""
        if tokens >= self.reserve_token:
            raise ExceedsSold(
                f"Expected less than the reserve of {self.reserve_token} token-wei, was {tokens}"
            )
        return _in(tokens, self.reserve_weth, self.reserve_token)

    def proceeds_of_tokens(self, tokens: int) -> int:
        """Sell exact-in: wei out for `tokens` into the pair, floored."""
        return _out(tokens, self.reserve_token, self.reserve_weth)

    def tokens_for_proceeds(self, eth: int) -> int:
        """Sell exact-out: token-wei into the pair for `eth`, floor + 1. Raises ExceedsRaised."""
        if eth >= self.reserve_weth:
            raise ExceedsRaised(
                f"Expected less than the reserve of {self.reserve_weth} wei, was {eth}"
            )
        return _in(eth, self.reserve_token, self.reserve_weth)

    def price_fraction(self) -> tuple[int, int]:
        """Spot price in wei per token-wei as (numerator, denominator), exact."""
        return self.reserve_weth, self.reserve_token


def _out(amount: int, reserve_in: int, reserve_out: int) -> int:
    assert reserve_in > 0 and reserve_out > 0, f"Expected reserves, was {reserve_in} {reserve_out}"
    kept = amount * KEPT
    return kept * reserve_out // (reserve_in * WHOLE + kept)


def _in(amount: int, reserve_in: int, reserve_out: int) -> int:
    assert reserve_in > 0 and reserve_out > 0, f"Expected reserves, was {reserve_in} {reserve_out}"
    return reserve_in * amount * WHOLE // ((reserve_out - amount) * KEPT) + 1
