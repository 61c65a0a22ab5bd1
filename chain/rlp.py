"""RLP, strictly: one spelling for each value, as nodes demand it of a transaction.

Own code because it reads bytes of strangers: nesting is bounded, and the only error is
ValueError.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

Item = bytes | list["Item"]
Encodable = bytes | Sequence["Encodable"]

EMPTY = b"\x80"
"""No bytes, encoded."""

PREFIXES_KEPT = 4096
"""By length: those of a block's receipts are few, and come again and again."""

DEPTH_MAX = 4
"""Transaction, access list, entry, keys: nothing in a transaction nests deeper."""


def encode(item: Encodable) -> bytes:
    """Bytes of an item; integers are the caller's business (`of_int`)."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefix(len(item), 0x80) + item
    return listed(encode(one) for one in item)


def listed(items: Iterable[bytes]) -> bytes:
    """The list of what is encoded already."""
    body = b"".join(items)
    return _prefix(len(body), 0xC0) + body


def of_int(value: int) -> bytes:
    """Big-endian without leading zeros; 0 is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def to_int(item: Item, bits: int = 256) -> int:
    """The number of an item. Raises ValueError for a list, leading zeros, or too many bits."""
    if not isinstance(item, bytes) or item[:1] == b"\0" or len(item) * 8 > bits:
        raise ValueError(f"Expected a number of {bits} bits")
    return int.from_bytes(item, "big")


def decode(data: bytes) -> Item:
    """The one item that `data` is. Raises ValueError."""
    item, end = _item(data, at=0, end=len(data), depth=0)
    if end != len(data):
        raise ValueError(f"Expected {end} bytes, was {len(data)}")
    return item


@lru_cache(maxsize=PREFIXES_KEPT)
def _prefix(length: int, base: int) -> bytes:
    if length < 56:
        return bytes([base + length])
    size = of_int(length)
    return bytes([base + 55 + len(size)]) + size


def _item(data: bytes, *, at: int, end: int, depth: int) -> tuple[Item, int]:
    if at >= end:
        raise ValueError("Expected an item, was the end")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    base = 0x80 if first < 0xC0 else 0xC0
    start, stop = _span(data, at=at, end=end, code=first - base)
    if base == 0xC0:
        return _list(data, at=start, end=stop, depth=depth + 1), stop
    if stop - start == 1 and data[start] < 0x80:
        raise ValueError("Expected a single byte without prefix")
    return data[start:stop], stop


def _list(data: bytes, *, at: int, end: int, depth: int) -> list[Item]:
    if depth > DEPTH_MAX:
        raise ValueError(f"Expected at most {DEPTH_MAX} lists in each other")
    items: list[Item] = []
    while at < end:
        item, at = _item(data, at=at, end=end, depth=depth)
        items.append(item)
    return items


def _span(data: bytes, *, at: int, end: int, code: int) -> tuple[int, int]:
    start = at + 1
    length = code
    if code > 55:
        size = data[start : start + code - 55]
        start += code - 55
        length = int.from_bytes(size, "big")
        if start > end or size[:1] == b"\0" or length < 56:
            raise ValueError("Expected the shortest length")
    if start + length > end:
        raise ValueError(f"Expected {length} bytes, was {end - start}")
    return start, start + length
