"""API keys at the doors: `rk_<id>_<secret>` in `X-API-Key`, for programs of a wallet's owner.

A key may do what its scopes say and nothing about logins, keys or other people. Who asks
with one has a budget of the key's own, wherever he asks from.
"""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from engine.errors import CallerError
from gateway.auth import Identity
from gateway.ports import ApiKey, ApiKeys

HEADER = "X-API-Key"
SCOPES = ("read", "trade")
KEYS_MAX = 20
REMEMBERED_S = 5.0
"""A key that was ended is refused everywhere after so long."""

REMEMBERED_MAX = 10_000

Scope = Literal["read", "trade"]

_FORM = re.compile(r"rk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


def made() -> tuple[str, str, bytes]:
    """(id, the whole key, hash of its secret) of a new one. The whole is shown once."""
    id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return id, f"rk_{id}_{secret}", _hash(secret)


class KeyReader:
    """Who a key speaks for. What the store says of a key is remembered for a moment."""

    def __init__(self, keys: ApiKeys, *, chain_id: int, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._chain_id = chain_id
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()

    async def read(self, text: str) -> tuple[Identity, tuple[str, ...]]:
        """The owner and the key's scopes; the identity's `sid` is `key:<id>`. Raises
        CallerError("unauthorized"), TransientError.
        """
        found = _FORM.fullmatch(text)
        key = await self._find(found[1]) if found else None
        now = self._clock()
        good = (
            found is not None
            and key is not None
            and hmac.compare_digest(_hash(found[2]), key.hash)
            and key.ended_at is None
            and key.expires_at > now
        )
        if key is None or not good:
            raise CallerError("unauthorized", f"{HEADER}: Expected a key of ours that is good")
        identity = Identity(key.owner, self._chain_id, "user", f"key:{key.id}", int(key.expires_at))
        return identity, key.scopes

    def remembers(self, text: str) -> bool:
        """Whether a key of this id was there when it was last looked for."""
        found = _FORM.fullmatch(text)
        return found is not None and self._known.get(found[1], (0.0, None))[1] is not None

    async def _find(self, id: str) -> ApiKey | None:
        now = self._clock()
        until, key = self._known.get(id, (0.0, None))
        if now >= until:
            key = await self._keys.find(id)
            self._known[id] = now + REMEMBERED_S, key
            self._known.move_to_end(id)
            if len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
        return key


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
