"""Login nonces: issued here, consumed once, gone when they expire."""

from typing import TYPE_CHECKING

from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Nonces:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, client: "Redis", *, namespace: str = valkey.NAMESPACE) -> None:
        self._client = client
        self._prefix = f"{namespace}:nonce:"

    async def issue(self, nonce: str, ttl_s: int) -> None:
        """Makes `nonce` good for one login within `ttl_s` seconds."""
        async with valkey.guarded():
            await self._client.set(self._prefix + nonce, b"1", ex=ttl_s, nx=True)

    async def consume(self, nonce: str) -> bool:
        """True for exactly one caller, however many ask at once, and for none after expiry."""
        async with valkey.guarded():
            return bool(await self._client.delete(self._prefix + nonce))
