"""Rows that are read again and again, kept in Redis for a while.

A key names its rows exactly: what stands under it is what Postgres would answer, or nothing.
So the cache may lose anything at any time, and whoever finds it away or slow goes on without.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from engine.errors import TransientError
from engine.limits import CACHE_BYTES_MAX, CACHE_VALUE_BYTES_MAX
from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis

PORTFOLIO_S = 60
CHART_S = 300
METADATA_S = 3_600
TIMEOUT_S = 0.25
RETRY_S = 1.0
"""After a failure the store is not asked for so long."""


class RowCache:
    """Values by key; never raises. At most CACHE_BYTES_MAX under one namespace."""

    def __init__(
        self,
        client: "Redis",
        *,
        namespace: str = valkey.NAMESPACE,
        bytes_max: int = CACHE_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._keep = valkey.Script(client, "keep_rows")
        self._prefix = f"{namespace}:rows:"
        self._bytes_max = bytes_max
        self._clock = clock
        self._asked_again_at = float("-inf")
        self.found = 0
        self.missed = 0
        self.failed = 0

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """A value for each key; None where there is none, or the store does not answer."""
        named = [self._prefix + key for key in keys]
        values = await self._ask(lambda: self._client.mget(named)) if named else []
        values = [None] * len(keys) if values is None else values
        missed = sum(value is None for value in values)
        self.missed += missed
        self.found += len(keys) - missed
        return values

    async def put(self, values: Mapping[str, bytes], *, seconds: int) -> None:
        """Keeps them for so long at most; one that is too large is left out."""
        fit = {k: v for k, v in values.items() if len(v) <= CACHE_VALUE_BYTES_MAX}
        if not fit:
            return
        keys = [self._prefix + "ends", self._prefix + "sizes", *(self._prefix + k for k in fit)]
        await self._ask(
            lambda: self._keep.run(keys, [seconds, self._bytes_max, *fit.values()]),
        )

    def status(self) -> dict[str, int]:
        """Counters since the start."""
        return {
            "cache_found": self.found,
            "cache_missed": self.missed,
            "cache_failed": self.failed,
        }

    async def _ask(self, call: Callable[[], Any]) -> Any:
        if self._clock() < self._asked_again_at:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S), valkey.guarded():
                return await call()
        except (TransientError, TimeoutError, RedisError):
            self.failed += 1
            self._asked_again_at = self._clock() + RETRY_S
            return None
