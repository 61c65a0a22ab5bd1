"""Access tokens: who is asking, and how we know.

A JWT of 15 minutes, HS256 and nothing else, with the key's id in its header. Old keys still
read what they signed, so that a key is changed without logging anybody out.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from engine import text
from engine.errors import CallerError
from engine.settings import GatewaySettings
from gateway import siwe
from gateway.addresses import parse_address

ALGORITHM = "HS256"
TOKEN_CHARACTERS_MAX = 2_048
ROLES = frozenset({"user", "moderator", "admin"})
_REQUIRED = ["sub", "chainId", "role", "sid", "iss", "aud", "exp", "iat"]
_SID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a valid access token speaks for. `expires_at` is unix seconds."""

    address: bytes
    chain_id: int
    role: str
    sid: str
    expires_at: int


class AccessTokens:
    """Issues and reads access tokens. `keys` maps a key's id to its secret."""

    def __init__(
        self,
        keys: Mapping[str, str],
        *,
        kid: str,
        issuer: str,
        audience: str,
        lifetime_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = dict(keys)
        self._kid = kid
        self._issuer = issuer
        self._audience = audience
        self._lifetime_s = lifetime_s
        self._clock = clock

    def issue(
        self, *, address: bytes, chain_id: int, role: str, sid: str, lifetime_s: int | None = None
    ) -> str:
        """A signed token for `lifetime_s` seconds; by default as long as they may live."""
        now = int(self._clock())
        claims = {
            "sub": text.address(address),
            "chainId": chain_id,
            "role": role,
            "sid": sid,
            "iss": self._issuer,
            "aud": self._audience,
            "iat": now,
            "exp": now + (lifetime_s or self._lifetime_s),
        }
        return jwt.encode(claims, self._keys[self._kid], ALGORITHM, headers={"kid": self._kid})

    def read(self, token: str) -> Identity:
        """Who it speaks for. Raises CallerError("unauthorized") for anything not ours."""
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise _unauthorized("a shorter token")
        try:
            key = self._key(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            return self._identity(claims)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, CallerError) as error:
            raise _unauthorized("a valid access token") from error

    def _key(self, token: str) -> str:
        header = jwt.get_unverified_header(token)
        kid = header.get("kid")
        if not isinstance(kid, str) or header.get("alg") != ALGORITHM:
            raise ValueError("Expected a key id and our algorithm")
        return self._keys[kid]

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        expires, issued, chain_id = claims["exp"], claims["iat"], claims["chainId"]
        for number in (expires, issued, chain_id):
            if type(number) is not int:
                raise ValueError("Expected integers")
        now = self._clock()
        if not issued - siwe.CLOCK_SKEW_S <= now < expires:
            raise ValueError("Expected a token that is valid now")
        role, sid = claims["role"], claims["sid"]
        if role not in ROLES or not isinstance(sid, str) or _SID.fullmatch(sid) is None:
            raise ValueError("Expected a role and a session id")
        return Identity(parse_address(claims["sub"]), chain_id, role, sid, expires)


def access_tokens(
    settings: GatewaySettings, clock: Callable[[], float] = time.time
) -> AccessTokens:
    """Of the configured secrets, the newest signs. A key's id is derived from its secret, so
    that a new secret is a new id.
    """
    secrets = (settings.jwt_secret, *settings.jwt_secrets_old)
    return AccessTokens(
        {_kid(secret): secret for secret in secrets},
        kid=_kid(settings.jwt_secret),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        lifetime_s=settings.access_token_s,
        clock=clock,
    )


def _kid(secret: str) -> str:
    return hashlib.sha256(b"risecurve kid" + secret.encode()).hexdigest()[:8]


def bearer(header: str | None) -> str:
    """The token of an Authorization header. Raises CallerError("unauthorized")."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("Authorization: Bearer <token>")
    return token.strip()


def _unauthorized(expected: str) -> CallerError:
    return CallerError("unauthorized", f"Expected {expected}")
