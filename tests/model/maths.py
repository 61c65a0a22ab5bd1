"""Curve, fees and pool, from the text of the contracts alone; nothing of the project is used.

Integers, one formula a function, no regard for speed. A curve is (family, a, b, curve supply,
pool supply), family 0 constant product and 1 linear, amounts in wei and token-wei.
"""

from math import isqrt
from typing import NamedTuple

BPS = 10_000
U = 10**24
D = 2 * 10**42


class Config(NamedTuple):
    family: int
    a: int
    b: int
    curve_supply: int
    pool_supply: int


class Fees(NamedTuple):
    protocol: int
    creator: int
    launch: int
    blocks: int
    pool_protocol: int
    pool_creator: int


class Rates(NamedTuple):
    protocol: int
    creator: int
    launch: int

    @property
    def total(self) -> int:
        return self.protocol + self.creator + self.launch


class Refused(Exception):
    """The contract would revert."""


def up(above: int, below: int) -> int:
    return -(-above // below)


def rates_at(fees: Fees, launched: int, block: int) -> Rates:
    age = max(block - launched, 0)
    launch = fees.launch * (fees.blocks - age) // fees.blocks if age < fees.blocks else 0
    return Rates(fees.protocol, fees.creator, launch)


def net_of(rates: Rates, gross: int) -> int:
    return gross * (BPS - rates.total) // BPS


def gross_of(rates: Rates, net: int) -> int:
    return up(net * BPS, BPS - rates.total)


def split(rates: Rates, gross: int, net: int) -> tuple[int, int, int]:
    creator, launch = gross * rates.creator // BPS, gross * rates.launch // BPS
    return gross - net - creator - launch, creator, launch


def area(config: Config, sold: int, tokens: int) -> int:
    return tokens * (config.b * (2 * sold + tokens) + 2 * config.a * U)


def inverse(config: Config, size: int) -> int:
    base = config.a * U
    return (isqrt(base * base + config.b * size) - base) // config.b


def tokens_for_eth(config: Config, sold: int, raised: int, eth: int) -> int:
    if config.family:
        return inverse(config, area(config, 0, sold) + eth * D) - sold
    x, y = config.a + raised, config.b - sold
    return y * eth // (x + eth)


def eth_for_tokens(config: Config, sold: int, raised: int, tokens: int) -> int:
    if config.family:
        return up(area(config, sold, tokens), D)
    x, y = config.a + raised, config.b - sold
    return up(x * tokens, y - tokens)


def proceeds(config: Config, sold: int, raised: int, tokens: int) -> int:
    if config.family:
        return area(config, sold - tokens, tokens) // D
    x, y = config.a + raised, config.b - sold
    return x * tokens // (y + tokens)


def tokens_for_proceeds(config: Config, sold: int, raised: int, eth: int) -> int:
    if eth > raised:
        raise Refused("more than raised")
    if config.family:
        size = area(config, 0, sold)
        if eth * D > size:
            raise Refused("more than raised")
        return sold - inverse(config, size - eth * D)
    x, y = config.a + raised, config.b - sold
    tokens = up(y * eth, x - eth)
    if tokens > sold:
        raise Refused("more than raised")
    return tokens


def price(config: Config, sold: int, raised: int) -> tuple[int, int]:
    """Wei per token-wei, as a fraction."""
    if config.family:
        return config.a * U + config.b * sold, D // 2
    return config.a + raised, config.b - sold


def pool_tokens(config: Config, sold: int, raised: int) -> int:
    above, below = price(config, sold, raised)
    return min(raised * below // above, config.pool_supply)


def pool_out(amount: int, reserve_in: int, reserve_out: int) -> int:
    return amount * 997 * reserve_out // (reserve_in * 1_000 + amount * 997)


def pool_in(amount: int, reserve_in: int, reserve_out: int) -> int:
    return reserve_in * amount * 1_000 // ((reserve_out - amount) * 997) + 1
