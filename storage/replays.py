"""Answers to writes that carried an Idempotency-Key, in Redis, to be given again."""

import secrets
from typing import TYPE_CHECKING, Any

from storage import valkey

if TYPE_CHECKING:
    from redis.asyncio import Redis

_FINISH = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  return 1
end
return 0
"""
_ABANDON = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 0
"""


class Replays:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, client: "Redis", *, namespace: str = valkey.NAMESPACE) -> None:
        self._client = client
        self._finish = client.register_script(_FINISH)
        self._abandon = client.register_script(_ABANDON)
        self._namespace = namespace

    async def begin(self, key: str, *, lease_s: int) -> tuple[bytes, bytes | None]:
        """(ticket, None): nobody has this key, it is the caller's for `lease_s`; or (b"", what
        is kept): the answer, or the ticket of one who is at it.
        """
        ticket = b"at it " + secrets.token_hex(16).encode()
        async with valkey.guarded():
            if await self._client.set(self._name(key), ticket, nx=True, ex=lease_s):
                return ticket, None
            kept: Any = await self._client.get(self._name(key))
        # Given up between the two: as good as somebody at it.
        return b"", kept if kept is not None else b"at it"

    async def finish(self, key: str, ticket: bytes, answer: bytes, *, keep_s: int) -> None:
        """Keeps the answer, unless the lease has passed on."""
        async with valkey.guarded():
            await self._finish(keys=[self._name(key)], args=[ticket, answer, keep_s])

    async def abandon(self, key: str, ticket: bytes) -> None:
        """There is no answer to keep: the next may try."""
        async with valkey.guarded():
            await self._abandon(keys=[self._name(key)], args=[ticket])

    def _name(self, key: str) -> str:
        return f"{self._namespace}:replay:{key}"
