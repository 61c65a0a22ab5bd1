"""Fees: on the ETH side only, outside the curve, in basis points of the gross amount.

`net(gross) = floor(gross*(10000-f)/10000)` and `gross(net) = ceil(net*10000/(10000-f))`,
so that `net(gross(n)) == n`. Source: `chain/contracts/libraries/Fees.sol`.
"""

from dataclasses import dataclass
from functools import lru_cache

from curves.values import value

BPS = 10_000
FEE_BPS_MAX = 9_900


@value
class FeeRates:
    """Basis points at one block."""

    protocol_bps: int
    creator_bps: int
    launch_bps: int

    @property
    def total_bps(self) -> int:
        """The sum, at most 9,900."""
        return self.protocol_bps + self.creator_bps + self.launch_bps

    def net(self, gross: int) -> int:
        """What is left of `gross` wei after fees, floored."""
        left_bps = BPS - self.protocol_bps - self.creator_bps - self.launch_bps
        return gross * left_bps // BPS

    def gross(self, net: int) -> int:
        """The least gross wei whose net is `net`."""
        left_bps = BPS - self.protocol_bps - self.creator_bps - self.launch_bps
        return -(-net * BPS // left_bps)

    def split(self, gross: int, net: int) -> tuple[int, int, int]:
        """(protocol, creator, launch) wei of `gross - net`; protocol takes the rounding."""
        creator = gross * self.creator_bps // BPS
        launch = gross * self.launch_bps // BPS
        protocol = gross - net - creator - launch
        assert protocol >= 0, f"Expected no negative fee, was {protocol}"
        return protocol, creator, launch


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """A token's fees, frozen at launch.

    The launch fee falls linearly per block from `launch_bps` in `launch_block` to 0 at
    `launch_block + launch_blocks`; it never rises.
    """

    protocol_bps: int
    creator_bps: int
    launch_bps: int
    launch_blocks: int
    launch_block: int

    def at(self, block: int) -> FeeRates:
        """The rates of a trade mined in `block`. Blocks before the launch count as it."""
        return _rates(self.protocol_bps, self.creator_bps, self._launch_bps(block))

    def without_launch(self) -> FeeRates:
        """The rates of the first buy inside `create`, which is exempt."""
        return _rates(self.protocol_bps, self.creator_bps, 0)

    def exact_until(self, block: int) -> int | None:
        """The last block with the same rates as `block`; None when they never change again."""
        rate = self._launch_bps(block)
        if rate == 0:
            return None
        # floor(S*(N-age)/N) == rate holds while S*(N-age) >= rate*N.
        age = self.launch_blocks - -(-rate * self.launch_blocks // self.launch_bps)
        return self.launch_block + age

    def _launch_bps(self, block: int) -> int:
        age = max(block - self.launch_block, 0)
        if age >= self.launch_blocks:
            return 0
        return self.launch_bps * (self.launch_blocks - age) // self.launch_blocks


@lru_cache(maxsize=16_384)
def _rates(protocol_bps: int, creator_bps: int, launch_bps: int) -> FeeRates:
    # Asked for with every trade: a few for each configuration, the same for all its markets.
    return FeeRates(protocol_bps, creator_bps, launch_bps)
