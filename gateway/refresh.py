"""Refresh tokens: `rt.<session>.<generation>.<secret>.<mark>`, each good for one use.

The store knows the hash of the one that is good now. The mark is a MAC by the session's own
key over the rest: it proves that an old token was once ours, so that using one again ends
the session, and that nobody can end another's session with a made-up token (RFC 9700, 4.14.2).
A token has one successor: who lost the answer and asks again gets the same one.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

SECRET_BYTES = 32
MARK_BYTES = 16
CHARACTERS_MAX = 200

_FORM = re.compile(
    r"rt\.(?P<sid>[0-9a-f]{32})\.(?P<generation>[0-9]{1,9})"
    r"\.(?P<secret>[A-Za-z0-9_-]{43})\.(?P<mark>[A-Za-z0-9_-]{22})"
)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One that has the form of ours; whether it is ours `is_of` says."""

    sid: str
    generation: int
    body: str
    mark: bytes

    @property
    def hash(self) -> bytes:
        """What the store keeps of it."""
        return hashlib.sha256(self.body.encode()).digest()

    @property
    def text(self) -> str:
        """As the client holds it."""
        return f"{self.body}.{_encoded(self.mark)}"

    def is_of(self, family: bytes) -> bool:
        """Whether the session with this key issued it, now or earlier."""
        return bool(family) and hmac.compare_digest(self.mark, _mark(family, self.body))


def first(sid: str, family: bytes) -> RefreshToken:
    """A new session's."""
    return _made(sid, 0, secret=secrets.token_bytes(SECRET_BYTES), family=family)


def successor(token: RefreshToken, family: bytes) -> RefreshToken:
    """The one that `token` is exchanged for."""
    secret = hmac.new(family, b"next " + token.body.encode(), hashlib.sha256).digest()
    return _made(token.sid, token.generation + 1, secret=secret, family=family)


def read(text: str) -> RefreshToken | None:
    """None for anything that has not the form of ours."""
    found = _FORM.fullmatch(text) if len(text) <= CHARACTERS_MAX else None
    if found is None:
        return None
    body = text.rpartition(".")[0]
    mark = base64.urlsafe_b64decode(found["mark"] + "==")
    token = RefreshToken(found["sid"], int(found["generation"]), body, mark)
    return token if token.text == text else None  # base64 has several spellings of some bytes


def _made(sid: str, generation: int, *, secret: bytes, family: bytes) -> RefreshToken:
    body = f"rt.{sid}.{generation}.{_encoded(secret)}"
    return RefreshToken(sid, generation, body, _mark(family, body))


def _mark(family: bytes, body: str) -> bytes:
    return hmac.new(family, body.encode(), hashlib.sha256).digest()[:MARK_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
