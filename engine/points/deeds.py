"""Final events of the chain as deeds that points are given for."""

from collections.abc import Mapping
from typing import Any

from engine.bridge.requests import COMPLETED, Key
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


def deed_of_transfer(key: Key, payload: Mapping[str, Any], status: str) -> Deed | None:
    """Of a transfer that ended for good, as the bridge's outbox has it; None where it came back."""
    if status != COMPLETED:
        return None
    source_chain, _, _ = key
    return Deed(
        key=f"{source_chain}:{payload['message']}",
        kind="bridge",
        time=int(payload["paidAt"]),
        block=0,
        who=bytes.fromhex(payload["user"]),
        token=b"",
        wei=int(payload["amount"]),
    )
