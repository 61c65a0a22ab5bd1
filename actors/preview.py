"""Preconfirmed events: from shreds, or from logs without a block hash.

Nothing here is believed beyond the next seal. A shred that is missing makes the rest of its
block unknown: what follows it is left to the seal. Logs come one by one, so that those of a
transaction are decoded together each time one joins.
"""

from collections.abc import Sequence
from typing import Generic

from actors.chain_ports import Decoder, L, Shred, ShredOrder
from actors.ports import Log
from engine.errors import RiseCurveError
from engine.messages import MarketEvent
from engine.open_blocks import OpenBlocks


class Preview(Generic[L]):
    """Fills `open_blocks`. One object a connection: a new one knows no order."""

    def __init__(
        self, open_blocks: OpenBlocks, decoder: Decoder[L], order: ShredOrder, *, log: Log
    ) -> None:
        self._open = open_blocks
        self._order = order
        self._decoder = decoder
        self._log = log
        self._blind: set[int] = set()
        self._logs: dict[bytes, list[L]] = {}
        self._shown: dict[bytes, int] = {}
        self.gaps = 0
        self.unreadable = 0

    def shred(self, shred: Shred[L], received_ns: int) -> bool:
        """The next shred of an open block; whether it had something for us."""
        place = self._order.place(shred.block_number, shred.index)
        if place == "gap":
            self.gaps += 1
            self._blind.add(shred.block_number)
        if place == "duplicate" or shred.block_number in self._blind:
            return False
        events = self._events(shred.logs, shred.timestamp)
        return self._open.add(shred.block_number, events, received_ns)

    def log(self, log: L, received_ns: int) -> bool:
        """A log without a block hash; whether it had something for us."""
        logs = self._logs.setdefault(log.tx_hash, [])
        if any(one.log_index == log.log_index for one in logs):
            return False
        logs.append(log)
        events = self._events(logs, 0)
        fresh = events[self._shown.get(log.tx_hash, 0) :]
        self._shown[log.tx_hash] = len(events)
        return self._open.add(log.block_number, fresh, received_ns)

    def sealed(self, number: int) -> None:
        """Blocks up to `number` are sealed: forget them."""
        self._blind = {block for block in self._blind if block > number}
        self._logs = {tx: logs for tx, logs in self._logs.items() if logs[0].block_number > number}
        self._shown = {tx: count for tx, count in self._shown.items() if tx in self._logs}

    def _events(self, logs: Sequence[L], block_time: int) -> list[MarketEvent]:
        try:
            events = self._decoder.decode(logs, block_time=block_time)
        except RiseCurveError as error:
            self.unreadable += 1
            self._log.warning("preconfirmed_unreadable", error=str(error))
            return []
        return [event for event in events if isinstance(event, MarketEvent)]
