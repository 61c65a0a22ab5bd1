"""Final events of the chain as deeds that points are given for."""

from typing import Any

from engine.messages import Graduated, MarketEvent, PoolSwapped, TokenCreated, Traded
from engine.points.entries import Deed


def deed_of(event: MarketEvent, creator: bytes) -> Deed | None:
    """None for an event that nothing is given for. `creator` is the token's."""
    at = event.at
    base: dict[str, Any] = {
        "key": f"{at.chain_id}:{at.tx_hash.hex()}:{at.position}",
        "time": at.block_time,
        "block": at.block_number,
        "token": event.token,
    }
    if isinstance(event, Traded):
        wei = event.curve_eth if event.is_buy else -event.curve_eth
        # The launch fee keeps snipers off: none of it goes back to anybody.
        fee, tag = event.protocol_fee, event.tag
        return Deed(kind="trade", who=event.trader, wei=wei, fee=fee, tag=tag, **base)
    if isinstance(event, PoolSwapped):
        wei = event.eth if event.is_buy else -event.eth
        return Deed(kind="trade", who=event.trader, wei=wei, **base)
    if isinstance(event, TokenCreated):
        return Deed(kind="create", who=event.creator, **base)
    if isinstance(event, Graduated):
        return Deed(kind="graduate", who=creator, **base)
    return None
