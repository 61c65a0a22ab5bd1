"""ETH in USD, by an aggregator contract on the chain; a price that is old is none.

Integers: USD with 8 decimals a whole ETH. Asked at most once in KEPT_S; whoever asks while the
node or the feed is away, or when the feed has not been updated in time, gets None.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from engine.errors import RiseCurveError
from engine.text import units
from gateway.kept import Kept
from gateway.ports import Log, Node

DECIMALS = 8
KEPT_S = 5.0
TIMEOUT_S = 1.0
AHEAD_S_MAX = 60
"""A feed's time may run before our clock by so much."""

_LATEST = keccak(b"latestRoundData()")[:4]
_DECIMALS = keccak(b"decimals()")[:4]
_ROUND = ["uint80", "int256", "uint256", "uint256", "uint80"]
_FEED_DECIMALS_MAX = 36


@dataclass(frozen=True, slots=True)
class EthPrice:
    """`usd_e8` a whole ETH, as the feed said at `updated_at` (unix seconds)."""

    usd_e8: int
    updated_at: int

    def price(self, price_e18: int) -> str:
        """USD a token of a price as it is stored, floored to 18 decimals."""
        return units(price_e18 * self.usd_e8 // 10 ** (18 + DECIMALS))

    def amount(self, wei: int) -> str:
        """USD of an amount of wei, floored to 18 decimals."""
        return units(wei * self.usd_e8 // 10**DECIMALS)


class UsdFeed:
    """One aggregator (`latestRoundData`); without an address there is never a price."""

    def __init__(
        self,
        node: Node,
        address: bytes,
        *,
        age_max_s: int,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._address = address
        self._age_max_s = age_max_s
        self._log = log
        self._clock = clock
        self._decimals: int | None = None
        self._told = False
        self._kept = Kept(self._read, seconds=KEPT_S)

    async def price(self) -> EthPrice | None:
        """The price that is good now; None: not configured, away, or too old. Never raises."""
        found = await self._kept.get() if self._address else None
        return found if found is not None and self._fresh(found.updated_at) else None

    async def _read(self) -> EthPrice | None:
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                found = await self._ask()
        except (RiseCurveError, TimeoutError, DecodingError) as error:
            self._trouble(str(error) or type(error).__name__)
            return None
        if not self._fresh(found.updated_at) or found.usd_e8 <= 0:
            self._trouble(f"{found}")
            return None
        self._told = False
        return found

    async def _ask(self) -> EthPrice:
        if self._decimals is None:
            (decimals,) = decode(["uint8"], await self._call(_DECIMALS))
            if decimals > _FEED_DECIMALS_MAX:
                raise DecodingError(f"Expected at most {_FEED_DECIMALS_MAX} decimals")
            self._decimals = decimals
        _, answer, _, updated_at, _ = decode(_ROUND, await self._call(_LATEST))
        return EthPrice(answer * 10**DECIMALS // 10**self._decimals, updated_at)

    async def _call(self, data: bytes) -> bytes:
        return await self._node.call(to=self._address, data=data, timeout_s=TIMEOUT_S)

    def _fresh(self, updated_at: int) -> bool:
        return -AHEAD_S_MAX <= self._clock() - updated_at <= self._age_max_s

    def _trouble(self, text: str) -> None:
        if not self._told:
            self._log.warning("usd_feed_gives_no_price", error=text)
        self._told = True
