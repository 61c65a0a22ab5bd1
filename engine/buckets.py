"""Buckets, the unit of ownership, and which shard each belongs to.

A bucket is the low 10 bits of keccak256 of a token's 20 raw bytes. Buckets go to shards
by rendezvous hashing (Thaler and Ravishankar, 1998): when a shard comes or goes only its
own buckets move.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from eth_hash.auto import keccak

from engine.limits import BUCKETS


@lru_cache(maxsize=65_536)
def bucket_of(token: bytes) -> int:
    """The bucket of a token's 20-byte address, 0 to 1,023."""
    assert len(token) == 20, f"Expected 20 bytes, was {len(token)}"
    return int.from_bytes(keccak(token)[-2:], "big") % BUCKETS


def assign(slots: Sequence[str]) -> dict[str, frozenset[int]]:
    """Every bucket to exactly one of `slots`; the same answer for the same set of slots."""
    found: dict[str, set[int]] = {slot: set() for slot in slots}
    if found:
        for bucket in range(BUCKETS):
            found[max(found, key=lambda slot: (_weight(slot, bucket), slot))].add(bucket)
    return {slot: frozenset(share) for slot, share in found.items()}


@lru_cache(maxsize=64 * BUCKETS)
def _weight(slot: str, bucket: int) -> int:
    digest = blake2b(f"{slot}/{bucket}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


@lru_cache(maxsize=8)
def shares(slots: tuple[str, ...]) -> tuple[tuple[str, frozenset[int]], ...]:
    """As `assign`, for who asks the same again and again."""
    return tuple(assign(slots).items())
