"""The reconciler: reads random past blocks again and compares them with what was recorded.

It trusts neither its own past nor one index of the node: a block is read by its hash and by
its receipts, both as they come, decoded, and held against the recorded events, value by
value, and transfers. Everything it counts but `reconciled` must stay 0. A look, in order:
  1. the node's block is not the recorded one: a reorganisation is under way, no look;
  2. the two readings differ: `node_differs`, the node lies in one of them;
  3. an event of either that is not recorded so: `missing`; one recorded that is in neither:
     `extra`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from actors.chain_ports import Decoder
from actors.chain_ports import Log as ChainLog
from actors.ports import Log
from engine.control import Drain, StatusWanted
from engine.errors import RiseCurveError
from engine.messages import (
    BlockHeader,
    ChainEvent,
    FeedPosition,
    MarketEvent,
    PoolSwapped,
    PoolSynced,
    Transferred,
)
from engine.settings import ChainSettings

BURIED = 2


class AddressedLog(ChainLog, Protocol):
    """A log that says whose it is."""

    @property
    def address(self) -> bytes: ...


L = TypeVar("L", bound=AddressedLog)
Event = MarketEvent | Transferred


class Source(Protocol[L]):
    """`chain.source`, as far as it is used."""

    async def headers_at(self, numbers: Sequence[int]) -> list[BlockHeader]: ...
    async def reread(self, header: BlockHeader) -> tuple[list[L], list[L]]: ...


class Recorded(Protocol):
    """`storage.events`, as far as it is used."""

    async def position(self) -> FeedPosition: ...
    async def known(
        self, addresses: Sequence[bytes]
    ) -> tuple[dict[bytes, int], dict[bytes, bytes]]: ...
    async def graduations(self, tokens: Sequence[bytes]) -> dict[bytes, tuple[int, int, int]]: ...
    async def events_at(self, block: int) -> tuple[bytes | None, list[ChainEvent]]:
        """(its hash where it has events, its market events and transfers)."""


class Reconciler(Generic[L]):
    """Plain class; `handlers` is its whole behaviour."""

    def __init__(
        self,
        *,
        chain: ChainSettings,
        pause_s: float,
        source: Source[L],
        decoder_of: Callable[[dict[bytes, int], dict[bytes, bytes]], Decoder[L]],
        recorded: Recorded,
        log: Log,
        dice: random.Random,
    ) -> None:
        self._chain = chain
        self._pause_s = pause_s
        self._source = source
        self._decoder_of = decoder_of
        self._recorded = recorded
        self._log = log
        self._random = dice
        self._troubled = False
        self._counts = {
            "reconciled": 0,
            "reconciled_events": 0,
            "reconcile_missing": 0,
            "reconcile_extra": 0,
            "node_differs": 0,
        }
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            StatusWanted: lambda _: dict(self._counts),
            Drain: lambda _: None,
        }

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self.look()
                self._troubled = False
            except RiseCurveError as error:
                if not self._troubled:
                    self._log.warning("reconciler_trouble", error=str(error))
                self._troubled = True

    async def look(self, block: int | None = None) -> None:
        """Compare one block, by default a random recorded one. Raises TransientError."""
        last = (await self._recorded.position()).number - BURIED
        if last < self._chain.first_block:
            return
        if block is None:
            block = self._random.randint(self._chain.first_block, last)
        (header,) = await self._source.headers_at([block])
        by_hash, by_receipts = await self._source.reread(header)
        addresses = {log.address for log in (*by_hash, *by_receipts)}
        # What is ours as of now: tokens are launched while this runs.
        decoder = self._decoder_of(*await self._recorded.known(sorted(addresses)))
        first, second = (_events(decoder, logs, header) for logs in (by_hash, by_receipts))
        pools = await self._recorded.graduations(sorted({one.token for one in first | second}))
        recorded_hash, recorded = await self._recorded.events_at(block)
        (again,) = await self._source.headers_at([block])
        if again.hash != header.hash or recorded_hash not in (None, header.hash):
            return
        if first != second:
            self._counts["node_differs"] += 1
            self._log.error("node_differs", block=header.number)
        told = {one for one in first | second if not _before_pool(one, pools)}
        self._compare(header, told, recorded=set(recorded))

    def _compare(self, header: BlockHeader, told: set[Event], *, recorded: set[ChainEvent]) -> None:
        self._counts["reconciled"] += 1
        self._counts["reconciled_events"] += len(recorded)
        missing, extra = told - recorded, recorded - told
        self._counts["reconcile_missing"] += len(missing)
        self._counts["reconcile_extra"] += len(extra)
        if missing or extra:
            self._log.error(
                "history_differs",
                block=header.number,
                missing=[str(one) for one in list(missing)[:3]],
                extra=[str(one) for one in list(extra)[:3]],
            )


def _events(decoder: Decoder[L], logs: Sequence[L], header: BlockHeader) -> set[Event]:
    events = decoder.decode(logs, block_time=header.timestamp)
    return {event for event in events if isinstance(event, MarketEvent | Transferred)}


def _before_pool(event: Event, graduations: Mapping[bytes, tuple[int, int, int]]) -> bool:
    # What anybody does to a pair before the graduation says nothing and is not recorded.
    if not isinstance(event, PoolSynced | PoolSwapped):
        return False
    opened = graduations.get(event.token)
    return opened is None or event.at.order < opened
