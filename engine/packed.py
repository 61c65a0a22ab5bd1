"""Quotes and their replies as tuples of plain values, for the way between two processes.

Pickle calls back into Python for each object of a class, 15 microseconds a quote there and
back; of a tuple of numbers, bytes and texts it takes a tenth of that. What is unpacked equals
what was packed.
"""

from operator import attrgetter
from typing import Any

from engine.messages import AsOf, QuoteReply, QuoteRequest, Refusal

Packed = tuple[Any, ...]

_REFUSAL = attrgetter("code", "message", "bucket", "incarnation")
_REQUEST = attrgetter(
    "token", "is_buy", "exact_out", "amount", "slippage_bps", "for_block", "sealed"
)
_NAMES = tuple(QuoteReply.__dataclass_fields__)
_AT = _NAMES.index("as_of")
_REPLY = attrgetter(*_NAMES)
_AS_OF = attrgetter("block_number", "block_hash", "log_index", "status", "version")
_REFUSAL_SIZE = 4


def pack_requests(requests: tuple[QuoteRequest, ...]) -> tuple[Packed, ...]:
    """In the same order."""
    return tuple(_REQUEST(request) for request in requests)


def unpack_requests(packed: tuple[Packed, ...]) -> tuple[QuoteRequest, ...]:
    """What `pack_requests` was given."""
    return tuple(QuoteRequest(*values) for values in packed)


def pack_replies(replies: tuple[QuoteReply | Refusal, ...]) -> tuple[Packed, ...]:
    """In the same order; the state's `AsOf` is a tuple in its place."""
    return tuple(_packed(reply) for reply in replies)


def unpack_replies(packed: tuple[Packed, ...]) -> tuple[QuoteReply | Refusal, ...]:
    """What `pack_replies` was given."""
    return tuple(_unpacked(values) for values in packed)


def _packed(reply: QuoteReply | Refusal) -> Packed:
    if isinstance(reply, Refusal):
        return _REFUSAL(reply)
    values = _REPLY(reply)
    return (*values[:_AT], _AS_OF(reply.as_of), *values[_AT + 1 :])


def _unpacked(values: Packed) -> QuoteReply | Refusal:
    if len(values) == _REFUSAL_SIZE:
        return Refusal(*values)
    whole: Packed = (*values[:_AT], AsOf(*values[_AT]), *values[_AT + 1 :])
    return QuoteReply(*whole)
