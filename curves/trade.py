"""The rules of one trade over any curve: clip, checks in the contract's order, fees.

Order of checks, the same as in `Launchpad.sol`, so that errors agree too: phase (the
caller's), amount bound, clip / more than sold / more than raised, zero, slippage.
"""

from curves.curve import (
    AMOUNT_MAX,
    AmountTooLarge,
    Curve,
    ExceedsSold,
    Quote,
    SlippageExceeded,
    ZeroOutput,
)
from curves.fees import FeeRates


def buy_exact_in(
    curve: Curve, sold: int, raised: int, *, rates: FeeRates, value: int, min_tokens: int = 0
) -> Quote:
    """Spend up to `value` wei. Clips at the end of the curve and refunds the rest.

    The bound of a clipped buy is its price: `tokens*value >= min_tokens*spent`.
    Raises AmountTooLarge, ZeroOutput, SlippageExceeded.
    """
    _check_amount(value)
    left = curve.curve_supply - sold
    net = rates.net(value)
    tokens, spent, curve_eth, clipped = curve.tokens_for_eth(sold, raised, net), value, net, False
    # What buys less than is left costs less than all of it: only here may the end be reached.
    if tokens >= left:
        full = curve.eth_for_tokens(sold, raised, left)
        clipped = net >= full
        if clipped:
            tokens, spent, curve_eth = left, rates.gross(full), full
    if value == 0 or tokens == 0:
        raise ZeroOutput(f"Expected a trade that gives tokens, was {value} wei in")
    if tokens * value < min_tokens * spent:
        raise SlippageExceeded(f"Expected at least {min_tokens} token-wei, was {tokens}")
    fees = rates.split(spent, curve_eth)
    # In the order of the fields, for names cost as much again and every trade comes here.
    given = (tokens, spent, curve_eth, *fees, value - spent)
    return Quote(True, False, value, *given, clipped, sold + tokens, raised + curve_eth)


def buy_exact_out(
    curve: Curve,
    sold: int,
    raised: int,
    *,
    rates: FeeRates,
    tokens: int,
    max_value: int | None = None,
    min_tokens: int = 0,
) -> Quote:
    """Buy `tokens` token-wei, or what is left if that is less and at least `min_tokens`.

    Raises AmountTooLarge, ZeroOutput, SlippageExceeded (above `max_value` wei).
    """
    _check_amount(tokens)
    if max_value is not None:
        _check_amount(max_value)
    left = curve.curve_supply - sold
    clipped = tokens > left
    given = left if clipped else tokens
    curve_eth = curve.eth_for_tokens(sold, raised, given)
    spent = rates.gross(curve_eth)
    if given == 0 or curve_eth == 0:
        raise ZeroOutput(f"Expected a trade that costs and gives, was {tokens} token-wei")
    if given < min_tokens:
        raise SlippageExceeded(f"Expected at least {min_tokens} token-wei, was {given}")
    if max_value is not None and spent > max_value:
        raise SlippageExceeded(f"Expected at most {max_value} wei, was {spent}")
    refund = 0 if max_value is None else max_value - spent
    paid = (given, spent, curve_eth, *rates.split(spent, curve_eth), refund)
    return Quote(True, True, tokens, *paid, clipped, sold + given, raised + curve_eth)


def sell_exact_in(
    curve: Curve, sold: int, raised: int, *, rates: FeeRates, tokens: int, min_eth: int = 0
) -> Quote:
    """Sell `tokens` token-wei.

    Raises AmountTooLarge, ExceedsSold, ZeroOutput, SlippageExceeded.
    """
    _check_amount(tokens)
    if tokens > sold:
        raise ExceedsSold(f"Expected at most the {sold} sold token-wei, was {tokens}")
    curve_eth = curve.proceeds_of_tokens(sold, raised, tokens)
    eth = rates.net(curve_eth)
    if tokens == 0 or eth == 0:
        raise ZeroOutput(f"Expected a trade that pays, was {tokens} token-wei in")
    if eth < min_eth:
        raise SlippageExceeded(f"Expected at least {min_eth} wei, was {eth}")
    assert curve_eth <= raised, f"Expected a solvent curve, was {curve_eth} of {raised}"
    paid = (tokens, eth, curve_eth, *rates.split(curve_eth, eth), 0)
    return Quote(False, False, tokens, *paid, False, sold - tokens, raised - curve_eth)


def sell_exact_out(
    curve: Curve,
    sold: int,
    raised: int,
    *,
    rates: FeeRates,
    eth: int,
    max_tokens: int | None = None,
) -> Quote:
    """Receive exactly `eth` wei after fees.

    Raises AmountTooLarge, ExceedsRaised, ZeroOutput, SlippageExceeded (above `max_tokens`).
    """
    _check_amount(eth)
    curve_eth = rates.gross(eth)
    tokens = curve.tokens_for_proceeds(sold, raised, curve_eth)
    if eth == 0 or tokens == 0:
        raise ZeroOutput(f"Expected a trade that takes and pays, was {eth} wei out")
    if max_tokens is not None and tokens > max_tokens:
        raise SlippageExceeded(f"Expected at most {max_tokens} token-wei, was {tokens}")
    assert curve_eth <= raised, f"Expected a solvent curve, was {curve_eth} of {raised}"
    paid = (tokens, eth, curve_eth, *rates.split(curve_eth, eth), 0)
    return Quote(False, True, eth, *paid, False, sold - tokens, raised - curve_eth)


def _check_amount(amount: int) -> None:
    assert amount >= 0, f"Expected an unsigned amount, was {amount}"
    if amount > AMOUNT_MAX:
        raise AmountTooLarge(f"Expected at most {AMOUNT_MAX}, was {amount}")
