"""What is shown of a user: all of it to himself, his profile to everybody."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.text import address

if TYPE_CHECKING:
    from gateway.context import Context

PROFILE = ("name", "avatarUrl", "bio", "locale")
SETTINGS = ("currency", "slippage", "theme")


def own(user: Mapping[str, Any], context: "Context") -> dict[str, Any]:
    """A user document as its owner sees it."""
    wallet = bytes.fromhex(user["walletAddress"][2:])
    chosen = dict(user.get("settings") or {})
    bps = chosen.get(stored("slippage"))
    chosen["slippage"] = None if bps is None else bps / 100
    return public(user) | {
        "role": context.login.role(dict(user), wallet),
        "settings": {name: chosen.get(name) for name in SETTINGS},
        "updatedAt": iso(user.get("updatedAt")),
        "lastSeen": iso(user.get("lastSeen")),
    }


def stored(name: str) -> str:
    """The document's name of a field: where they differ its unit does."""
    return "slippageBps" if name == "slippage" else name


def public(user: Mapping[str, Any]) -> dict[str, Any]:
    """A user document as strangers see it."""
    said = user.get("profile") or {}
    return {
        "walletAddress": address(bytes.fromhex(user["walletAddress"][2:])),
        "profile": {name: said.get(name) for name in PROFILE},
        "createdAt": iso(user.get("createdAt")),
    }


def iso(time: object) -> str | None:
    """RFC 3339 in UTC of unix seconds or an aware datetime; None of anything else."""
    if isinstance(time, int | float):
        time = datetime.fromtimestamp(time, UTC)
    if not isinstance(time, datetime):
        return None
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
