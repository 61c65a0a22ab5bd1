"""A bucket's markets as bytes: what a snapshot holds, the same bytes for the same state."""

import hashlib
import json

from engine import codec
from engine.buckets import bucket_of
from engine.group import Group
from engine.market import Market, shared

SCHEMA = 2


def markets_at(group: Group, block: int) -> dict[int, list[Market]]:
    """Each dirty bucket's markets as they were at `block`, sorted by address."""
    pages: dict[int, list[Market]] = {bucket: [] for bucket in group.dirty}
    for token in sorted(group.timelines):
        bucket = bucket_of(token)
        market = group.timelines[token].state_at(block)
        if bucket in pages and market is not None:
            pages[bucket].append(market)
    return pages


def state_row(market: Market) -> tuple[bytes, str, int, int, int, int, int]:
    """A row of `control.MarketStates`: what the contract can be asked for."""
    pool = (market.pool.reserve_token, market.pool.reserve_weth) if market.pool else (0, 0)
    return (market.token, market.phase, market.sold, market.raised, market.seq, *pool)


def hash_of(market: Market) -> bytes:
    """SHA-256 of its canonical bytes: equal for the same state, however it came about."""
    return hashlib.sha256(to_bytes([market])).digest()


def to_bytes(markets: list[Market]) -> bytes:
    """Canonical JSON, UTF-8."""
    return json.dumps(codec.encode(markets), separators=(",", ":"), sort_keys=True).encode()


def from_bytes(payload: bytes) -> list[Market]:
    """Raises ValueError, KeyError or TypeError on anything else than `to_bytes` made."""
    return [shared(codec.decode(Market, item)) for item in json.loads(payload)]
