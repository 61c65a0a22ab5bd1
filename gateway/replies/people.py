"""Answers about logins, users and administrators."""

from typing import Any, Literal

from gateway.fields import Strict
from gateway.replies.common import AddressText


class NonceData(Strict):
    """What the message to sign must say."""

    nonce: str
    domain: str
    uri: str
    version: Literal["1"]
    chain_id: int
    expires_at: str


class ProfileData(Strict):
    """What a user says of himself."""

    name: str | None
    avatar_url: str | None
    bio: str | None
    locale: str | None


class SettingsData(Strict):
    """`slippage` in percent."""

    currency: Literal["ETH", "USD"] | None
    slippage: float | None
    theme: Literal["system", "light", "dark"] | None


class PublicUserData(Strict):
    """A user as strangers see him."""

    wallet_address: AddressText
    profile: ProfileData
    created_at: str | None


class UserData(PublicUserData):
    """A user as he sees himself."""

    role: Literal["user", "moderator", "admin"]
    settings: SettingsData
    updated_at: str | None
    last_seen: str | None


class BoundData(Strict):
    """What became of the code in a login: the referrer, or the code of the refusal."""

    referrer: AddressText | None
    refused: str | None


class ConnectData(Strict):
    """Of connect and refresh. Lifetimes in seconds."""

    token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    user: UserData
    referral: BoundData | None = None


class EndedData(Strict):
    """How many sessions were ended."""

    ended: int


class SessionData(Strict):
    """An open session; `client` is what its browser called itself."""

    sid: str
    current: bool
    client: str
    created_at: str
    last_used_at: str
    expires_at: str


class SessionsData(Strict):
    """Newest first, at most 100."""

    items: list[SessionData]


class KeyData(Strict):
    """An API key without its secret."""

    id: str
    name: str
    scopes: list[Literal["read", "trade"]]
    created_at: str
    expires_at: str


class NewKeyData(KeyData):
    """With its text, this once."""

    key: str


class KeysData(Strict):
    """Newest first."""

    items: list[KeyData]


class AuditEntryData(Strict):
    """What an administrator did."""

    id: str
    at: str
    actor: AddressText
    action: str
    target: str
    change: dict[str, Any]
    request_id: str | None


class AuditData(Strict):
    """`cursor` begins the next page; null on the last."""

    items: list[AuditEntryData]
    limit: int
    cursor: str | None


class VerifyData(Strict):
    """Of a token that is good."""

    valid: Literal[True]
    wallet_address: AddressText
    chain_id: int
    role: str
    sid: str
    expires_at: str
