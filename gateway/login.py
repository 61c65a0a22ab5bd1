"""Login and sessions: nonces out, signed messages in; then tokens that are renewed.

Login is Sign-In with Ethereum: everything that costs nothing is checked first, then the
nonce is consumed (once, atomically: one nonce is one attempt), then the signature. A session
has short access tokens and one refresh token at a time; a refresh token that is used twice
was stolen from one of the two, so the session ends for both. Only just after its use the same
question gets the same answer, for answers are lost and browsers have tabs.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.errors import CallerError, TransientError
from engine.settings import ChainSettings, GatewaySettings
from gateway import refresh, siwe
from gateway.auth import AccessTokens, Identity
from gateway.ports import Log, Nonces, People, Sessions, VerifyMessage
from gateway.refresh import RefreshToken

CLIENT_CHARACTERS_MAX = 200
ENDED_MARGIN_S = 60
ENDED_TIMEOUT_S = 0.5
ENDED_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Session:
    """A login that goes on. Lifetimes in seconds."""

    access_token: str
    access_s: int
    refresh_token: str
    refresh_s: int
    user: dict[str, Any]


class Login:
    """Opens, renews and ends sessions."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        chain: ChainSettings,
        nonces: Nonces,
        people: People,
        sessions: Sessions,
        tokens: AccessTokens,
        verify_message: VerifyMessage,
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._chain = chain
        self._nonces = nonces
        self._people = people
        self._sessions = sessions
        self._tokens = tokens
        self._verify_message = verify_message
        self._log = log
        self._clock = clock
        self._unknown_until = 0.0

    async def nonce(self) -> str:
        """A fresh one, good for `nonce_s` seconds and one login."""
        nonce = secrets.token_hex(16)
        await self._nonces.issue(nonce, self._settings.nonce_s)
        return nonce

    async def connect(
        self, *, address: bytes, message: str, signature: bytes, client: str = ""
    ) -> Session:
        """Check a signed message and open a session; the first one makes the user document.

        Raises CallerError: unauthorized, wrong_chain, invalid_request, invalid_address.
        """
        read = siwe.parse(message)
        if read.address != address:
            raise _refused("message: Expected the address of walletAddress")
        now = self._clock()
        siwe.check(
            read,
            public_url=self._settings.public_url,
            chain_id=self._chain.chain_id,
            now=datetime.fromtimestamp(now, UTC),
            lifetime_s=self._settings.nonce_s,
        )
        if not await self._nonces.consume(read.nonce):
            raise _refused("message: Expected a nonce of ours, not used before")
        if not await self._verify_message(address=address, message=message, signature=signature):
            raise _refused("signature: Expected a signature of walletAddress")
        return await self._open(address, now, client)

    async def renew(self, text: str) -> Session:
        """A new pair of tokens for a refresh token that was not used before; one that was, longer
        than `refresh_grace_s` ago, ends its session. Raises CallerError("unauthorized").
        """
        token, now = refresh.read(text), self._clock()
        stored = None if token is None else await self._sessions.find(token.sid)
        if token is None or stored is None or not token.is_of(stored.family):
            raise _refused("refreshToken: Expected a refresh token of ours")
        if stored.ended_at is not None or stored.expires_at <= now:
            raise _refused("refreshToken: Expected a session that is open")
        new = refresh.successor(token, stored.family)
        if not await self._sessions.rotate(
            token.sid,
            old=token.hash,
            new=new.hash,
            now=now,
            grace_s=self._settings.refresh_grace_s,
        ):
            await self.end([token.sid], address=stored.address)
            self._log.warning("refresh_token_reused", sid=token.sid, generation=token.generation)
            raise _refused("refreshToken: Expected one not used before; this session has ended")
        user = await self._people.seen(stored.address, now)
        return self._session(user, new, stored.address, expires=stored.expires_at)

    async def end(self, sids: list[str], *, address: bytes) -> list[str]:
        """End those sessions of the wallet; the ids of those that are its own. Repeatable."""
        remember_s = self._settings.access_token_s + ENDED_MARGIN_S
        return await self._sessions.end(
            sids, address=address, now=self._clock(), remember_s=remember_s
        )

    async def end_all(self, address: bytes) -> int:
        """End every session of the wallet that is open now; how many. Repeatable."""
        ended: set[str] = set()
        while True:
            found = {one.sid for one in await self._sessions.of(address, self._clock())}
            if not found - ended:
                return len(ended)
            ended |= {*await self.end(sorted(found), address=address)}

    async def check(self, identity: Identity) -> None:
        """Raises CallerError("unauthorized") if the session has ended, or is one of a system for
        another chain that has our secret. While the store that knows who was logged out is away
        the access token is good for the minutes that it has left.
        """
        if identity.chain_id != self._chain.chain_id:
            raise _refused(f"Expected a login for chain {self._chain.chain_id}")
        if self._clock() < self._unknown_until:
            return
        try:
            async with asyncio.timeout(ENDED_TIMEOUT_S):
                ended = await self._sessions.ended(identity.sid)
        except (TransientError, TimeoutError):
            # Not each request is to find out for itself that the store does not answer.
            self._unknown_until = self._clock() + ENDED_RETRY_S
            return
        if ended:
            raise _refused("Expected a session that is open")

    def role(self, user: dict[str, Any], address: bytes) -> str:
        """Of the document, or admin for those that the settings name."""
        if address in self._settings.admin_addresses:
            return "admin"
        return str(user.get("role", "user"))

    async def _open(self, address: bytes, now: float, client: str) -> Session:
        sid, family = secrets.token_hex(16), secrets.token_bytes(32)
        token = refresh.first(sid, family)
        expires = now + self._settings.session_s
        await self._sessions.open(
            sid,
            address=address,
            family=family,
            refresh_hash=token.hash,
            now=now,
            expires=expires,
            client=client[:CLIENT_CHARACTERS_MAX],
        )
        # After it is open: whoever changes the role meanwhile ends this session too.
        user = await self._people.connect(address, now)
        return self._session(user, token, address, expires=expires)

    def _session(
        self, user: dict[str, Any], token: RefreshToken, address: bytes, *, expires: float
    ) -> Session:
        left_s = max(int(expires - self._clock()), 1)
        access_s = min(self._settings.access_token_s, left_s)
        access = self._tokens.issue(
            address=address,
            chain_id=self._chain.chain_id,
            role=self.role(user, address),
            sid=token.sid,
            lifetime_s=access_s,
        )
        return Session(access, access_s, token.text, left_s, user)


def _refused(message: str) -> CallerError:
    return CallerError("unauthorized", message)
