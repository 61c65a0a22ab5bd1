"""Rate limits, exact over any number of processes: one script, Redis' clock."""

from typing import TYPE_CHECKING

from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RateLimits:
    """A sliding window a key: at most `limit` entries, gone one window after the last."""

    def __init__(self, client: "Redis", *, namespace: str = valkey.NAMESPACE) -> None:
        self._take = valkey.Script(client, "take_rate")
        self._give_back = valkey.Script(client, "give_back")
        self._prefix = f"{namespace}:rate:"

    async def take(self, key: str, limit: int, window_s: float) -> tuple[bool, int, float]:
        """Whether this call is within `limit` in any `window_s`, how many are left, and the
        seconds until the next one comes free. A refused call does not count.

        Raises TransientError (store_unavailable).
        """
        given, left, reset_s, _ = await self.lease(key, limit, window_s=window_s, wanted=1)
        return given > 0, left, reset_s

    async def lease(
        self, key: str, limit: int, *, window_s: float, wanted: int, hold_s: float = 0.0
    ) -> tuple[int, int, float, int]:
        """Up to `wanted` calls that may be made within `hold_s` of this question: how many were
        given, how many are left, seconds until more come free, and what `give_back` needs.
        Whatever is made when, no window holds more than `limit`.

        Raises TransientError (store_unavailable); what was given then is lost, not doubled.
        """
        arguments = [limit, int(window_s * 1_000_000), wanted, int(hold_s * 1_000_000)]
        given, left, reset_us, moment = await self._take.run(self._keys(key), arguments)
        return int(given), int(left), int(reset_us) / 1_000_000, int(moment)

    async def give_back(self, key: str, moment: int, count: int) -> None:
        """`count` calls of a lease that stands at `moment` will not be made.

        Raises TransientError (store_unavailable).
        """
        await self._give_back.run(self._keys(key), [moment, count])

    def _keys(self, key: str) -> list[str]:
        return [self._prefix + key, f"{self._prefix}{key}:sum"]
