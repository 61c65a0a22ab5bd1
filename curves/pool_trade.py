"""The rules of one trade through the launchpad on a graduated market's pair.

Fees are the pool fees frozen at launch, on the ETH side like the curve's. Nothing is clipped.
Order of checks, the same as in `chain/contracts/libraries/PoolMath.sol`, so that errors agree
too: phase (the caller's), amount bound, more than the reserve, amount bound of the other side,
zero, slippage. A quote's `sold` and `raised` are the pair's token and WETH reserves after.
"""

from curves.curve import AMOUNT_MAX, AmountTooLarge, Quote, SlippageExceeded, ZeroOutput
from curves.fees import FeeRates
from curves.uniswap_v2 import Pool


def buy_exact_in(pool: Pool, *, rates: FeeRates, value: int, min_tokens: int = 0) -> Quote:
    """Spend `value` wei. Raises AmountTooLarge, ZeroOutput, SlippageExceeded."""
    _check_amount(value)
    net = rates.net(value)
    _check_reserve(pool.reserve_weth, net)
    tokens = pool.tokens_for_eth(net)
    if tokens == 0:
        raise ZeroOutput(f"Expected a trade that gives tokens, was {value} wei in")
    if tokens < min_tokens:
        raise SlippageExceeded(f"Expected at least {min_tokens} token-wei, was {tokens}")
    return _bought(pool, rates, asked=(False, value), paid=(tokens, value, net), refund=0)


def buy_exact_out(
    pool: Pool,
    *,
    rates: FeeRates,
    tokens: int,
    max_value: int | None = None,
    min_tokens: int = 0,
) -> Quote:
    """Buy exactly `tokens` token-wei; what is over of `max_value` wei is refunded.

    Raises AmountTooLarge, ExceedsSold (the whole reserve or more), ZeroOutput,
    SlippageExceeded (above `max_value`, or fewer than `min_tokens` asked for).
    """
    _check_amount(tokens)
    if max_value is not None:
        _check_amount(max_value)
    curve_eth = pool.eth_for_tokens(tokens)
    _check_reserve(pool.reserve_weth, curve_eth)
    if tokens == 0:
        raise ZeroOutput("Expected a trade that gives tokens, was 0 token-wei")
    spent = rates.gross(curve_eth)
    if tokens < min_tokens:
        raise SlippageExceeded(f"Expected at least {min_tokens} token-wei, was {tokens}")
    if max_value is not None and spent > max_value:
        raise SlippageExceeded(f"Expected at most {max_value} wei, was {spent}")
    refund = 0 if max_value is None else max_value - spent
    return _bought(
        pool, rates, asked=(True, tokens), paid=(tokens, spent, curve_eth), refund=refund
    )


def sell_exact_in(pool: Pool, *, rates: FeeRates, tokens: int, min_eth: int = 0) -> Quote:
    """Sell `tokens` token-wei. Raises AmountTooLarge, ZeroOutput, SlippageExceeded."""
    _check_amount(tokens)
    _check_reserve(pool.reserve_token, tokens)
    curve_eth = pool.proceeds_of_tokens(tokens)
    eth = rates.net(curve_eth)
    if eth == 0:
        raise ZeroOutput(f"Expected a trade that pays, was {tokens} token-wei in")
    if eth < min_eth:
        raise SlippageExceeded(f"Expected at least {min_eth} wei, was {eth}")
    return _sold(pool, rates, asked=(False, tokens), paid=(tokens, eth, curve_eth))


def sell_exact_out(
    pool: Pool, *, rates: FeeRates, eth: int, max_tokens: int | None = None
) -> Quote:
    """Receive exactly `eth` wei after fees.

    Raises AmountTooLarge, ExceedsRaised (the whole reserve or more), ZeroOutput,
    SlippageExceeded (above `max_tokens`).
    """
    _check_amount(eth)
    curve_eth = rates.gross(eth)
    tokens = pool.tokens_for_proceeds(curve_eth)
    _check_reserve(pool.reserve_token, tokens)
    if eth == 0:
        raise ZeroOutput("Expected a trade that pays, was 0 wei out")
    if max_tokens is not None and tokens > max_tokens:
        raise SlippageExceeded(f"Expected at most {max_tokens} token-wei, was {tokens}")
    return _sold(pool, rates, asked=(True, eth), paid=(tokens, eth, curve_eth))


def _check_amount(amount: int) -> None:
    assert amount >= 0, f"Expected an unsigned amount, was {amount}"
    if amount > AMOUNT_MAX:
        raise AmountTooLarge(f"Expected at most {AMOUNT_MAX}, was {amount}")


def _check_reserve(reserve: int, amount: int) -> None:
    # The pair keeps its reserves in 112 bits and reverts above.
    if reserve + amount > AMOUNT_MAX:
        raise AmountTooLarge(f"Expected a reserve within 2**112 - 1, was {reserve} + {amount}")


def _bought(
    pool: Pool,
    rates: FeeRates,
    *,
    asked: tuple[bool, int],
    paid: tuple[int, int, int],
    refund: int,
) -> Quote:
    (exact_out, requested), (tokens, spent, curve_eth) = asked, paid
    protocol, creator, launch = rates.split(spent, curve_eth)
    assert tokens < pool.reserve_token, f"Expected tokens in the pool, was {tokens}"
    return Quote(
        is_buy=True,
        exact_out=exact_out,
        requested=requested,
        tokens=tokens,
        eth=spent,
        curve_eth=curve_eth,
        protocol_fee=protocol,
        creator_fee=creator,
        launch_fee=launch,
        refund=refund,
        clipped=False,
        sold=pool.reserve_token - tokens,
        raised=pool.reserve_weth + curve_eth,
    )


def _sold(
    pool: Pool, rates: FeeRates, *, asked: tuple[bool, int], paid: tuple[int, int, int]
) -> Quote:
    (exact_out, requested), (tokens, eth, curve_eth) = asked, paid
    protocol, creator, launch = rates.split(curve_eth, eth)
    assert curve_eth < pool.reserve_weth, f"Expected ETH in the pool, was {curve_eth}"
    return Quote(
        is_buy=False,
        exact_out=exact_out,
        requested=requested,
        tokens=tokens,
        eth=eth,
        curve_eth=curve_eth,
        protocol_fee=protocol,
        creator_fee=creator,
        launch_fee=launch,
        refund=0,
        clipped=False,
        sold=pool.reserve_token + tokens,
        raised=pool.reserve_weth - curve_eth,
    )
