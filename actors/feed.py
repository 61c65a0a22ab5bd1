"""One consumer of the listener's feed: its position, and the task that sends to it.

Nothing is queued for a consumer: each batch is read from the window at the consumer's own
position, or, below the window, from the chain. A slow or dead consumer costs nothing but
its own task. The cases of a position, in order:
  1. unknown, at first and when a batch was not answered: an empty one asks for it;
  2. AHEAD of the tip: a node may lag, so wait a while; then it is like the next case;
  3. FOREIGN, another hash than ours at its number: it stands on a block that was taken back.
     `Reorg` to the last block of ours that leads there; halt where nobody knows it;
  4. a block at or below it was read wrongly: `Reorg` to before that block;
  5. BELOW the window: is it the chain's at all? If not, `Reorg` by its trail, as in 3. Else
     blocks are read again from the chain, those without events left out;
  6. INSIDE: every block after it, empty ones too, and, to shards, what is preconfirmed above
     the tip.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from actors.ports import Log
from engine.buckets import bucket_of
from engine.chain_view import AHEAD, BELOW, FOREIGN, INSIDE, ChainView, EventSeqs
from engine.errors import ConsistencyError, TransientError
from engine.limits import FEED_BATCH_MAX, STALE_AFTER_BLOCKS
from engine.messages import (
    Block,
    FeedBatch,
    FeedMessage,
    FeedPosition,
    Finalised,
    MarketEvent,
    Preconfirmed,
    Reorg,
)
from engine.open_blocks import OpenBlocks
from engine.settings import ChainSettings

NOWHERE = FeedPosition(-1, bytes(32))
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 1.0
SEND_TIMEOUT_S = 5.0
LOST_AFTER_S = 1.0
"""A send older than this when the consumer asks again is taken for lost."""

FORGET_AFTER_S = 60.0
"""A consumer that failed for so long is gone; one that is there asks again by itself."""

HALTED_S = 5.0
"""A halted consumer that asks again is tried again after so long."""

LIVE_FIRST_S = 0.1
"""History is told of a block so long after its seal: what shards, Redis and the doors have to do
with it comes first on a small machine, and would take twice as long beside the recorder."""

Send = Callable[[FeedBatch], Awaitable[FeedPosition]]


class Supply(Protocol):
    """What the listener offers to its consumers."""

    @property
    def window(self) -> ChainView | None:
        """None while there is nothing to send: starting, or halted."""

    @property
    def fresh(self) -> bool:
        """Whether the tip is so new that sending it may count as a head beat."""

    @property
    def open_blocks(self) -> OpenBlocks:
        """What is preconfirmed above the tip."""

    @property
    def tip_at(self) -> float:
        """When the tip was sealed here, monotonic clock."""

    @property
    def tip_at_ns(self) -> int:
        """The same, wall clock."""

    async def newest_of(self, positions: Sequence[FeedPosition]) -> FeedPosition | None:
        """The first of these that stands on the node's chain; None: not one of them."""

    def history(self, position: FeedPosition, upto: int) -> AsyncIterator[list[Block]]:
        """Blocks with events after `position` up to `upto`, in chunks that end in a block."""


class Consumer:
    """`halted` says why it is fed no more; `position` is the last one it answered."""

    def __init__(
        self,
        *,
        name: str,
        send: Send,
        buckets: frozenset[int] | None,
        position: FeedPosition | None,
        supply: Supply,
        chain: ChainSettings,
        log: Log,
        trail: tuple[FeedPosition, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trail = trail
        self.name = name
        self.position = position
        self.halted: str | None = None
        self._halted_at = 0.0
        self._certain = True
        self._strayed = False
        self.failing_since: float | None = None
        self._send = send
        self._buckets = buckets
        self._supply = supply
        self._chain = chain
        self._log = log
        self._clock = clock
        self._wake = asyncio.Event()
        self._history: AsyncIterator[list[Block]] | None = None
        # Set from the start of a history to the first events of the window after it, so
        # that a log lost between the two ways of reading shows as a gap.
        self._seqs: EventSeqs | None = None
        self._blocks: tuple[Block, ...] = ()
        self._final = -1
        self._final_sent = -1
        self._expected: FeedPosition | None = None
        self._ancestor: FeedPosition | None = None
        self._open_sent = self._open_next = -1
        self._ahead_since: float | None = None
        self._sending_since: float | None = None

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def go_back(self, ancestor: FeedPosition) -> None:
        """A block above `ancestor` was read wrongly: whoever is above it gets it again."""
        if self._ancestor is None or ancestor.number < self._ancestor.number:
            self._ancestor = ancestor
        self._wake.set()

    def renew(
        self,
        send: Send,
        buckets: frozenset[int] | None,
        *,
        trail: tuple[FeedPosition, ...] = (),
    ) -> bool:
        """Asked for again: whether this one goes on, so that no other is needed."""
        if buckets != self._buckets:
            return False
        if self.halted is not None:
            # A trail of another day may help; but not at each asking.
            return self._clock() - self._halted_at < HALTED_S
        sending = self._sending_since
        if sending is not None and self._clock() - sending > LOST_AFTER_S:
            return False
        self._send = send
        self._trail = trail
        self._wake.set()
        return True

    def status(self) -> dict[str, Any]:
        """For operators."""
        number = self.position.number if self.position else None
        return {
            "position": number,
            "halted": self.halted,
            "failing": self.failing_since is not None,
        }

    async def run(self) -> None:
        """Send until cancelled, halted, or gone for FORGET_AFTER_S."""
        pause_s = BACKOFF_S_MIN
        while True:
            try:
                await self._step()
            except ConsistencyError as error:
                self.halted, self._halted_at = str(error), self._clock()
                self._log.error("consumer_halted", consumer=self.name, reason=self.halted)
                return
            except Exception as error:
                if not self._failed(error):
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, BACKOFF_S_MAX)
            else:
                pause_s = BACKOFF_S_MIN
                self._recovered()

    # -------------------------------------------------------------------- private

    async def _step(self) -> None:
        batch = await self._next()
        self._sending_since = self._clock()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                answer = await self._send(batch)
        finally:
            self._sending_since = None
        self._settle(batch, answer)

    def _failed(self, error: Exception) -> bool:
        now = self._clock()
        if self.failing_since is None:
            self.failing_since = now
            self._log.warning("consumer_failing", consumer=self.name, error=repr(error))
        # What was read is read again: a chunk of history may have been lost with the error.
        self._history = None
        self._open_sent = -1
        self._certain = False
        if not isinstance(error, TransientError) or error.code != "overloaded":
            # No answer: what was sent may be held for a process that only stands still, and
            # be applied later. A question is as good as the batch, and costs next to nothing.
            self.position = None
        if now - self.failing_since < FORGET_AFTER_S:
            return True
        self.halted = f"gone: {error!r}"
        self._log.warning("consumer_forgotten", consumer=self.name)
        return False

    def _recovered(self) -> None:
        if self.failing_since is not None:
            self._log.info("consumer_recovered", consumer=self.name)
        self.failing_since = None

    async def _next(self) -> FeedBatch:
        while True:
            self._wake.clear()
            batch = await self._batch()
            if batch is not None:
                return batch
            try:
                async with asyncio.timeout(self._chain.block_time_s):
                    await self._wake.wait()
            except TimeoutError:
                continue
            if self._buckets is None:
                age_s = self._clock() - self._supply.tip_at
                await asyncio.sleep(max(LIVE_FIRST_S - age_s, 0.0))

    async def _batch(self) -> FeedBatch | None:
        view = self._supply.window
        if view is None:
            return None
        if self._ancestor is not None and not self._certain:
            # It may have the block that was read wrongly, and a reply was lost: ask.
            self.position = None
        if self.position is None:
            return FeedBatch(self._chain.chain_id, NOWHERE, (), view.tip.number)
        start, standing = self._standing(view, self.position)
        if standing == AHEAD and not self._waited_for_tip():
            return None
        if standing in (AHEAD, FOREIGN):
            return self._reorg(view, self.position, self._known_ancestor(view, self.position))
        self._ahead_since = None
        if self._ancestor is not None and self.position.number > self._ancestor.number:
            return self._reorg(view, self.position, self._ancestor)
        self._ancestor = None
        return await self._onward(view, self.position, start=start, standing=standing)

    async def _onward(
        self, view: ChainView, position: FeedPosition, *, start: int, standing: str
    ) -> FeedBatch | None:
        if standing == BELOW:
            if self._history is None and position.number >= 0:
                found = await self._supply.newest_of((position, *self._trail_below(position)))
                if found is None:
                    text = f"Expected a block of this chain, was {position}"
                    raise ConsistencyError("unknown_position", text)
                if found != position:
                    return self._reorg(view, position, found)
            self._blocks = await self._past(view)
        elif self._buckets is not None and not self._supply.fresh:
            # To a shard a batch that reaches the head is a beat: none from an old head.
            return None
        else:
            self._history = None
            self._blocks = view.after(start, FEED_BATCH_MAX - 1)
        return self._made(view, position)

    def _trail_below(self, position: FeedPosition) -> list[FeedPosition]:
        return [one for one in self._trail if 0 <= one.number < position.number]

    def _standing(self, view: ChainView, position: FeedPosition) -> tuple[int, str]:
        if position.number >= 0:
            return position.number, view.standing(position)
        start = max(self._chain.first_block - 1, 0)
        return start, INSIDE if start >= view.base else BELOW

    def _waited_for_tip(self) -> bool:
        now = self._clock()
        self._ahead_since = self._ahead_since or now
        return now - self._ahead_since > STALE_AFTER_BLOCKS * self._chain.block_time_s

    def _known_ancestor(self, view: ChainView, position: FeedPosition) -> FeedPosition:
        found = view.ancestor_of(position, self._trail)
        if found is None:
            raise ConsistencyError(
                "unknown_position", f"Expected a block that led to ours, was {position}"
            )
        return found

    def _reorg(self, view: ChainView, position: FeedPosition, ancestor: FeedPosition) -> FeedBatch:
        self._log.info("consumer_goes_back", consumer=self.name, block=ancestor.number)
        self._blocks, self._history, self._seqs = (), None, None
        if ancestor.number < self._chain.first_block and self._buckets is None:
            ancestor = NOWHERE  # nothing of ours is there, and nobody has recorded it
        self._expected = ancestor
        reorg = Reorg(self._chain.chain_id, ancestor.number, ancestor.hash)
        return FeedBatch(self._chain.chain_id, position, (reorg,), view.tip.number)

    async def _past(self, view: ChainView) -> tuple[Block, ...]:
        assert self.position is not None
        self._seqs = self._seqs or EventSeqs()
        while True:
            if self._history is None:
                self._history = self._supply.history(self.position, view.base)
            blocks = await anext(self._history, None)
            if blocks is not None:
                return tuple(blocks)
            # Read to what was the base; meanwhile it has moved on.
            self._history = None

    def _made(self, view: ChainView, position: FeedPosition) -> FeedBatch | None:
        self._expected = position
        if self._blocks:
            last = self._blocks[-1].header
            self._expected = FeedPosition(last.number, last.hash)
        if self._seqs is not None:
            fault = self._seqs.fault([e for block in self._blocks for e in block.events])
            if fault is not None:
                raise ConsistencyError("lost_log", str(fault))
        messages: list[FeedMessage] = [self._filtered(block) for block in self._blocks]
        self._final = min(view.finalised, self._expected.number)
        if self._final > self._final_sent:
            messages.append(Finalised(self._chain.chain_id, self._final))
        messages += self._preconfirmed(view, self._expected.number)
        if not messages:
            return None
        head_at_ns = self._supply.tip_at_ns
        return FeedBatch(
            self._chain.chain_id, position, tuple(messages), view.tip.number, head_at_ns
        )

    def _preconfirmed(self, view: ChainView, reached: int) -> list[Preconfirmed]:
        # Only on the tip, and not into history: the overlay is for prices.
        self._open_next = self._open_sent
        if self._buckets is None or reached < view.tip.number:
            return []
        entries = self._supply.open_blocks.since(self._open_sent)
        if entries:
            self._open_next = entries[-1].number
        made = []
        for message in (entry.message for entry in entries):
            events = tuple(e for e in message.events if bucket_of(e.token) in self._buckets)
            if events:
                made.append(replace(message, events=events))
        return made

    def _filtered(self, block: Block) -> Block:
        if self._buckets is None or not block.events:
            return block
        events = tuple(
            event
            for event in block.events
            if isinstance(event, MarketEvent) and bucket_of(event.token) in self._buckets
        )
        return Block(block.header, events, block.received_ns)

    def _settle(self, batch: FeedBatch, answer: FeedPosition) -> None:
        if not isinstance(answer, FeedPosition):
            raise TransientError("shard_unavailable", f"Expected a position, was {answer!r}")
        self._certain = True
        if self.position is None:
            self.position, self._history, self._seqs = answer, None, None
            self._final_sent = self._open_sent = -1
            return
        if answer == self._expected:
            self._accepted(answer)
        elif answer == batch.after:
            raise TransientError("overloaded", f"Expected {self._expected}, was {answer}")
        else:
            self.position, self._history, self._seqs = answer, None, None
            self._final_sent = self._open_sent = -1
            strayed, self._strayed = self._strayed, True
            if strayed:
                text = f"Expected {self._expected}, was {answer}, again"
                raise TransientError("overloaded", text)

    def _accepted(self, answer: FeedPosition) -> None:
        went_back = self.position is not None and answer.number < self.position.number
        self._strayed = self._strayed and went_back
        self.position = answer
        self._final_sent = max(self._final_sent, self._final)
        self._open_sent = -1 if went_back else self._open_next
        if self._seqs is None:
            return
        events = [event for block in self._blocks for event in block.events]
        self._seqs.note(events)
        if self._history is None and events:
            self._seqs = None
