"""Rate limits, exact over any number of processes: one script, Redis' clock."""

from typing import TYPE_CHECKING

from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RateLimits:
    """A sliding window a key; a list of at most `limit` times, gone one window after the last."""

    def __init__(self, client: "Redis", *, namespace: str = valkey.NAMESPACE) -> None:
        self._take = valkey.Script(client, "take_rate")
        self._prefix = f"{namespace}:rate:"

    async def take(self, key: str, limit: int, window_s: float) -> tuple[bool, int, float]:
        """Whether this call is within `limit` in any `window_s`, how many are left, and the
        seconds until the next one comes free. A refused call does not count.

        Raises TransientError (store_unavailable).
        """
        allowed, remaining, reset_us = await self._take.run(
            [self._prefix + key], [limit, int(window_s * 1_000_000)]
        )
        return bool(allowed), int(remaining), int(reset_us) / 1_000_000
