"""A log's words and topics, cut by hand: a general ABI decoder takes ten times as long.

Whatever one of our own contracts could not have written is a ConsistencyError("malformed_log").
"""

from curves.values import value
from engine.errors import ConsistencyError

_PADDING = bytes(12)


@value
class RawLog:
    """One log as the node gave it. `block_hash` is None while preconfirmed."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes | None
    tx_hash: bytes
    tx_index: int
    log_index: int
    removed: bool


def malformed(log: RawLog, what: str) -> ConsistencyError:
    """The error to raise for this log; `what` was expected of it."""
    return ConsistencyError(
        "malformed_log",
        f"Expected {what} in log {log.log_index} of block {log.block_number}, "
        f"was {log.data[:64].hex()} ({len(log.data)} bytes, {len(log.topics)} topics)",
    )


def words(log: RawLog, count: int) -> list[int]:
    """All of the data, which must be `count` words."""
    data = log.data
    if len(data) != count * 32:
        raise malformed(log, f"{count} words")
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)]


def topics(log: RawLog, count: int) -> None:
    """There must be so many, the event's own included."""
    if len(log.topics) != count:
        raise malformed(log, f"{count} topics")


def topic_address(log: RawLog, index: int) -> bytes:
    """20 bytes."""
    topic = log.topics[index] if index < len(log.topics) else b""
    if len(topic) != 32 or not topic.startswith(_PADDING):
        raise malformed(log, f"an address in topic {index}")
    return topic[12:]


def below(log: RawLog, bits: int, *values: int) -> None:
    """None of `values` may have more bits."""
    if any(value >> bits for value in values):
        raise malformed(log, f"numbers of {bits} bits")
