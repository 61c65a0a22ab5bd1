"""The bridge's checker: believes neither attestors nor relayer, and pauses both vaults.

It follows both vaults through listeners and nodes of its own. For each payment that a block
at the head holds, in order:
  1. `Released`: the source is read, afterwards: it must know this id, with this amount, this
     recipient and these two chains;
  2. `Refunded`: the target is read, afterwards: it must have cancelled this id;
  3. the source cannot be read, or is behind: asked again; after a while that counts as unknown;
  4. unknown, or another than it says: both vaults are paused, at once, with the guardian's key.
All its endpoints of the other chain are asked side by side. One that says so is enough, however
many know better: who stole keys may run one of them, and a false pause costs time, not money. One
without an answer is not waited for where another has one. One that is behind and does not know it
is asked again, as in 3.
Each block the books are compared too (`engine.bridge.conservation`): of each vault with what
it holds, and of both with each other, at the block below the head: a node may answer a call at
its newest one with the state of the next. A violation pauses as well. Only the owner unpauses.
It has the guardian's key, so it is asked too when an operator ends a queued message
(`actors.cancelling`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.bridge_ports import CheckedVault, Deposits, Guardian
from actors.cancelling import Cancelling
from actors.ports import Log
from actors.saying import Saying
from engine.bridge.conservation import Books, fault_between, fault_of
from engine.bridge.control import CancelQueued, Pause
from engine.bridge.events import Refunded, Released
from engine.bridge.messages import Fate, Message
from engine.control import Directory, Drain, StatusWanted
from engine.errors import RiseCurveError, TransientError
from engine.limits import BRIDGE_CHECKS_MAX, BRIDGE_RECENT_MAX
from engine.messages import Block, FeedBatch, FeedPosition, Finalised, Reorg

BLIND_S = 60.0
"""A payment whose other end could not be read for so long is taken for unmatched."""

WITNESS_S = 10.0
"""An endpoint of several may take so long for all that is asked about a payment. A deposit that is
there is found at once: the search begins with the newest blocks."""

STUCK_S = 10.0
"""An endpoint that is behind and whose head did not move for so long counts as away."""

RETRY_S = 0.5
PAUSE_RETRY_S = 1.0
PAUSE_GAS = 100_000
"""Measured: 31,000."""

PAUSE_TRIES = 3
"""At once, where another transaction of the guardian's was mined meanwhile."""

Payment = Released | Refunded


@dataclass(slots=True)
class Witness:
    """One endpoint of a chain, asked about payments at the other end. `head` was its newest
    block, last seen to move at `moved_at`."""

    vault: CheckedVault
    deposits: Deposits
    head_of: Callable[[], Awaitable[int]]
    head: int = -1
    moved_at: float = 0.0


class _Behind(TransientError):
    pass


@dataclass(slots=True)
class CheckedEnd:
    """One chain, through the checker's own nodes: all as one, and each as a witness where there
    are several. `fresh`: its listener stands on a new block;
    `position` is where it stands in its feed, `buried` the block below. `blind_since`: the first
    of `pending` was asked for then, and has had no answer yet. `recent` are blocks above `final`,
    BRIDGE_RECENT_MAX at most, and `saved` is the `final` that was saved last."""

    chain_id: int
    vault: CheckedVault
    deposits: Deposits
    guardian: Guardian
    hash_of: Callable[[int], Awaitable[bytes]]
    fresh: Callable[[], bool]
    position: FeedPosition
    other: int
    witnesses: Sequence[Witness] = ()
    buried: FeedPosition | None = None
    books_at: FeedPosition | None = None
    pending: deque[tuple[Payment, float]] = field(default_factory=deque)
    blind_since: float | None = None
    recent: deque[FeedPosition] = field(default_factory=deque)
    final: FeedPosition | None = None
    saved: FeedPosition | None = None


class BridgeChecker:
    """Plain class; `take` is fed, `run` its work. `save` keeps final positions, up to
    which every payment was looked at, for a restart."""

    def __init__(
        self,
        *,
        ends: Mapping[int, CheckedEnd],
        pause: bytes,
        cancel: Callable[[Message], bytes],
        save: Callable[[int, FeedPosition], None],
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ends = ends
        self._pause = pause
        self._cancelling = Cancelling(
            ends=ends,
            cancel=cancel,
            must_wait=lambda: self._alarm is not None or self._pauses_asked > 0,
            log=log,
        )
        self._save = save
        self._log = log
        self._saying = Saying(log, clock=clock)
        self._clock = clock
        self._work = asyncio.Event()
        self._alarmed = asyncio.Event()
        self._pauses_asked = 0
        self._alarm: str | None = None
        self._alarm_at = 0.0
        self._figures: dict[str, Any] = {"checked": 0, "blocks": 0, "violations": 0}
        self.paused_after_s: float | None = None
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: lambda _: None,
            Pause: self._pause_now,
            CancelQueued: self._cancelling.queued,
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
                _remember(end.recent, end.position)
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
                self._saying.over("bridge_checker_blind")
            except RiseCurveError as error:
                self._saying.wrong("bridge_checker_blind", error=str(error))
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
                self._raise(fault, seen_at, about=payment.id)
        # Not past an alarm before both vaults are paused: who starts again must find it again.
        answered = self._alarm is None or self.paused_after_s is not None
        if not end.pending and end.final is not None and answered and end.final != end.saved:
            self._save(end.chain_id, end.final)
            end.saved = end.final

    async def _fault_of(self, end: CheckedEnd, payment: Payment) -> str:
        other = self._ends[end.other]
        if not other.witnesses:
            return await self._fault_by(end, other, other, payment=payment)
        asked = [
            asyncio.create_task(self._by_witness(end, other, at, payment=payment))
            for at in range(len(other.witnesses))
        ]
        silent: list[RiseCurveError] = []
        behind: list[RiseCurveError] = []
        try:
            # As they come: who does not answer holds up no pause.
            for next_one in asyncio.as_completed(asked):
                fault = await next_one
                if isinstance(fault, RiseCurveError):
                    (behind if isinstance(fault, _Behind) else silent).append(fault)
                elif fault:
                    return fault
        finally:
            for task in asked:
                task.cancel()
        if behind or len(silent) == len(asked):
            raise [*behind, *silent][0]
        return ""

    async def _by_witness(
        self, end: CheckedEnd, other: CheckedEnd, at: int, *, payment: Payment
    ) -> str | RiseCurveError:
        witness, about = other.witnesses[at], (other.chain_id, at)
        try:
            # One that answers and answers, and never to the end, must not hold up the others.
            async with asyncio.timeout(WITNESS_S):
                fault = await self._fault_by(end, other, witness, payment=payment)
                if fault:
                    await self._must_not_be_behind(other, witness)
        except _Behind as error:
            return error
        except RiseCurveError as error:
            return self._silent(about, error)
        except TimeoutError:
            text = f"Expected an end within {WITNESS_S:g} s"
            return self._silent(about, TransientError("stale_chain", text))
        self._saying.over("bridge_endpoint_silent", about)
        return f"{fault}, by endpoint {at} of chain {other.chain_id}" if fault else ""

    def _silent(self, about: tuple[int, int], error: RiseCurveError) -> RiseCurveError:
        chain_id, at = about
        self._saying.wrong(
            "bridge_endpoint_silent", about, chain_id=chain_id, endpoint=at, error=str(error)
        )
        return error

    async def _must_not_be_behind(self, end: CheckedEnd, witness: Witness) -> None:
        head, now = await witness.head_of(), self._clock()
        if head != witness.head:
            witness.head, witness.moved_at = head, now
        if head >= end.position.number:
            return
        text = f"Expected block {end.position.number} of chain {end.chain_id}, was at {head}"
        if now - witness.moved_at > STUCK_S:
            raise TransientError("stale_chain", text)
        raise _Behind("stale_chain", text)

    async def _fault_by(
        self, end: CheckedEnd, other: CheckedEnd, by: CheckedEnd | Witness, *, payment: Payment
    ) -> str:
        if isinstance(payment, Released):
            fault = await self._unmatched_release(end, other, by, released=payment)
        else:
            fault = await self._unmatched_refund(by, payment)
        if fault and not other.fresh():
            raise _Behind("stale_chain", f"Expected a fresh node of chain {other.chain_id}")
        return fault

    async def _unmatched_release(
        self, end: CheckedEnd, source: CheckedEnd, by: CheckedEnd | Witness, *, released: Released
    ) -> str:
        record = await by.vault.deposit(released.id)
        if record.amount == 0:
            return f"Released {released.id.hex()}, which nobody deposited"
        message = await by.deposits.message(released.id)
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

    async def _unmatched_refund(self, by: CheckedEnd | Witness, payment: Payment) -> str:
        fate = await by.vault.fate(payment.id)
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
        for kind, fault in (("own", fault_of(books)), ("between", between)):
            if fault:
                # At each block from now on, which is said now and then.
                about = (end.chain_id, kind)
                self._raise(f"chain {end.chain_id}: {fault}", self._clock(), about=about)

    def _raise(self, fault: str, seen_at: float, *, about: Hashable) -> None:
        self._figures["violations"] += 1
        self._saying.wrong("bridge_violated", about, as_error=True, fault=fault)
        if self._alarm is None:
            self._alarm, self._alarm_at = fault, seen_at
        self._alarmed.set()
        self._cancelling.give_up()

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
        self._pauses_asked += 1
        self._cancelling.give_up()
        try:
            done = await asyncio.gather(*(self._paused(end) for end in self._ends.values()))
        finally:
            self._pauses_asked -= 1
        return dict(zip(self._ends, done, strict=True))

    async def _paused(self, end: CheckedEnd) -> bool:
        try:
            if await end.vault.paused():
                return True
            await self._pause_sent(end)
            self._saying.over("bridge_cannot_pause", end.chain_id)
            return await end.vault.paused()
        except RiseCurveError as error:
            self._saying.wrong(
                "bridge_cannot_pause",
                end.chain_id,
                as_error=True,
                chain_id=end.chain_id,
                error=str(error),
            )
            return False

    async def _pause_sent(self, end: CheckedEnd) -> None:
        for left in reversed(range(PAUSE_TRIES)):
            try:
                await end.guardian.send(to=end.vault.address, data=self._pause, gas=PAUSE_GAS)
                return
            except TransientError as error:
                # What was given up for it was mined after all: the next nonce is free.
                if error.code != "nonce_used" or not left:
                    raise

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        return {
            **self._figures,
            "alarm": self._alarm,
            "paused_after_s": self.paused_after_s,
            "waiting": sum(len(end.pending) for end in self._ends.values()),
            "positions": {str(chain): end.position.number for chain, end in self._ends.items()},
        }


def _remember(recent: deque[FeedPosition], position: FeedPosition) -> None:
    # Finality may stand still for days: of what lies far back one here and there will do, so that
    # not much is looked at twice after a restart.
    if len(recent) >= BRIDGE_RECENT_MAX:
        apart = 2 * (recent[-1].number - recent[0].number) // BRIDGE_RECENT_MAX + 1
        kept: list[FeedPosition] = []
        for one in recent:
            if not kept or one.number - kept[-1].number >= apart:
                kept.append(one)
        recent.clear()
        recent.extend(kept)
    recent.append(position)


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
