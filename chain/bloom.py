"""The logs bloom of a block: 2,048 bits, three for each address and topic of its logs.

It is in the header, so what was received must make the same bits. It proves that no address
and no topic is missing, not that no log is: one whose every item stands in other logs too
(the same trader, token and event again) leaves no trace. Indices without a hole catch such
a one in the middle, the launchpad's `eventSeq` at the end, and re-reading by receipts.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache

from eth_hash.auto import keccak

from chain.decode import RawLog

REMEMBERED = 16_384
"""Items whose bits are kept, about 6 MB: topics and contracts come again, so do traders."""


@lru_cache(REMEMBERED)
def bits_of(item: bytes) -> int:
    """The bloom of one address or topic: an integer of 2,048 bits with at most three set."""
    digest = keccak(item)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2_047)
    return bits


def bloom_of(logs: Iterable[RawLog]) -> int:
    """The bloom of these logs, as the integer of a header's `logsBloom`."""
    items = {item for log in logs for item in (log.address, *log.topics)}
    bloom = 0
    for item in items:
        bloom |= bits_of(item)
    return bloom


def may_hold(bloom: int, addresses: Collection[bytes], topics: Collection[bytes]) -> bool:
    """Whether a log of one of these addresses with one of these topics may be there."""
    return any_of(bloom, addresses) and any_of(bloom, topics)


def any_of(bloom: int, items: Collection[bytes]) -> bool:
    """Whether one of these addresses or topics may be there."""
    return any(bloom & (bits := bits_of(item)) == bits for item in items)
