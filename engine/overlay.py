"""What is preconfirmed of one market, and whether it came true.

A preconfirmed event came true when a sealed block holds the same event of the same
transaction, at the same place in it: by transaction and place subscribers know it. `seq` and
`event_seq` are not compared: what another trader's vanished event does to the numbering does
not undo this one.
"""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence
from operator import attrgetter

from engine.messages import MarketEvent

_NUMBERING = frozenset({"at", "seq", "event_seq"})
_COMPARED = {
    kind: attrgetter(*(one.name for one in dataclasses.fields(kind) if one.name not in _NUMBERING))
    for kind in MarketEvent.__args__
}


def key_of(event: MarketEvent) -> Hashable:
    """Equal for a preconfirmed event and the sealed one that makes it true."""
    values: Hashable = _COMPARED[type(event)](event)
    return type(event).__name__, event.at.tx_hash, event.at.position, values


def split(
    overlay: Sequence[MarketEvent], sealed: Sequence[MarketEvent], block: int
) -> tuple[list[MarketEvent], tuple[MarketEvent, ...]]:
    """(what still waits, what will not come true) after `block` was sealed with `sealed`.

    What was sealed otherwise will not come true either, in whichever block it was expected.
    """
    came = Counter(key_of(event) for event in sealed)
    places = {(event.at.tx_hash, event.at.position) for event in sealed}
    waiting: list[MarketEvent] = []
    retracted: list[MarketEvent] = []
    for event in overlay:
        key = key_of(event)
        if came[key]:
            came[key] -= 1
        elif event.at.block_number <= block or (event.at.tx_hash, event.at.position) in places:
            retracted.append(event)
        else:
            waiting.append(event)
    return waiting, tuple(retracted)
