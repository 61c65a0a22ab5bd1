"""Exact text of amounts, prices and addresses. No floats anywhere."""

from functools import lru_cache

from eth_hash.auto import keccak

DECIMALS = 18
PRICE_DECIMALS = 36


def units(amount: int, decimals: int = DECIMALS) -> str:
    """Base units as a decimal string in whole units, trailing zeros trimmed: "0.5"."""
    # By the text of the integer: a chart has thousands, and a division costs twice as much.
    digits = str(abs(amount)).zfill(decimals + 1)
    point = len(digits) - decimals
    fraction = digits[point:].rstrip("0")
    shown = f"{digits[:point]}.{fraction}" if fraction else digits[:point]
    return f"-{shown}" if amount < 0 else shown


def base_units(shown: str, decimals: int = DECIMALS) -> int:
    """The other way round, of what `units` wrote: exact at any length."""
    whole, _, part = shown.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return sign * int(whole.lstrip("-") + part.ljust(decimals, "0"))


def price(price_e18: int) -> str:
    """A stored price (floor of wei per whole token times 1e18) as ETH a token."""
    return units(price_e18, PRICE_DECIMALS)


@lru_cache(maxsize=65_536)
def address(raw: bytes) -> str:
    """EIP-55 of a 20-byte address."""
    assert len(raw) == 20, f"Expected 20 bytes, was {len(raw)}"
    plain = raw.hex()
    digest = keccak(plain.encode()).hex()
    cased = (c.upper() if int(d, 16) >= 8 else c for c, d in zip(plain, digest, strict=False))
    return "0x" + "".join(cased)


def topic_of_token(token: bytes) -> str:
    """The realtime topic of a token; lower case, so that each token has one."""
    return f"token:0x{token.hex()}"


def topic_of_user(shown: str) -> str:
    """The realtime topic of a wallet, by its address in any spelling."""
    return f"user:{shown.lower()}"


def token_of_topic(topic: str) -> bytes | None:
    """The token of its realtime topic; None: it is the topic of something else."""
    kind, _, token = topic.partition(":0x")
    return bytes.fromhex(token) if kind == "token" else None


def hex_of(raw: bytes) -> str:
    """0x and lower-case hex."""
    return "0x" + raw.hex()
