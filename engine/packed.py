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
_AS_OF = tuple(f"as_of.{name}" for name in AsOf.__dataclass_fields__)
_END = _AT + len(_AS_OF)
_REPLY = attrgetter(*_NAMES[:_AT], *_AS_OF, *_NAMES[_AT + 1 :])
_REFUSAL_SIZE = 4


def pack_requests(requests: tuple[QuoteRequest, ...]) -> tuple[Packed, ...]:
    """In the same order."""
    return tuple(_REQUEST(request) for request in requests)


def unpack_requests(packed: tuple[Packed, ...]) -> tuple[QuoteRequest, ...]:
    """What `pack_requests` was given."""
    return tuple(QuoteRequest(*values) for values in packed)


def pack_replies(replies: tuple[QuoteReply | Refusal, ...]) -> tuple[Packed, ...]:
    """In the same order; the values of the state's `AsOf` stand in its place."""
    return tuple(_packed(reply) for reply in replies)


def unpack_replies(packed: tuple[Packed, ...]) -> tuple[QuoteReply | Refusal, ...]:
    """What `pack_replies` was given."""
    return tuple(_unpacked(values) for values in packed)


def _packed(reply: QuoteReply | Refusal) -> Packed:
    if isinstance(reply, Refusal):
        return _REFUSAL(reply)
    values: Packed = _REPLY(reply)
    return values


def _unpacked(values: Packed) -> QuoteReply | Refusal:
    if len(values) == _REFUSAL_SIZE:
        return Refusal(*values)
    whole: Packed = (*values[:_AT], AsOf(*values[_AT:_END]), *values[_END:])
    return QuoteReply(*whole)
