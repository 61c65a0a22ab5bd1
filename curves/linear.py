"""Linear price: every token sold raises the price by the same step.

With U = 1e24 and D = 2e42, `area(s, d) = d*(step*(2s+d) + 2*p0*U)` is D times the wei
between `sold = s` and `sold = s + d`. The cost depends on `sold` only; with `raised` as
the base a round trip would take dust. `raised*D - area(0, sold)` never falls.
Source: `chain/contracts/curves/Linear.sol`.
"""

from dataclasses import dataclass
from math import isqrt

from curves.curve import ExceedsRaised

U = 10**24
D = 2 * 10**42


@dataclass(frozen=True, slots=True)
class Linear:
    """`start_price` in wei per whole token, `step` in 1e-6 wei per whole token squared."""

    start_price: int
    step: int
    curve_supply: int
    pool_supply: int

    def tokens_for_eth(self, sold: int, raised: int, eth: int) -> int:
        """inverse(area(0,s) + n*D) - s."""
        tokens = self._inverse(self.area(0, sold) + eth * D) - sold
        assert tokens >= 0, f"Expected a growing curve, was {tokens}"
        return tokens

    def eth_for_tokens(self, sold: int, raised: int, tokens: int) -> int:
        """ceil(area(s,t) / D)."""
        return -(-self.area(sold, tokens) // D)

    def proceeds_of_tokens(self, sold: int, raised: int, tokens: int) -> int:
        """floor(area(s-t,t) / D)."""
        assert tokens <= sold, f"Expected at most {sold}, was {tokens}"
        return self.area(sold - tokens, tokens) // D

    def tokens_for_proceeds(self, sold: int, raised: int, eth: int) -> int:
        """s - inverse(area(0,s) - g*D)."""
        area = self.area(0, sold)
        if eth > raised or eth * D > area:
            raise ExceedsRaised(f"Expected at most {min(raised, area // D)} wei, was {eth}")
        return sold - self._inverse(area - eth * D)

    def price_fraction(self, sold: int, raised: int) -> tuple[int, int]:
        """(p0*U + step*s) / 1e42, the derivative of the area."""
        return self.start_price * U + self.step * sold, D // 2

    def area(self, sold: int, tokens: int) -> int:
        """D times the wei between `sold` and `sold + tokens`, exact."""
        assert sold >= 0 and tokens >= 0, f"Expected no negative amount, was {sold}, {tokens}"
        return tokens * (self.step * (2 * sold + tokens) + 2 * self.start_price * U)

    def _inverse(self, area: int) -> int:
        base = self.start_price * U
        return (isqrt(base * base + self.step * area) - base) // self.step
