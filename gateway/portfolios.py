"""A wallet's tokens: balances as recorded, prices from memory, profit by average cost.

Balances are held against the chain's own at the recorder's block, in one call. If they agree
the answer names the block; if not, or if the node does not answer, it names none.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine import basis
from engine.basis import Basis
from engine.errors import RiseCurveError
from engine.limits import PAGE_LIMIT_MAX
from engine.messages import MarketView, Refusal
from engine.rows import HoldingRecord
from engine.text import address, units
from gateway import quotes, view
from gateway.context import Context
from gateway.usd import EthPrice

RECONCILE_S = 1.5
_SCALE = 10**36


@dataclass(frozen=True, slots=True)
class Profit:
    """Of one token, in wei. `cost` is what was paid for what was bought and is still here."""

    cost: int
    realised: int
    unrealised: int | None


async def portfolio(context: Context, owner: bytes, *, closed: bool) -> dict[str, Any]:
    """The answer's data, the most valuable first; `closed` adds tokens that were sold out of.
    `totalValue` and `unrealisedPnl` are null when one of the markets cannot answer; `realisedPnl`
    is of all tokens that were ever traded, listed or not.
    """
    wallet = await context.reads.holdings(owner, PAGE_LIMIT_MAX, closed=closed)
    holdings, block = wallet.holdings, wallet.block if wallet.block >= 0 else None
    markets, reconciled, usd = await asyncio.gather(
        quotes.views(context, [holding.token for holding in holdings]),
        _reconciled(context, owner, holdings, block=block),
        context.usd.price(),
    )
    pairs = sorted(zip(holdings, markets, strict=True), key=_worth)
    profits = [profit(*pair) for pair in pairs]
    values = [_value(*pair) for pair in pairs]
    unrealised = [one.unrealised for one in profits]
    return {
        "address": address(owner),
        "items": [
            view.holding_data(holding, market) | _shown(one)
            for (holding, market), one in zip(pairs, profits, strict=True)
        ],
        "totalValue": _sum(values),
        "totalValueUsd": _sum_usd(values, usd),
        "realisedPnl": units(wallet.realised_wei),
        "unrealisedPnl": _sum(unrealised),
        "asOfBlock": block,
        "reconciledAtBlock": block if reconciled else None,
    }


def profit(held: HoldingRecord, market: MarketView | Refusal) -> Profit:
    """By moving average cost (`engine.basis`). Tokens that were given cost nothing, and are no
    profit before they are sold.
    """
    # Only what was bought and is still here: given away is not sold.
    kept = min(held.held_tokens, held.balance)
    cost = basis.cost_of(Basis(held.held_tokens, held.cost_wei), tokens=kept)
    if not isinstance(market, MarketView):
        return Profit(cost, held.realised_wei, None)
    return Profit(cost, held.realised_wei, kept * market.price_e18 // _SCALE - cost)


async def _reconciled(
    context: Context, owner: bytes, holdings: Sequence[HoldingRecord], *, block: int | None
) -> bool:
    if block is None:
        return False
    tokens = [holding.token for holding in holdings]
    if not tokens:
        return True
    try:
        async with asyncio.timeout(RECONCILE_S):
            found = await context.node.balances(owner, tokens, block=block, timeout_s=RECONCILE_S)
    except (RiseCurveError, TimeoutError):
        return False
    differ = [
        "0x" + holding.token.hex()
        for holding, balance in zip(holdings, found, strict=True)
        if holding.balance != balance
    ]
    if differ:
        # A reorganisation in between, or a hole in history: the reconciler looks for the latter.
        context.log.warning("portfolio_differs", owner="0x" + owner.hex(), tokens=differ[:5])
    return not differ


def _value(held: HoldingRecord, market: MarketView | Refusal) -> int | None:
    return held.balance * market.price_e18 // _SCALE if isinstance(market, MarketView) else None


def _worth(pair: tuple[HoldingRecord, MarketView | Refusal]) -> tuple[int, bytes]:
    # The most valuable first, at live prices; those without one, and the sold, come last.
    return -(_value(*pair) or 0), pair[0].token


def _sum(values: Sequence[int | None]) -> str | None:
    known = [value for value in values if value is not None]
    return units(sum(known)) if len(known) == len(values) else None


def _sum_usd(values: Sequence[int | None], usd: EthPrice | None) -> str | None:
    known = [value for value in values if value is not None]
    return usd.amount(sum(known)) if usd is not None and len(known) == len(values) else None


def _shown(one: Profit) -> dict[str, Any]:
    return {
        "costBasis": units(one.cost),
        "realisedPnl": units(one.realised),
        "unrealisedPnl": None if one.unrealised is None else units(one.unrealised),
    }
