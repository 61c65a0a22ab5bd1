"""Unsigned transactions for a wallet: the quote's trade with its bound, as calldata.

Gas is from a table, with a margin over what the contracts were measured to take: an estimate
would need the wallet's funds and a node call, and the rest is refunded anyway.
"""

import asyncio

from chain import transactions
from engine.errors import TransientError
from engine.limits import TRANSACTION_GAS_MAX
from engine.messages import QuoteReply
from engine.settings import ChainSettings
from gateway.ports import Node

DEADLINE_S = 1_200
"""A signed trade that waits longer than 20 minutes reverts instead of surprising."""

FEES_TIMEOUT_S = 2.0

GAS: dict[str, int] = {
    "create": 4_500_000,  # measured about 2.8M with a new pair
    "buy": 300_000,  # measured about 89k; the last buy of a curve takes more
    "buyExactOut": 300_000,
    "sell": 300_000,
    "sellExactOut": 300_000,
}
assert max(GAS.values()) <= TRANSACTION_GAS_MAX


def trade_call(reply: QuoteReply, *, sender: bytes, deadline: int) -> tuple[str, bytes, int]:
    """(action, calldata, value) of the quoted trade, bounded by minOut or maxIn."""
    token = reply.token
    if reply.is_buy and reply.exact_out:
        data = transactions.buy_exact_out(
            token=token,
            tokens=reply.amount_out,
            min_tokens=reply.amount_out,
            recipient=sender,
            deadline=deadline,
        )
        return "buyExactOut", data, reply.bound
    if reply.is_buy:
        data = transactions.buy(
            token=token, min_tokens=reply.bound, recipient=sender, deadline=deadline
        )
        return "buy", data, reply.amount_in
    if reply.exact_out:
        data = transactions.sell_exact_out(
            token=token,
            eth=reply.amount_out,
            max_tokens=reply.bound,
            recipient=sender,
            deadline=deadline,
        )
        return "sellExactOut", data, 0
    data = transactions.sell(
        token=token,
        tokens=reply.amount_in,
        min_eth=reply.bound,
        recipient=sender,
        deadline=deadline,
    )
    return "sell", data, 0


async def transaction(
    node: Node,
    chain: ChainSettings,
    *,
    action: str,
    sender: bytes,
    data: bytes,
    value: int,
    launchpad: bytes | None = None,
) -> dict[str, str]:
    """The JSON-RPC object of INTERFACES, with the node's present fees and no nonce.

    `launchpad` is the market's own; by default the newest, where launches go.
    """
    max_fee, priority = await fees_of(node)
    return transactions.unsigned(
        chain_id=chain.chain_id,
        sender=sender,
        to=launchpad or chain.launchpad.address,
        data=data,
        value=value,
        gas=GAS[action],
        max_fee=max_fee,
        max_priority_fee=priority,
    )


async def fees_of(node: Node) -> tuple[int, int]:
    """(max fee, max priority fee) now, wei a gas. Raises TransientError("stale_chain")."""
    try:
        return await asyncio.wait_for(node.fees(), FEES_TIMEOUT_S)
    except TimeoutError as error:
        raise TransientError("stale_chain", "Expected fees of the node in time") from error
