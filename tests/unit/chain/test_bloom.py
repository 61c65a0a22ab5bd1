"""The bloom against a real header, and what it can tell."""

import random
import time

from chain import bloom
from chain.decode import RawLog


def log(address: bytes, *topics: bytes) -> RawLog:
    return RawLog(address, topics, b"", 1, None, bytes(32), 0, 0, False)


def test_bloom_bits_are_the_low_eleven_of_three_pairs_of_the_hash() -> None:
    # keccak256 of nothing begins c5d2 4601 86f7.
    assert bloom.bits_of(b"") == 1 << 0x5D2 | 1 << 0x601 | 1 << 0x6F7
    both = bloom.bits_of(b"a" * 20) | bloom.bits_of(b"t" * 32)
    assert bloom.bloom_of([log(b"a" * 20, b"t" * 32)]) == both
    assert bloom.bloom_of([]) == 0


def test_bloom_misses_any_new_address_or_topic() -> None:
    rng = random.Random(4)
    missed = 0
    for _ in range(300):
        logs = [log(rng.randbytes(20), rng.randbytes(32)) for _ in range(20)]
        missed += bloom.bloom_of(logs[:-1]) == bloom.bloom_of(logs)
    assert missed <= 1


def test_bloom_may_hold_needs_an_address_and_a_topic() -> None:
    here = bloom.bloom_of([log(b"a" * 20, b"t" * 32)])
    assert bloom.may_hold(here, [b"b" * 20, b"a" * 20], [b"t" * 32])
    assert not bloom.may_hold(here, [b"a" * 20], [b"u" * 32])
    assert not bloom.may_hold(here, [b"b" * 20], [b"t" * 32])
    assert not bloom.may_hold(here, [], [b"t" * 32])


def test_bloom_of_500_logs_takes_milliseconds() -> None:
    rng = random.Random(5)
    traders = [rng.randbytes(32) for _ in range(250)]
    logs = [log(b"p" * 20, b"t" * 32, b"k" * 32, rng.choice(traders)) for _ in range(500)]
    bloom.bits_of.cache_clear()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        bloom.bloom_of(logs)
        times.append((time.perf_counter() - began) * 1e3)
    print(f"\nbloom of 500 logs, ms: first {times[0]:.2f}, then {min(times[1:]):.2f}")
    assert min(times[1:]) < 20
