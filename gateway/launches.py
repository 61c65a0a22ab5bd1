"""A launch before it exists: its curve, its fees, its address and the quote of its first buy.

Curves and the implementation never change once added and are remembered; the fees of the
next launch may change, and are read each time.
"""

import asyncio
from dataclasses import dataclass

from eth_hash.auto import keccak

from chain.transactions import clone_init_hash, token_address
from curves import trade
from curves.curve import CurveError, Quote
from engine.errors import CallerError, TransientError
from engine.market import curve_of, price_e18, schedule_of
from engine.messages import CurveNumbers, FeeNumbers, QuoteRequest
from engine.quoting import bound
from engine.settings import ChainSettings
from gateway.ports import Node
from gateway.view import family_name

CURVES_MAX = 256
"""Configurations of one launchpad that are looked at."""

_FEES = keccak(b"fees()")[:4]
_CURVE_COUNT = keccak(b"curveCount()")[:4]
_CURVE = keccak(b"curve(uint256)")[:4]
_IMPLEMENTATION = keccak(b"tokenImplementation()")[:4]


@dataclass(frozen=True, slots=True)
class FirstBuy:
    """What `create` with value gives, exempt from the launch fee."""

    quote: Quote
    value: int
    min_tokens: int
    spot_price_e18: int
    price_impact_bps: int


class Launches:
    """Asks the newest launchpad through the node. Raises TransientError when it is away."""

    def __init__(self, node: Node, chain: ChainSettings) -> None:
        self._node = node
        self._launchpad = chain.launchpad.address
        self._init_hash: bytes | None = None
        self._curves: dict[str, tuple[int, CurveNumbers]] = {}

    async def address(self, creator: bytes, salt: bytes) -> bytes:
        """Where `creator`'s launch with `salt` will be (CREATE2)."""
        if self._init_hash is None:
            (implementation,) = await self._words(_IMPLEMENTATION, 1)
            self._init_hash = clone_init_hash(implementation.to_bytes(32, "big")[12:])
        return token_address(
            launchpad=self._launchpad, creator=creator, salt=salt, init_hash=self._init_hash
        )

    async def curve(self, family: str) -> tuple[int, CurveNumbers]:
        """(curve id, its numbers): the first configuration of the family."""
        if family not in self._curves:
            await self._read_curves()
        if family not in self._curves:
            raise CallerError("invalid_request", f"curve: Expected one on offer, was {family}")
        return self._curves[family]

    async def fees(self) -> FeeNumbers:
        """Of the next launch."""
        return FeeNumbers(*await self._words(_FEES, 6))

    async def _read_curves(self) -> None:
        (count,) = await self._words(_CURVE_COUNT, 1)
        ids = range(min(count, CURVES_MAX))
        rows = await asyncio.gather(
            *(self._words(_CURVE + id_.to_bytes(32, "big"), 5) for id_ in ids)
        )
        for curve_id, row in zip(ids, rows, strict=True):
            self._curves.setdefault(family_name(row[0]), (curve_id, CurveNumbers(*row)))

    async def _words(self, data: bytes, count: int) -> list[int]:
        answer = await self._node.call(to=self._launchpad, data=data)
        if len(answer) < 32 * count:
            raise TransientError("stale_chain", "Expected the launchpad to answer")
        return [int.from_bytes(answer[32 * i : 32 * i + 32], "big") for i in range(count)]


def first_buy(
    numbers: CurveNumbers, fees: FeeNumbers, *, value: int, slippage_bps: int
) -> FirstBuy:
    """The buy inside `create`, on the empty curve. Raises CallerError as a market would."""
    curve, rates = curve_of(numbers), schedule_of(fees, 0).without_launch()
    try:
        quote = trade.buy_exact_in(curve, 0, 0, rates=rates, value=value)
    except CurveError as error:
        raise CallerError(error.code, f"initialBuyEth: {error}") from error
    above, below = curve.price_fraction(0, 0)
    at_spot = quote.tokens * above
    asked = QuoteRequest(b"", True, False, value, slippage_bps)
    return FirstBuy(
        quote=quote,
        value=value,
        min_tokens=bound(value, quote.tokens, asked),
        spot_price_e18=price_e18(numbers, 0, 0),
        price_impact_bps=abs(quote.curve_eth * below - at_spot) * 10_000 // at_spot,
    )
