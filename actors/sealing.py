"""The window of sealed blocks, kept true: extended, filled, taken back, read again.

A header meets one of these cases, in order:
  1. known: nothing;
  2. blocks are missing before it: they are read, then it is judged again;
  3. the child of the tip: it is read whole and sealed;
  4. it contradicts the window: the node is asked for its newest block, not this header,
     which may be an old fork's that was pushed late. The last block both have is looked for
     from the top; what is above it is taken back and the node's blocks are sealed instead.
     Deeper than the window, or below what is final, is a ConsistencyError.
A block whose events do not follow in the launchpads' own numbering is read by its receipts;
if the hole is before it, earlier blocks are, and the one that was read wrongly is *revised*:
taken back and sealed anew under the same hash.
"""

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Generic

from actors.chain_ports import Decoder, L, Source
from actors.chain_ports import Log as Place
from actors.ports import Log
from engine.chain_view import ChainView, Duplicate, EventSeqs, Gap, Reorged, SeqFault
from engine.errors import ConsistencyError, TransientError
from engine.limits import BACKFILL_RANGE
from engine.messages import Block, BlockHeader, ChainEvent, FeedPosition
from engine.settings import ChainSettings

READ_BATCH = 50
"""Blocks read at once while back-filling: their logs are held in memory together."""

CHANGES_MAX = 5
"""Times the node's chain may change under our reading before we begin anew."""


class _Contradicted(Exception):
    pass


class Sealer(Generic[L]):
    """`sealed` is told after each block, `rewound` when a reorg took some back, and
    `revised(ancestor)` when blocks above `ancestor` were sealed wrongly. Every method may raise
    TransientError; nothing is half done then."""

    def __init__(
        self,
        *,
        chain: ChainSettings,
        source: Source[L],
        decoder: Decoder[L],
        log: Log,
        sealed: Callable[[BlockHeader], None],
        rewound: Callable[[], None],
        revised: Callable[[FeedPosition], None],
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._chain = chain
        self._source = source
        self._decoder = decoder
        self._log = log
        self._sealed = sealed
        self._rewound = rewound
        self._revised = revised
        self._clock = clock
        self._wall_ns = wall_ns
        self._seqs = EventSeqs()
        self._distrusted: set[bytes] = set()
        self._first_seen: dict[int, int] = {}
        self.view: ChainView | None = None
        self.learnt = chain.first_block - 1
        self.tip_at = float("-inf")
        self.tip_at_ns = 0
        self.counts = {
            "blocks": 0,
            "events": 0,
            "reread": 0,
            "reorgs": 0,
            "reorg_depth_max": 0,
            "revised": 0,
            "false_heads": 0,
            "false_pushes": 0,
        }

    @property
    def tip(self) -> BlockHeader:
        """The newest sealed block of an open window."""
        assert self.view is not None, "Expected an open window"
        return self.view.tip

    @property
    def _window(self) -> ChainView:
        assert self.view is not None, "Expected an open window"
        return self.view

    def seen(self, number: int, received_ns: int) -> None:
        """The first frame about a block above the tip arrived."""
        if number > self.tip.number and len(self._first_seen) < self._chain.reorg_depth_max:
            self._first_seen.setdefault(number, received_ns)

    async def catch_up(self) -> None:
        """Seal everything up to the node's head; opens the window the first time."""
        head = await self._source.head()
        if self.view is None:
            self.view = await self._open(head)
        await self.reach(head)

    async def reach(
        self, header: BlockHeader, logs: list[L] | None = None, pushed: L | None = None
    ) -> None:
        """Seal up to `header`. `logs` are its own, if they are known already; `pushed` is a
        log that must be among them.
        """
        try:
            await self._reach(header, logs, pushed)
        except _Contradicted:
            await self._resolve()

    async def reach_hash(self, log: L) -> None:
        """Seal up to the block of a pushed log, which must be among its logs."""
        if log.block_hash is None or log.block_number <= self.tip.number:
            return
        found = await self._source.header_and_logs(log.block_hash)
        if found is None:
            raise TransientError("stale_chain", f"Expected block {log.block_number}, was none")
        await self.reach(*found, pushed=log)

    def holds(self, place: Place) -> bool:
        """Whether that log is of the window as it stands; then `must_hold` has nothing to do."""
        block = self._window.block(place.block_number)
        if block is None or block.header.hash != place.block_hash:
            return False
        return place.block_number <= self._window.base or _has(block.events, place)

    async def must_hold(self, log: L) -> None:
        """A pushed log of a sealed block must be one of its events; else receipts decide."""
        block = self._window.block(log.block_number)
        if block is None or block.header.hash != log.block_hash:
            return  # Another fork's: its head decides.
        if log.block_number <= self._window.base:
            return  # Known without its events.
        if not self._decoder.ours(log) or _has(block.events, log):
            return
        if await self._from_receipts(block.header) == block.events:
            self.counts["false_pushes"] += 1
            self._log.warning("pushed_log_unknown", block=log.block_number, log_index=log.log_index)
            return
        await self._revise(block.header)

    # -------------------------------------------------------------------- private

    async def _open(self, head: BlockHeader) -> ChainView:
        first = max(self._chain.first_block - 1, 0)
        if head.number < first:
            raise TransientError("stale_chain", f"Expected block {first}, was {head.number}")
        base = max(first, head.number - self._chain.reorg_depth_max)
        while self.learnt < base:
            last = min(self.learnt + BACKFILL_RANGE, base)
            self._decoder.learn(await self._source.range_logs(self.learnt + 1, last))
            self.learnt = last
        (anchor,) = await self._source.headers(base, base)
        return ChainView(anchor, self._chain.reorg_depth_max)

    async def _reach(
        self, header: BlockHeader, logs: list[L] | None = None, pushed: L | None = None
    ) -> None:
        verdict = self._window.judge(header)
        if isinstance(verdict, Gap):
            await self._fill(verdict.first, verdict.last)
            verdict = self._window.judge(header)
        if isinstance(verdict, Duplicate):
            return
        if isinstance(verdict, Reorged | Gap):
            raise _Contradicted
        if logs is None:
            logs = await self._source.block_logs(header)
        await self._seal(header, logs, pushed)

    async def _fill(self, first: int, last: int) -> None:
        for start in range(first, last + 1, READ_BATCH):
            headers = await self._source.headers(start, min(start + READ_BATCH - 1, last))
            for header, logs in zip(headers, await self._source.blocks_logs(headers), strict=True):
                verdict = self._window.judge(header)
                if isinstance(verdict, Duplicate):
                    continue
                if isinstance(verdict, Reorged | Gap):
                    raise _Contradicted
                await self._seal(header, logs, None)

    async def _resolve(self) -> None:
        for _ in range(CHANGES_MAX):
            head = await self._source.head()
            if isinstance(self._window.judge(head), Duplicate):
                # The node stands on a block of ours: what was pushed is another fork's.
                self.counts["false_heads"] += 1
                return
            try:
                await self._take_back(await self._common(head))
                await self._reach(head)
            except _Contradicted:
                continue
            return
        raise TransientError("stale_chain", "The node's chain changes faster than it is read")

    async def _common(self, head: BlockHeader) -> int:
        top = min(head.number, self.tip.number)
        while top >= self._window.base:
            first = max(self._window.base, top - READ_BATCH + 1)
            for header in reversed(await self._source.headers(first, top)):
                held = self._window.block(header.number)
                if held is not None and held.header.hash == header.hash:
                    return header.number
            top = first - 1
        text = f"Expected a common block from {self._window.base} on, was none"
        raise ConsistencyError("reorg_too_deep", f"{text} below {head.number}")

    async def _take_back(self, ancestor: int) -> None:
        depth = self.tip.number - ancestor
        if depth == 0:
            return
        voided = self._window.rewind(ancestor)
        self._seqs.unnote([event for block in voided for event in block.events])
        self.counts["reorgs"] += 1
        self.counts["reorg_depth_max"] = max(self.counts["reorg_depth_max"], depth)
        self._log.warning("chain_reorganised", ancestor=ancestor, depth=depth)
        self._rewound()

    async def _seal(self, header: BlockHeader, logs: list[L], pushed: L | None) -> None:
        if header.hash in self._distrusted:
            events = await self._from_receipts(header)
        else:
            events = self._decoder.decode(logs, block_time=header.timestamp)
        fault = self._seqs.fault(events)
        unexplained = pushed is not None and self._decoder.ours(pushed) and not _has(events, pushed)
        if fault is not None or unexplained:
            events = await self._from_receipts(header)
            fault = self._seqs.fault(events)
        if fault is not None:
            await self._heal(fault, header)
            fault = self._seqs.fault(events)
        if fault is not None:
            raise ConsistencyError("lost_log", f"{fault} in block {header.number}")
        self._seqs.note(events)
        received_ns = self._first_seen.pop(header.number, 0)
        self._window.extend(Block(header, events, received_ns))
        self.tip_at, self.tip_at_ns = self._clock(), self._wall_ns()
        self.counts["blocks"] += 1
        self.counts["events"] += len(events)
        for number in [n for n in self._first_seen if n <= header.number]:
            del self._first_seen[number]
        self._sealed(header)

    async def _heal(self, fault: SeqFault, header: BlockHeader) -> None:
        # The missing event stands between the emitter's last known one and this block.
        first = self._window.last_with_events(fault.emitter, self.tip.number)
        for number in range(max(first, self._window.base + 1), self.tip.number + 1):
            block = self._window.block(number)
            assert block is not None, f"Expected block {number} in the window"
            if await self._from_receipts(block.header) != block.events:
                await self._revise(block.header)
                return
        raise ConsistencyError("lost_log", f"{fault} in block {header.number}")

    async def _revise(self, header: BlockHeader) -> None:
        self._log.warning("block_revised", block=header.number)
        self.counts["revised"] += 1
        self._distrusted.add(header.hash)
        last = self.tip.number
        voided = self._window.rewind(header.number - 1)
        self._seqs.unnote([event for block in voided for event in block.events])
        before = self.tip
        self._revised(FeedPosition(before.number, before.hash))
        await self._fill(header.number, last)

    async def _from_receipts(self, header: BlockHeader) -> tuple[ChainEvent, ...]:
        self.counts["reread"] += 1
        self._log.warning("block_reread_by_receipts", block=header.number)
        logs = await self._source.receipt_logs(header)
        return self._decoder.decode(logs, block_time=header.timestamp)


def _has(events: tuple[ChainEvent, ...], log: Place) -> bool:
    at = bisect_left(events, log.log_index, key=lambda event: event.at.log_index)
    if at == len(events):
        return False
    found = events[at].at
    return found.log_index == log.log_index and found.tx_hash == log.tx_hash
