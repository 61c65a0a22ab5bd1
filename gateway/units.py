"""Amounts at the doors: decimal strings to integers of base units. No floats anywhere.

Grammar: ASCII digits, optionally a point and 1 to 18 digits. No sign, exponent, white
space, grouping or other script's digits. Lengths are bounded before `int()` sees a digit.
"""

import re
from dataclasses import dataclass

from curves.curve import AMOUNT_MAX
from engine.errors import CallerError
from engine.text import DECIMALS

SLIPPAGE_BPS_MAX = 5_000
SLIPPAGE_BPS_DEFAULT = 100

_AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]{1,18}))?")
_PERCENT = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,2}))?")
_SHOWN_MAX = 40
# 2**112 - 1 base units are 16 digits of whole units; more digits cannot be below it.
_WHOLE_DIGITS_MAX = 16


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number with a fraction or exponent, kept as the text it was written in."""

    text: str


def parse_amount(text: str) -> int:
    """Base units of a positive decimal string in whole units: "0.5" is 5 * 10**17.

    Raises CallerError: invalid_amount for zero and for anything else than a plain decimal,
    amount_too_large above 2**112 - 1 base units.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise CallerError(
            "invalid_amount",
            f"Expected a decimal string with at most 18 decimals, was {_shown(text)}",
        )
    whole = match[1].lstrip("0")
    if len(whole) > _WHOLE_DIGITS_MAX:
        raise _too_large(text)
    amount = int(whole + (match[2] or "").ljust(DECIMALS, "0"))
    if amount > AMOUNT_MAX:
        raise _too_large(text)
    if amount == 0:
        raise CallerError("invalid_amount", "Expected an amount above zero, was zero")
    return amount


def parse_slippage(value: object) -> int:
    """Basis points of a percentage: a string or number, 0 to 50, at most 2 decimals.

    Raises CallerError("invalid_slippage").
    """
    text = _percent_text(value)
    match = _PERCENT.fullmatch(text) if text is not None else None
    if match is None:
        raise _bad_slippage(value)
    bps = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if bps > SLIPPAGE_BPS_MAX:
        raise _bad_slippage(value)
    return bps


def _percent_text(value: object) -> str | None:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int) and not 0 <= value <= SLIPPAGE_BPS_MAX:
        return None
    return str(value)


def _bad_slippage(value: object) -> CallerError:
    found = value.text if isinstance(value, Number) else value
    return CallerError(
        "invalid_slippage",
        f"Expected 0 to 50 percent with at most 2 decimals, was {_shown(found)}",
    )


def _too_large(text: str) -> CallerError:
    return CallerError(
        "amount_too_large", f"Expected at most 2^112 - 1 base units, was {_shown(text)}"
    )


def _shown(value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return type(value).__name__
    if isinstance(value, int) and abs(value) > 10**_SHOWN_MAX:
        return "a larger number"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}… ({len(shown)} characters)"
