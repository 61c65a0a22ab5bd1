"""Constant product with virtual reserves: x = V + raised, y = T - sold, x*y never falls.

Source: `chain/contracts/curves/ConstantProduct.sol`.
"""

from dataclasses import dataclass

from curves.curve import ExceedsRaised


@dataclass(frozen=True, slots=True)
class ConstantProduct:
    """`virtual_eth` wei and `virtual_tokens` token-wei stand in the reserves at launch."""

    virtual_eth: int
    virtual_tokens: int
    curve_supply: int
    pool_supply: int

    def tokens_for_eth(self, sold: int, raised: int, eth: int) -> int:
        """floor(y*n / (x+n))."""
        x, y = self._reserves(sold, raised)
        return y * eth // (x + eth)

    def eth_for_tokens(self, sold: int, raised: int, tokens: int) -> int:
        """ceil(x*t / (y-t))."""
        x, y = self._reserves(sold, raised)
        assert tokens < y, f"Expected tokens below the reserve {y}, was {tokens}"
        return -(-x * tokens // (y - tokens))

    def proceeds_of_tokens(self, sold: int, raised: int, tokens: int) -> int:
        """floor(x*t / (y+t))."""
        x, y = self._reserves(sold, raised)
        return x * tokens // (y + tokens)

    def tokens_for_proceeds(self, sold: int, raised: int, eth: int) -> int:
        """ceil(y*g / (x-g))."""
        x, y = self._reserves(sold, raised)
        if eth > raised:
            raise ExceedsRaised(f"Expected at most {raised} wei, was {eth}")
        tokens = -(-y * eth // (x - eth))
        if tokens > sold:
            raise ExceedsRaised(f"Expected at most the {sold} sold token-wei, was {tokens}")
        return tokens

    def price_fraction(self, sold: int, raised: int) -> tuple[int, int]:
        """x / y."""
        return self._reserves(sold, raised)

    def _reserves(self, sold: int, raised: int) -> tuple[int, int]:
        assert 0 <= sold <= self.curve_supply, f"Expected sold in the curve, was {sold}"
        assert raised >= 0, f"Expected raised of at least 0, was {raised}"
        return self.virtual_eth + raised, self.virtual_tokens - sold
