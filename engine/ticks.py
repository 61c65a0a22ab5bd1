"""What is published after a change: JSON-ready data of the realtime events."""

from collections.abc import Mapping
from typing import NamedTuple

from engine import text
from engine.group import Shown
from engine.market import Effect, Launched, Market, PriceMoved, market_cap_wei, spot_e18
from engine.messages import AsOf, PoolSwapped, TokenCreated, Traded
from engine.quoting import progress_bps


class Draft(NamedTuple):
    """A tick that is not numbered yet."""

    event: str
    data: dict[str, object]


def as_of_data(as_of: AsOf) -> dict[str, object]:
    """`asOf` as every door spells it."""
    return {
        "blockNumber": as_of.block_number,
        "blockHash": None if as_of.block_hash is None else text.hex_of(as_of.block_hash),
        "logIndex": as_of.log_index,
        "status": as_of.status,
        "version": list(as_of.version),
    }


def price_data(market: Market, as_of: AsOf, received_ns: int) -> dict[str, object]:
    """Event `price`: the market after the block, or in the open one. `receivedNs` is the
    listener's clock."""
    price = spot_e18(market)
    return {
        "tokenAddress": text.address(market.token),
        "price": text.price(price),
        "marketCap": text.units(market_cap_wei(price)),
        "sold": text.units(market.sold),
        "raised": text.units(market.raised),
        "progressBps": progress_bps(market),
        "phase": market.phase,
        "asOf": as_of_data(as_of),
        "receivedNs": str(received_ns),
    }


def transaction_data(
    event: Traded | TokenCreated | PoolSwapped, as_of: AsOf, shown: dict[str, object] | None = None
) -> dict[str, object]:
    """Event `transaction`: a launch or a trade. `shown` is `as_of_data` of `as_of`, where many
    trades have the same.
    """
    at = event.at
    data: dict[str, object] = {
        "txHash": text.hex_of(at.tx_hash),
        "position": at.position,
        "blockNumber": at.block_number,
        "logIndex": at.log_index,
        "timestamp": at.block_time,
        "tokenAddress": text.address(event.token),
        "status": as_of.status,
        "asOf": shown or as_of_data(as_of),
    }
    if isinstance(event, TokenCreated):
        created = {"type": "CREATE", "userAddress": text.address(event.creator)}
        return data | created | {"name": event.name, "symbol": event.symbol}
    price = event.eth * 10**36 // event.tokens
    return data | {
        "type": "BUY" if event.is_buy else "SELL",
        "userAddress": text.address(event.trader),
        "recipient": text.address(event.recipient),
        "ethAmount": text.units(event.eth),
        "tokenAmount": text.units(event.tokens),
        "pricePerToken": text.price(price),
    }


def status_data(token: bytes, halted: str, as_of: AsOf) -> dict[str, object]:
    """Event `status`: the market is not served any more, or is again. `halted` is why, or empty."""
    return {
        "tokenAddress": text.address(token),
        "status": "halted" if halted else "served",
        "code": "market_halted" if halted else None,
        "asOf": as_of_data(as_of),
    }


def listed_data(
    token: bytes, market: Market | None, as_of: AsOf, *, halted: str = ""
) -> dict[str, object]:
    """A row of event `tokens`: the market as it is now. Nulls where nothing is to be had, with
    `unavailable` the code; a launch that was taken back is `token_not_found`.
    """
    row: dict[str, object] = {"tokenAddress": text.address(token), "asOf": as_of_data(as_of)}
    if market is None or halted:
        names = ("price", "marketCap", "sold", "raised", "progressBps", "phase", "eventCount")
        code = "market_halted" if halted else "token_not_found"
        return row | dict.fromkeys(names) | {"unavailable": code}
    price = spot_e18(market)
    return row | {
        "price": text.price(price),
        "marketCap": text.units(market_cap_wei(price)),
        "sold": text.units(market.sold),
        "raised": text.units(market.raised),
        "progressBps": progress_bps(market),
        "phase": market.phase,
        "eventCount": market.seq,
        "unavailable": None,
    }


def launch_data(event: TokenCreated) -> dict[str, object]:
    """`launch` of a row of event `tokens`: what a new token is called, and whose it is."""
    return {
        "name": event.name,
        "symbol": event.symbol,
        "creator": text.address(event.creator),
        "blockNumber": event.at.block_number,
        "timestamp": event.at.block_time,
    }


def retracted_data(shown: Shown, as_of: AsOf) -> dict[str, object]:
    """Event `retracted`: a transaction that was published and is not on the chain."""
    return {
        "txHash": text.hex_of(shown.tx_hash),
        "position": shown.position,
        "blockNumber": shown.block_number,
        "logIndex": shown.log_index,
        "tokenAddress": text.address(shown.token),
        "type": shown.type,
        "userAddress": text.address(shown.user),
        "asOf": as_of_data(as_of),
    }


def taken_back_data(shown: Mapping[str, object], as_of: AsOf) -> dict[str, object]:
    """Event `retracted` of what was published as this `transaction`."""
    names = ("txHash", "position", "blockNumber", "logIndex", "tokenAddress", "type", "userAddress")
    return {name: shown[name] for name in names} | {"asOf": as_of_data(as_of)}


def event_of(effect: Effect) -> Traded | TokenCreated | PoolSwapped | None:
    """The launch or trade behind an effect; None for the others."""
    return effect.event if isinstance(effect, Launched | PriceMoved) else None
