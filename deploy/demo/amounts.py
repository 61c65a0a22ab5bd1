"""A quote of the API and the contract's own, as one tuple that must be the same to the wei."""

from typing import Any

from chain import lens
from engine.text import base_units

Amounts = tuple[int, int, int, int, int, int, bool]


def of_quote(data: dict[str, Any]) -> Amounts:
    """(tokens, ETH, the three fees, refund, clipped) of a quote as the API gives it."""
    buy, fees = data["type"] == "buy", data["fees"]
    return (
        base_units(data["amountOut"] if buy else data["amountIn"]),
        base_units(data["spent"] if buy else data["amountOut"]),
        base_units(fees["protocol"]),
        base_units(fees["creator"]),
        base_units(fees["launch"]),
        base_units(data["refund"]),
        data["clipped"],
    )


def of_contract(truth: lens.TradeQuote) -> Amounts:
    """The same of what the contract says."""
    return (
        truth.tokens,
        truth.eth,
        truth.protocol_fee,
        truth.creator_fee,
        truth.launch_fee,
        truth.refund,
        truth.clipped,
    )
