"""Every error that may cross a boundary, by who is to blame, each with a stable code.

All arguments go to the base class, so that an error survives pickling between actors.
"""

from collections.abc import Mapping
from typing import Any


class RiseCurveError(Exception):
    """`code` is public and stable; `message` says what was expected and what was found."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class CallerError(RiseCurveError):
    """The request cannot be served as it stands; the same request fails again."""


class TransientError(RiseCurveError):
    """The request is fine; the same request may succeed later."""


class ConsistencyError(RiseCurveError):
    """Something that should be impossible was seen: a bug, or a chain that lies. Halts."""


# Codes of 4xx, and of 503; `gateway/errors.py` maps each to its HTTP status.
CALLER_CODES = frozenset(
    {
        "invalid_address",
        "invalid_amount",
        "amount_too_large",
        "invalid_slippage",
        "invalid_link",
        "invalid_image",
        "invalid_request",
        "wrong_chain",
        "unknown_contract",
        "unauthorized",
        "forbidden",
        "token_not_found",
        "not_found",
        "exceeds_sold",
        "zero_output",
        "slippage_exceeded",
        "market_graduating",
        "code_taken",
        "already_referred",
        "referral_refused",
        "idempotency_conflict",
        "metadata_mismatch",
        "upload_timeout",
        "too_large",
        "rate_limited",
        "not_implemented",
        "below_minimum",
        "above_limit",
        "not_enough_liquidity",
        "transfer_ended",
    }
)
TRANSIENT_CODES = frozenset(
    {
        "stale_chain",
        "market_halted",
        "market_paused",
        "shard_unavailable",
        "store_unavailable",
        "storage_full",
        "overloaded",
        "bridge_paused",
        "bridge_unavailable",
    }
)
