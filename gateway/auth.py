"""Login and access tokens: who is asking, and how we know.

Login is Sign-In with Ethereum: everything that costs nothing is checked first, then the
nonce is consumed (once, atomically: one nonce is one attempt), then the signature. The access
token is a JWT of 15 minutes, HS256 and nothing else, with the key's id in its header.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from engine import text
from engine.errors import CallerError
from engine.settings import ChainSettings, GatewaySettings
from gateway import siwe
from gateway.addresses import parse_address
from gateway.ports import Documents, Nonces, VerifyMessage

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

    def issue(self, *, address: bytes, chain_id: int, role: str, sid: str) -> str:
        """A signed token for `lifetime_s` seconds."""
        now = int(self._clock())
        claims = {
            "sub": text.address(address),
            "chainId": chain_id,
            "role": role,
            "sid": sid,
            "iss": self._issuer,
            "aud": self._audience,
            "iat": now,
            "exp": now + self._lifetime_s,
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
    """Of the one configured secret. Its key id is derived, so that a new secret is a new id."""
    kid = hashlib.sha256(b"risecurve kid" + settings.jwt_secret.encode()).hexdigest()[:8]
    return AccessTokens(
        {kid: settings.jwt_secret},
        kid=kid,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        lifetime_s=settings.access_token_s,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class Session:
    """A login that succeeded."""

    token: str
    expires_in_s: int
    user: dict[str, Any]


class Login:
    """Nonces out, signed messages in."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        chain: ChainSettings,
        nonces: Nonces,
        documents: Documents,
        tokens: AccessTokens,
        verify_message: VerifyMessage,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._chain = chain
        self._nonces = nonces
        self._documents = documents
        self._tokens = tokens
        self._verify_message = verify_message
        self._clock = clock

    async def nonce(self) -> str:
        """A fresh one, good for `nonce_s` seconds and one login."""
        nonce = secrets.token_hex(16)
        await self._nonces.issue(nonce, self._settings.nonce_s)
        return nonce

    async def connect(self, *, address: bytes, message: str, signature: bytes) -> Session:
        """Check a signed message and open a session; the first one makes the user document.

        Raises CallerError: unauthorized, wrong_chain, invalid_request, invalid_address.
        """
        read = siwe.parse(message)
        if read.address != address:
            raise CallerError("unauthorized", "message: Expected the address of walletAddress")
        now = self._clock()
        siwe.check(
            read,
            public_url=self._settings.public_url,
            chain_id=self._chain.chain_id,
            now=datetime.fromtimestamp(now, UTC),
            lifetime_s=self._settings.nonce_s,
        )
        if not await self._nonces.consume(read.nonce):
            raise CallerError("unauthorized", "message: Expected a nonce of ours, not used before")
        if not await self._verify_message(address=address, message=message, signature=signature):
            raise CallerError("unauthorized", "signature: Expected a signature of walletAddress")
        return await self._open(address, now)

    async def _open(self, address: bytes, now: float) -> Session:
        user = await self._documents.connect_user(address, now)
        sid, lifetime_s = secrets.token_hex(16), self._settings.access_token_s
        await self._documents.open_session(sid, address=address, now=now, expires=now + lifetime_s)
        token = self._tokens.issue(
            address=address,
            chain_id=self._chain.chain_id,
            role=str(user.get("role", "user")),
            sid=sid,
        )
        return Session(token, lifetime_s, user)


def bearer(header: str | None) -> str:
    """The token of an Authorization header. Raises CallerError("unauthorized")."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("Authorization: Bearer <token>")
    return token.strip()


def _unauthorized(expected: str) -> CallerError:
    return CallerError("unauthorized", f"Expected {expected}")
