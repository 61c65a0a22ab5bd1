"""The recorder: writes every sealed block into Postgres, in one transaction, in order.

It is a consumer of the listener's feed like a shard. Its position is the cursor row in
Postgres, moved in the same transaction as the rows: a batch that is applied twice, late or
by an earlier incarnation writes nothing. When Postgres is away a batch fails, the listener
sends it again, and nothing is lost. The messages of a batch, in order:
  1. Block: written with those next to it, whole blocks in one transaction;
  2. Reorg: everything above the ancestor is taken back in one transaction;
  3. Finalised: work that waited for it becomes visible.
A block whose events do not go on in the launchpads' numbering shows that one before it was
recorded with a hole: the recorder goes back to before it by itself and says so by its
position.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from actors.ports import Calls, History, Log
from engine import history
from engine.chain_view import EventSeqs, SeqFault
from engine.control import Directory, Drain, Feed, Follow, StatusWanted, Unfollow
from engine.errors import ConsistencyError, RiseCurveError
from engine.limits import TRAIL_MAX
from engine.messages import Block, CurveNumbers, FeedMessage, FeedPosition, Finalised, Reorg
from engine.rows import BlockRows, MarketRow
from engine.settings import ChainSettings

GROUP = "recorder"
CURVES_KEPT = 65_536
PENDING_BATCH = 100
PENDING_S_MAX = 3600.0
"""A submission without a receipt for so long is FAILED; should it be mined after all, its
events replace the row."""
WRITE_EVENTS_MAX = 4_000
"""Events in one transaction: about a second of Postgres at most, so that a successor's claim
never waits long."""


class Outcome(Protocol):
    """A mined transaction, as far as settling needs it."""

    @property
    def status(self) -> int: ...
    @property
    def gas_used(self) -> int: ...
    @property
    def effective_gas_price(self) -> int: ...


class Receipts(Protocol):
    """How a submitted transaction ended: `chain.sender.Node`."""

    async def receipt(self, tx_hash: bytes) -> Outcome | None: ...
    async def revert_reason(self, tx_hash: bytes) -> str: ...


class Recorder:
    """Plain class; `handlers` is its whole behaviour."""

    def __init__(
        self,
        *,
        name: str,
        chain: ChainSettings,
        history: History,
        receipts: Receipts,
        calls: Calls,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._wall_clock = wall_clock
        self._name = name
        self._chain = chain
        self._history = history
        self._receipts = receipts
        self._calls = calls
        self._log = log
        self._clock = clock
        self._directory = Directory(0, (), ())
        self._incarnation = 0
        self._position = FeedPosition(-1, bytes(32))
        self._heard = clock()
        self._seqs = EventSeqs()
        self._curves: OrderedDict[bytes, CurveNumbers] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._broken = asyncio.Event()
        self._listener_changed = asyncio.Event()
        self._blocks = 0
        self._reorgs = 0
        self._events = 0
        self._venues = frozenset(pad.address for pad in chain.launchpads)
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: self._route,
            Feed: self._feed,
            StatusWanted: self._status,
            Drain: self._drain,
        }

    async def start(self) -> None:
        """Claim the cursor: an earlier recorder is fenced from here on."""
        self._incarnation = await self._history.claim()
        self._position = await self._history.position()
        self._seqs = EventSeqs(await self._history.event_seqs())
        self._log.info("recorder_claimed", block=self._position.number)

    async def run(self) -> None:
        """Follow the listener and settle submitted transactions until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_following())
            tasks.create_task(self._keep_settling())
            tasks.create_task(self._end_when_broken())

    def _route(self, directory: Directory) -> None:
        if directory.version > self._directory.version:
            if directory.named("listener") != self._directory.named("listener"):
                self._listener_changed.set()
            self._directory = directory

    async def _feed(self, message: Feed) -> FeedPosition:
        async with self._one_at_a_time:
            self._heard = self._clock()
            batch = message.batch
            if batch.after != self._position or not batch.messages:
                return self._position
            try:
                await self._take(batch.messages)
            except (ConsistencyError, KeyError, ValueError, AssertionError) as error:
                # History that does not fit: end, start from the cursor, and be seen to fail.
                self._log.error("recorder_poisoned", exc_info=error)
                self._broken.set()
                raise
            return self._position

    async def _take(self, messages: Sequence[FeedMessage]) -> None:
        for is_block, run in groupby(messages, lambda message: isinstance(message, Block)):
            group = list(run)
            if is_block:
                blocks = [message for message in group if isinstance(message, Block)]
                fault = self._seqs.fault([event for block in blocks for event in block.events])
                if fault is not None:
                    # The rest of the batch follows a block that is not there any more.
                    await self._go_back_before(fault)
                    return
                await self._write_blocks(blocks)
            else:
                await self._mark(group)

    async def _mark(self, messages: Sequence[FeedMessage]) -> None:
        for message in messages:
            if isinstance(message, Reorg):
                await self._rewind(FeedPosition(message.ancestor_number, message.ancestor_hash))
            elif isinstance(message, Finalised):
                await self._history.finalise(message.number, self._incarnation)

    async def _rewind(self, ancestor: FeedPosition) -> None:
        if not await self._history.rewind(ancestor, incarnation=self._incarnation):
            self._broken.set()
            raise ConsistencyError("fenced", "Expected to own the recorder's cursor")
        self._log.warning("history_rewound", to=ancestor.number, was=self._position.number)
        self._reorgs += 1
        self._position = ancestor
        self._curves.clear()
        self._seqs = EventSeqs(await self._history.event_seqs())

    async def _go_back_before(self, fault: SeqFault) -> None:
        # The missing event stands in the block of its emitter's last one, or after it.
        last = await self._history.last_block_of(fault.emitter)
        trail = await self._history.trail(TRAIL_MAX)
        ancestor = next((one for one in trail if one.number < last), None)
        if ancestor is None:
            raise ConsistencyError("lost_log", f"{fault}, and no block before {last} is known")
        self._log.error("recorded_hole", fault=str(fault), block=last)
        await self._rewind(ancestor)

    async def _write_blocks(self, blocks: list[Block]) -> None:
        # The rows of the next transaction are made while Postgres has one: what they need of
        # it is in `states`. It is begun when the one before is through, never beside it.
        states: dict[bytes, MarketRow] = {}
        writing = asyncio.create_task(asyncio.sleep(0))
        for part in _parts(blocks):
            try:
                rows = [await self._rows(block, states) for block in part]
            finally:
                await writing
            writing = asyncio.create_task(self._write(rows))
        await writing

    async def _write(self, rows: list[BlockRows]) -> None:
        last = rows[-1].header
        position = FeedPosition(last.number, last.hash)
        written = await self._history.write(rows, incarnation=self._incarnation, position=position)
        if not written:
            # Crash-only: whoever is fenced ends; a new recorder has the cursor.
            self._broken.set()
            raise ConsistencyError("fenced", "Expected to own the recorder's cursor")
        self._position = position
        for row in rows:
            self._seqs.note(row.events)
        self._blocks += len(rows)
        self._events += sum(len(row.events) for row in rows)

    async def _rows(self, block: Block, states: dict[bytes, MarketRow]) -> BlockRows:
        # `states` carries markets over blocks of this batch that are not written yet.
        tokens = history.tokens_needed(block)
        unknown = [token for token in tokens if token not in self._curves]
        if unknown:
            self._curves.update(await self._history.token_curves(unknown))
        unread = [token for token in tokens if token not in states]
        if unread:
            states.update(await self._history.last_markets(unread))
        rows = history.rows_of(block, self._curves, states, venues=self._venues)
        for row in rows.tokens:
            self._curves[row.token] = row.curve
        states.update({row.token: row for row in rows.markets})
        while len(self._curves) > CURVES_KEPT:
            self._curves.popitem(last=False)
        await asyncio.sleep(0)  # a write that is under way has its turn
        return rows

    async def _end_when_broken(self) -> None:
        await self._broken.wait()
        raise ConsistencyError("broken", "Expected to own the cursor and blocks that fit")

    async def _keep_following(self) -> None:
        patience = 2 * self._chain.block_time_s
        asked = self._clock()
        while True:
            with contextlib.suppress(TimeoutError):
                pause = self._chain.block_time_s / 2
                await asyncio.wait_for(self._listener_changed.wait(), pause)
            changed = self._listener_changed.is_set()
            self._listener_changed.clear()
            if changed or self._clock() - max(self._heard, asked) > patience:
                await self._follow()
                asked = self._clock()

    async def _follow(self) -> None:
        for listener in self._directory.named("listener"):
            try:
                trail = tuple(await self._history.trail(TRAIL_MAX))
                follow = Follow(self._name, GROUP, self._position, None, trail)
                await self._calls.ask(listener.name, follow, timeout_s=1.0)
            except RiseCurveError as error:
                self._log.warning("recorder_cannot_follow", error=str(error))

    async def _keep_settling(self) -> None:
        troubled = False
        while True:
            await asyncio.sleep(self._chain.block_time_s)
            try:
                rows = await self._history.pending(PENDING_BATCH)
                await self._history.checked([row.tx_hash for row in rows])
                for row in rows:
                    await self._settle(row.tx_hash, age_s=self._wall_clock() - row.time)
            except RiseCurveError as error:
                if not troubled:
                    self._log.warning("settling_failed", error=str(error))
                troubled = True
            else:
                troubled = False

    async def _settle(self, tx_hash: bytes, *, age_s: float) -> None:
        receipt = await self._receipts.receipt(tx_hash)
        if receipt is None:
            if age_s > PENDING_S_MAX:
                await self._history.settle(
                    tx_hash, status="FAILED", reason="not mined in an hour", gas_fee=None
                )
            return
        fee = receipt.gas_used * receipt.effective_gas_price
        if receipt.status == 1:
            await self._history.settle(tx_hash, status="CONFIRMED", reason=None, gas_fee=fee)
        else:
            reason = await self._receipts.revert_reason(tx_hash)
            await self._history.settle(tx_hash, status="FAILED", reason=reason, gas_fee=fee)

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        return {
            "block": self._position.number,
            "blocks": self._blocks,
            "events": self._events,
            "reorgs": self._reorgs,
        }

    async def _drain(self, _: Drain) -> None:
        for listener in self._directory.named("listener"):
            try:
                unfollow = Unfollow(self._name, GROUP)
                await self._calls.ask(listener.name, unfollow, timeout_s=1.0)
            except RiseCurveError as error:
                self._log.warning("recorder_cannot_unfollow", error=str(error))
        async with self._one_at_a_time:
            self._log.info("recorder_drained", block=self._position.number)


def _parts(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    # Whole blocks, a bounded number of events a transaction.
    part: list[Block] = []
    waiting = 0
    for block in blocks:
        part.append(block)
        waiting += len(block.events)
        if waiting >= WRITE_EVENTS_MAX:
            yield part
            part, waiting = [], 0
    if part:
        yield part
