"""Addresses and hashes at the doors. Output is always EIP-55 (`engine.text.address`).

EIP-55 puts the checksum into the case of the letters. So mixed case must match it; all
lower and all upper case carry no checksum and are accepted, as the standard's own libraries
do: most programs write addresses in lower case.
"""

import re

from engine import text
from engine.errors import CallerError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def parse_address(value: str) -> bytes:
    """The 20 bytes of an address. Raises CallerError("invalid_address")."""
    if _ADDRESS.fullmatch(value) is None:
        raise CallerError("invalid_address", "Expected 0x and 40 hex digits")
    raw, digits = bytes.fromhex(value[2:]), value[2:]
    mixed = digits != digits.lower() and digits != digits.upper()
    if mixed and value != text.address(raw):
        raise CallerError(
            "invalid_address", f"Expected the EIP-55 checksum {text.address(raw)}, was {value}"
        )
    return raw


def parse_hash(value: str) -> bytes:
    """The 32 bytes of a transaction hash. Raises CallerError("invalid_request")."""
    if _HASH.fullmatch(value) is None:
        raise CallerError("invalid_request", "Expected a hash: 0x and 64 hex digits")
    return bytes.fromhex(value[2:])


def parse_hex(value: str, *, bytes_max: int) -> bytes:
    """Any bytes in 0x-hex, bounded. Raises CallerError("invalid_request")."""
    if len(value) > 2 + 2 * bytes_max:
        raise CallerError("invalid_request", f"Expected at most {bytes_max} bytes")
    if _HEX.fullmatch(value) is None:
        raise CallerError("invalid_request", "Expected 0x and an even number of hex digits")
    return bytes.fromhex(value[2:])
