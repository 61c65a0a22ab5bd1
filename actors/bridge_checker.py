"""The bridge's checker: believes neither attestors nor relayer, and pauses both vaults.

It follows both vaults through listeners and nodes of its own. For each payment that a block
at the head holds, in order:
  1. `Released`: the source is read, afterwards: it must know this id, with this amount, this
     recipient and these two chains;
  2. `Refunded`: the target is read, afterwards: it must have cancelled this id;
  3. the source cannot be read, or is behind: asked again; after a while that counts as unknown;
  4. unknown, or another than it says: both vaults are paused, at once, with the guardian's key.
Each block the books are compared too (`engine.bridge.conservation`): of each vault with what
it holds, and of both with each other, at the block below the head: a node may answer a call at
its newest one with the state of the next. A violation pauses as well. Only the owner unpauses.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.bridge_ports import CheckedVault, Deposits, Guardian
from actors.ports import Log
from engine.bridge.conservation import Books, fault_between, fault_of
from engine.bridge.control import Pause
from engine.bridge.events import Refunded, Released
from engine.bridge.messages import Fate
from engine.control import Directory, Drain, StatusWanted
from engine.errors import RiseCurveError, TransientError
from engine.limits import BRIDGE_CHECKS_MAX
from engine.messages import Block, FeedBatch, FeedPosition, Finalised, Reorg

BLIND_S = 60.0
"""A payment whose other end could not be read for so long is taken for unmatched."""

RETRY_S = 0.5
PAUSE_RETRY_S = 1.0
PAUSE_GAS = 100_000
"""Measured: 31,000."""

Payment = Released | Refunded


@dataclass(slots=True)
class CheckedEnd:
    """One chain, through the checker's own nodes. `fresh`: its listener stands on a new block;
    `position` is where it stands in its feed, `buried` the block below. `blind_since`: the first
    of `pending` was asked for then, and has had no answer yet."""

    chain_id: int
    vault: CheckedVault
    deposits: Deposits
    guardian: Guardian
    hash_of: Callable[[int], Awaitable[bytes]]
    fresh: Callable[[], bool]
    position: FeedPosition
    other: int
    buried: FeedPosition | None = None
    books_at: FeedPosition | None = None
    pending: deque[tuple[Payment, float]] = field(default_factory=deque)
    blind_since: float | None = None
    recent: deque[FeedPosition] = field(default_factory=deque)
    final: FeedPosition | None = None


class BridgeChecker:
    """Plain class; `take` is fed, `run` its work. `save` keeps final positions, up to
    which every payment was looked at, for a restart."""

    def __init__(
        self,
        *,
        ends: Mapping[int, CheckedEnd],
        pause: bytes,
        save: Callable[[int, FeedPosition], None],
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ends = ends
        self._pause = pause
        self._save = save
        self._log = log
        self._clock = clock
        self._work = asyncio.Event()
        self._alarmed = asyncio.Event()
        self._alarm: str | None = None
        self._alarm_at = 0.0
        self._blind_said = False
        self._figures: dict[str, Any] = {"checked": 0, "blocks": 0, "violations": 0}
        self.paused_after_s: float | None = None
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: lambda _: None,
            Pause: self._pause_now,
            StatusWanted: self._status,
            Drain: lambda _: None,
        }

    @property
    def alarm(self) -> str | None:
        """What was violated first, None: nothing."""
        return self._alarm

    async def take(self, batch: FeedBatch) -> FeedPosition:
        """A consumer of a vault's listener; see `actors.feed`."""
        end = self._ends[batch.chain_id]
        if batch.after != end.position or not batch.messages:
            return end.position
        if len(end.pending) > BRIDGE_CHECKS_MAX:
            raise TransientError("overloaded", "Expected fewer payments that wait for a look")
        for message in batch.messages:
            if isinstance(message, Block):
                now = self._clock()
                end.pending.extend(
                    (event, now) for event in message.events if isinstance(event, Payment)
                )
                end.buried = end.position if end.position.number >= 0 else None
                end.position = FeedPosition(message.header.number, message.header.hash)
                self._figures["blocks"] += 1
                end.recent.append(end.position)
            elif isinstance(message, Reorg):
                # What was seen of a block that is gone is looked at all the same.
                end.position = FeedPosition(message.ancestor_number, message.ancestor_hash)
                end.buried = None
                while end.recent and end.recent[-1].number > end.position.number:
                    end.recent.pop()
            elif isinstance(message, Finalised):
                while end.recent and end.recent[0].number <= message.number:
                    end.final = end.recent.popleft()
        if batch.head == end.position.number and end.buried is not None:
            end.books_at = end.buried
        self._work.set()
        return end.position

    async def run(self) -> None:
        """Check until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_pausing())
            tasks.create_task(self._keep_checking())

    async def step(self) -> None:
        """Look at everything that waits, once."""
        done = await asyncio.gather(
            *(self._look(end) for end in self._ends.values()), return_exceptions=True
        )
        for error in done:
            if error is not None:
                raise error

    # -------------------------------------------------------------------- private

    async def _keep_checking(self) -> None:
        while True:
            self._work.clear()
            try:
                await self.step()
                self._blind_said = False
            except RiseCurveError as error:
                if not self._blind_said:
                    self._log.warning("bridge_checker_blind", error=str(error))
                self._blind_said = True
            waits = any(end.pending or end.books_at for end in self._ends.values())
            try:
                async with asyncio.timeout(RETRY_S if waits else None):
                    await self._work.wait()
            except TimeoutError:
                continue

    async def _look(self, end: CheckedEnd) -> None:
        # Payments first: what is unmatched is paused at once, whatever the books say.
        await self._payments(end)
        await self._books(end)

    async def _payments(self, end: CheckedEnd) -> None:
        for _ in range(len(end.pending)):
            payment, seen_at = end.pending[0]
            try:
                fault = await self._fault_of(end, payment)
            except RiseCurveError:
                # Since the first look: a long queue of them is no blindness.
                if end.blind_since is None:
                    end.blind_since = self._clock()
                if self._clock() - end.blind_since < BLIND_S:
                    raise
                fault = f"The other end of {payment.id.hex()} could not be read for {BLIND_S} s"
            end.blind_since = None
            end.pending.popleft()
            self._figures["checked"] += 1
            if fault:
                self._raise(fault, seen_at)
        # Not past an alarm before both vaults are paused: who starts again must find it again.
        answered = self._alarm is None or self.paused_after_s is not None
        if not end.pending and end.final is not None and answered:
            self._save(end.chain_id, end.final)

    async def _fault_of(self, end: CheckedEnd, payment: Payment) -> str:
        other = self._ends[end.other]
        wrong = self._unmatched_release if isinstance(payment, Released) else self._unmatched_refund
        fault = await wrong(end, other, payment)
        if fault and not other.fresh():
            raise TransientError("stale_chain", f"Expected a fresh node of chain {other.chain_id}")
        return fault

    async def _unmatched_release(
        self, end: CheckedEnd, source: CheckedEnd, released: Payment
    ) -> str:
        assert isinstance(released, Released)
        record = await source.vault.deposit(released.id)
        if record.amount == 0:
            return f"Released {released.id.hex()}, which nobody deposited"
        message = await source.deposits.message(released.id)
        if message is None:
            return f"Released {released.id.hex()}, which the source's logs do not have"
        ends = (message.source_chain, message.target_chain, message.target_vault)
        right = (
            ends == (source.chain_id, end.chain_id, end.vault.address)
            and (message.recipient, message.amount) == (released.recipient, released.amount)
            and (record.depositor, record.amount) == (message.depositor, message.amount)
            and released.fee == message.fee
        )
        return "" if right else f"Expected {message}, was {released}"

    async def _unmatched_refund(self, end: CheckedEnd, target: CheckedEnd, payment: Payment) -> str:
        del end
        fate = await target.vault.fate(payment.id)
        if fate is Fate.CANCELLED:
            return ""
        return f"Refunded {payment.id.hex()}, whose fate is {fate.name}"

    async def _books(self, end: CheckedEnd) -> None:
        at, end.books_at = end.books_at, None
        if at is None:
            return
        other = self._ends[end.other]
        try:
            books = await _books_of(end, at.number)
            between = fault_between(books.released, await other.vault.totals())
            if await end.hash_of(at.number) != at.hash or (between and not other.fresh()):
                raise TransientError("stale_chain", f"Expected block {at.number} to stay")
        except RiseCurveError:
            end.books_at = end.books_at or at
            raise
        fault = fault_of(books)
        for one in filter(None, (fault, between)):
            self._raise(f"chain {end.chain_id}: {one}", self._clock())

    def _raise(self, fault: str, seen_at: float) -> None:
        self._figures["violations"] += 1
        self._log.error("bridge_violated", fault=fault)
        if self._alarm is None:
            self._alarm, self._alarm_at = fault, seen_at
        self._alarmed.set()

    # -------------------------------------------------------------------- pausing

    async def _keep_pausing(self) -> None:
        while True:
            await self._alarmed.wait()
            done = await asyncio.gather(*(self._paused(end) for end in self._ends.values()))
            if all(done) and self.paused_after_s is None:
                self.paused_after_s = round(self._clock() - self._alarm_at, 3)
                self._log.error("bridge_paused", after_s=self.paused_after_s)
            await asyncio.sleep(PAUSE_RETRY_S)

    async def _pause_now(self, _: Pause) -> dict[int, bool]:
        # An operator's: done once, so that the owner may unpause without ending this process.
        self._log.error("bridge_pause_asked")
        done = await asyncio.gather(*(self._paused(end) for end in self._ends.values()))
        return dict(zip(self._ends, done, strict=True))

    async def _paused(self, end: CheckedEnd) -> bool:
        try:
            if await end.vault.paused():
                return True
            await end.guardian.send(to=end.vault.address, data=self._pause, gas=PAUSE_GAS)
            return await end.vault.paused()
        except RiseCurveError as error:
            self._log.error("bridge_cannot_pause", chain_id=end.chain_id, error=str(error))
            return False

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        return {
            **self._figures,
            "alarm": self._alarm,
            "paused_after_s": self.paused_after_s,
            "waiting": sum(len(end.pending) for end in self._ends.values()),
            "positions": {str(chain): end.position.number for chain, end in self._ends.items()},
        }


async def _books_of(end: CheckedEnd, at: int) -> Books:
    totals = await end.vault.totals(at)
    return Books(
        balance=await end.vault.balance(at),
        liquidity=totals.liquidity,
        deposited=totals.deposited,
        released=totals.released,
        refunded=totals.refunded,
        unclaimed=totals.unclaimed,
        fees=totals.fees,
    )
