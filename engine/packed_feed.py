"""Batches of the feed as tuples of plain values, for the way from the listener to its consumers.

Pickle calls back into Python for each event and each header of one, there and again here; see
`packed`. What is seldom, as a launch's numbers, goes as it is. What is unpacked equals what was
packed.
"""

from dataclasses import fields
from operator import attrgetter
from typing import Any, get_args

from engine.headers import EventHeader
from engine.messages import Block, ChainEvent, FeedBatch, FeedMessage, Preconfirmed

Packed = tuple[Any, ...]

_KINDS: tuple[type[Any], ...] = get_args(ChainEvent)
_AT = attrgetter(*EventHeader.__dataclass_fields__)
_REST = [attrgetter(*(one.name for one in fields(kind)[1:])) for kind in _KINDS]
_PLACE = {kind: place for place, kind in enumerate(_KINDS)}
assert all(fields(kind)[0].name == "at" and len(fields(kind)) > 2 for kind in _KINDS)


def pack(batch: FeedBatch) -> Packed:
    """For `unpack`."""
    messages = tuple([_packed(message) for message in batch.messages])
    return batch.chain_id, batch.after, messages, batch.head, batch.head_at_ns


def unpack(packed: Packed) -> FeedBatch:
    """What `pack` was given."""
    chain_id, after, messages, head, head_at_ns = packed
    return FeedBatch(
        chain_id, after, tuple([_unpacked(message) for message in messages]), head, head_at_ns
    )


def _packed(message: FeedMessage) -> Any:
    if isinstance(message, Block):
        return message.header, _events(message.events), message.received_ns
    if isinstance(message, Preconfirmed):
        number, received_ns = message.block_number, message.received_ns
        return message.chain_id, number, _events(message.events), received_ns
    return message


def _unpacked(packed: Any) -> FeedMessage:
    if not isinstance(packed, tuple):
        message: FeedMessage = packed
        return message
    if len(packed) == 3:
        header, events, received_ns = packed
        return Block(header, _events_of(events), received_ns)
    chain_id, number, events, received_ns = packed
    return Preconfirmed(chain_id, number, _events_of(events), received_ns)


def _events(events: tuple[Any, ...]) -> Packed:
    return tuple(
        [(_PLACE[type(one)], _AT(one.at), _REST[_PLACE[type(one)]](one)) for one in events]
    )


def _events_of(packed: Packed) -> tuple[Any, ...]:
    return tuple([_KINDS[place](EventHeader(*at), *rest) for place, at, rest in packed])
