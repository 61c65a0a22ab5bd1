"""Redis, and what is told over it, from the settings."""

from typing import Any

from engine.settings import Settings
from storage import valkey
from storage.states import States
from storage.ticks import Ticks


def ticks_of(settings: Settings) -> Ticks:
    """Ticks of this chain, as it began."""
    return Ticks(redis_of(settings), namespace=namespace_of(settings))


def states_of(settings: Settings) -> States:
    """What read replicas are told, on connections of its own: beats wait behind nothing."""
    return States(redis_of(settings), namespace=namespace_of(settings))


def namespace_of(settings: Settings) -> str:
    """What this system's keys in Redis begin with."""
    # Another chain, or the same one begun anew, shares no fence, stream or row with this one.
    rise = settings.rise
    return f"{valkey.NAMESPACE}:{rise.chain_id}:{rise.genesis_hash.hex()[:8]}"


def redis_of(settings: Settings) -> Any:
    """Redis."""
    return valkey.connect(settings.stores.redis_url, timeout_s=settings.stores.timeout_s)
