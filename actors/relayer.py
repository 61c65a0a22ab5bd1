"""The relayer: brings every final deposit to its end, released or refunded.

It is a consumer of both vaults' listeners, and a worker over the requests in Postgres. What it
knows stands there, nothing here is missed when it dies; two at once write the same and send
nothing twice, for a nonce is reserved for a request before anything is sent. A request that is
due, in order:
  1. `engine.bridge.requests` decides from what is recorded;
  2. what only needs writing is written: a step, or the end with its row of the outbox;
  3. a transaction: asked first is the vault whether it may be, then the attestors, then the node
     for its price; the intent is reserved, and `actors.sending` does the rest;
  4. what cannot be done now is tried again, after pauses that grow.
Where a vault's window is full, `engine.bridge.line` says who may take the room that comes.
Nothing is sent before both chains' finalized tags were seen to move, and nothing at all once a
chain contradicts what was final.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from actors.bridge_ports import (
    BridgeHistory,
    BridgeRequests,
    CurrentSigners,
    SendingNode,
    Vault,
    VaultCodec,
)
from actors.following import Following
from actors.ports import Calls, Log
from actors.saying import Saying
from actors.sending import Sending
from engine.bridge import line
from engine.bridge.control import REFUND, RELEASE, Attest, Attested, Declined, Retry
from engine.bridge.finality import FinalityGate
from engine.bridge.line import Eldest
from engine.bridge.messages import Fate, Message
from engine.bridge.requests import PROCESSING, SENDS, Action, Decision, Facts, Request, Step, decide
from engine.control import Directory, Drain, Feed, StatusWanted
from engine.errors import CallerError, ConsistencyError, RiseCurveError
from engine.messages import Block, FeedPosition, Finalised
from engine.settings import BridgeSettings

DUE_MAX = 64
AT_ONCE = 8
ATTEST_TIMEOUT_S = 10.0
GAS_MARGIN = 150_000
"""Above the node's estimate: the vault wants enough left for a recipient that is a contract."""

GAS_MAX = 2_000_000
COUNTS_EVERY_S = 5.0
QUIET_S = 1.0
"""Between two looks at what is due, where nothing was for a while and nothing was heard."""

ELDEST_EVERY_S = 1.0
REFUSALS_MAX = 64
"""Reasons that are counted each by itself."""


@dataclass(slots=True)
class End:
    """One chain, as far as the relayer needs it."""

    chain_id: int
    vault: Vault
    node: SendingNode
    sending: Sending
    following: Following
    gate: FinalityGate
    breaker: Callable[[], str] = lambda: "closed"


class Put(Exception):
    """Not now: tried again later. Says why, and which step that is."""

    def __init__(self, step: Step, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        self.reason = reason


class Relayer:
    """Plain class; `handlers` is its whole behaviour, `run` its work. `moved` is called where steps
    of transfers may have been taken.
    """

    def __init__(
        self,
        *,
        ends: Mapping[int, End],
        history: BridgeHistory,
        requests: BridgeRequests,
        codec: VaultCodec,
        calls: Calls,
        settings: BridgeSettings,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._ends = ends
        self._moved = moved
        self._news = asyncio.Event()
        self._busy_until = clock()
        self._history = history
        self._requests = requests
        self._codec = codec
        self._calls = calls
        self._settings = settings
        self._log = log
        self._clock = clock
        self._attestors: tuple[str, ...] = ()
        self._feeds = {chain_id: asyncio.Lock() for chain_id in ends}
        self._halted: str | None = None
        self._saying = Saying(log, clock=clock)
        self._said_closed = ""
        self._counts: list[tuple[str, str, int, int]] = []
        self._done = dict.fromkeys(Action, 0)
        self._refused: dict[str, int] = {}
        self._turned_at = clock()
        self._eldest: dict[int, Eldest] = {}
        self._eldest_at = float("-inf")
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: self._route,
            Feed: self._feed,
            Retry: self._retry,
            StatusWanted: self._status,
            Drain: self._drain,
        }
        # What each action of a decision does.
        self._does: Mapping[Action, Callable[[Request, Facts, Decision], Awaitable[None]]] = {
            Action.WAIT: self._wait,
            Action.FINISH: self._finish,
            Action.ALARM: self._alarm,
            Action.RELEASE: self._release,
            Action.CANCEL: self._cancel,
            Action.REFUND: self._refund,
        }

    async def run(self) -> None:
        """Follow both chains, work, and push transactions until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for end in self._ends.values():
                tasks.create_task(end.following.run())
                tasks.create_task(end.sending.run(lambda: self._halted is None))
            tasks.create_task(self._keep_working())
            tasks.create_task(self._keep_counting())

    @property
    def closed_because(self) -> str:
        """Why nothing may be sent, empty if it may."""
        if self._halted is not None:
            return self._halted
        now = self._clock()
        return next(filter(None, (end.gate.closed_because(now) for end in self._ends.values())), "")

    @property
    def turn_age_s(self) -> float:
        """Since it last went through what was due without trouble, or began."""
        return self._clock() - self._turned_at

    # -------------------------------------------------------------------- feeding

    def _route(self, directory: Directory) -> None:
        self._attestors = tuple(one.name for one in directory.named("attestor"))
        for end in self._ends.values():
            end.following.route(directory)

    async def _feed(self, message: Feed) -> FeedPosition:
        batch = message.batch
        end = self._ends[batch.chain_id]
        async with self._feeds[batch.chain_id]:
            end.following.heard()
            if self._halted is not None:
                return await self._history.position(batch.chain_id)
            try:
                position = await self._history.feed(batch)
            except ConsistencyError as error:
                # What was final is not, or the vault's history has a hole: no more money moves.
                self._halted = str(error)
                self._log.error("bridge_halted", chain_id=batch.chain_id, reason=self._halted)
                raise
            end.following.heard()
            for one in batch.messages:
                if isinstance(one, Finalised):
                    end.gate = end.gate.noted(one.number, self._clock())
            if any(isinstance(one, Block) and one.events for one in batch.messages):
                self._heard_news()
            return position

    # -------------------------------------------------------------------- working

    async def _keep_working(self) -> None:
        while True:
            self._news.clear()
            try:
                worked = await self.step()
                self._turned_at = self._clock()
                self._saying.over("relayer_trouble")
            except RiseCurveError as error:
                worked = 0
                self._saying.wrong("relayer_trouble", error=str(error))
            if worked:
                self._note_busy()
            if worked < DUE_MAX:
                await self._idle()

    def _heard_news(self) -> None:
        self._note_busy()
        self._news.set()

    def _note_busy(self) -> None:
        self._busy_until = self._clock() + self._settings.look_again_s
        self._moved()

    async def _idle(self) -> None:
        is_busy = self._clock() < self._busy_until
        pause_s = self._settings.idle_s if is_busy else max(self._settings.idle_s, QUIET_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._news.wait()

    async def step(self) -> int:
        """Look at what is due, once; how many that were. Raises TransientError."""
        if self._halted is not None:
            return 0
        due = await self._requests.due(DUE_MAX, least_wei=self._settings.minimum_wei)
        if any(decide(facts).action in SENDS for _, facts in due):
            await self._look_for_eldest()
        room = asyncio.Semaphore(AT_ONCE)

        async def one(request: Request, facts: Facts) -> None:
            async with room:
                await self._one(request, facts)

        await asyncio.gather(*(one(*pair) for pair in due))
        return len(due)

    async def _look_for_eldest(self) -> None:
        if self._clock() - self._eldest_at < ELDEST_EVERY_S:
            return
        self._eldest = {one.chain_id: one for one in await self._requests.eldest()}
        self._eldest_at = self._clock()
        for one in filter(line.keeps_room, self._eldest.values()):
            # Others wait for it: it is looked at as soon as there is room, not after its pause.
            with contextlib.suppress(RiseCurveError):
                if await self._ends[one.chain_id].vault.window_left() >= one.amount:
                    await self._requests.retry(one.key)

    async def _one(self, request: Request, facts: Facts) -> None:
        decision = decide(facts)
        try:
            if decision.action in SENDS:
                self._must_be_open(decision.step)
            await self._does[decision.action](request, facts, decision)
        except Put as later:
            await self._later(request, decision, later.step, reason=later.reason)
        except CallerError as error:
            # The vault or the node refuses it as it stands: perhaps not for ever.
            reason = self._codec.error_name(error) or error.message
            await self._later(request, decision, decision.step, reason=reason)
        except RiseCurveError as error:
            await self._later(request, decision, decision.step, reason=str(error))

    async def _later(
        self, request: Request, decision: Decision, step: Step, *, reason: str
    ) -> None:
        self._count_refusal(reason[:60])
        pause_s = min(
            self._settings.retry_s_min * 2 ** min(request.attempts, 30), self._settings.retry_s_max
        )
        state = replace(decision, step=step, reason=reason[:200])
        await self._requests.advance(request, state, attempts=request.attempts + 1, pause_s=pause_s)

    def _must_be_open(self, step: Step) -> None:
        closed = self.closed_because
        if closed != self._said_closed:
            self._said_closed = closed
            if closed:
                self._log.warning("bridge_closed", reason=closed)
            else:
                self._log.info("bridge_open")
        if closed:
            raise Put(step, closed)

    async def _wait(self, request: Request, facts: Facts, decision: Decision) -> None:
        del facts
        # Attempts are kept: they are forgotten when something new is heard.
        await self._requests.advance(
            request, decision, attempts=request.attempts, pause_s=self._settings.look_again_s
        )

    async def _finish(self, request: Request, facts: Facts, decision: Decision) -> None:
        del facts
        if await self._requests.end(request, decision):
            self._done[Action.FINISH] += 1
            self._log.info("transfer_ended", request=request.key[2].hex(), step=decision.step.value)

    async def _alarm(self, request: Request, facts: Facts, decision: Decision) -> None:
        told = {
            "request": request.key[2].hex(),
            "facts": repr(replace(facts, age_s=0, target_time=0)),
        }
        self._saying.wrong("bridge_contradiction", request.key, as_error=True, **told)
        self._done[Action.ALARM] += 1
        await self._wait(request, facts, decision)

    # -------------------------------------------------------------------- sending

    async def _release(self, request: Request, facts: Facts, decision: Decision) -> None:
        message = _message(facts)
        target = self._ends[message.target_chain]
        fate = await target.vault.fate(message.id)
        if fate in (Fate.RELEASED, Fate.CANCELLED):
            raise Put(decision.step, "its fate is decided, the event is awaited")
        if fate is Fate.QUEUED:
            await self._must_fit(target, message.amount, Step.QUEUED)
        self._must_be_its_turn(request, facts, target, step=Step.QUEUED)
        assert facts.deposit is not None
        signers = await target.vault.signers()
        signatures = await self._signed(
            Attest(RELEASE, message, facts.deposit.block_number),
            self._codec.release_digest(message, signers.set_hash),
            signers,
        )
        data = self._codec.release(message, signatures)
        await self._send(request, target, decision.action, data=data, amount=message.amount)

    async def _cancel(self, request: Request, facts: Facts, decision: Decision) -> None:
        message = _message(facts)
        target = self._ends[message.target_chain]
        if await target.vault.fate(message.id) is not Fate.NONE:
            raise Put(decision.step, "it has a fate, the event is awaited")
        data = self._codec.cancel(message)
        await self._send(request, target, decision.action, data=data, amount=message.amount)

    async def _refund(self, request: Request, facts: Facts, decision: Decision) -> None:
        message = _message(facts)
        source = self._ends[message.source_chain]
        if (await source.vault.deposit(message.id)).refunded:
            raise Put(decision.step, "it is refunded, the event is awaited")
        assert facts.cancelled is not None
        await self._must_fit(source, message.amount, decision.step)
        self._must_be_its_turn(request, facts, source, step=decision.step)
        signers = await source.vault.signers()
        signatures = await self._signed(
            Attest(REFUND, message, facts.cancelled.block_number),
            self._codec.refund_digest(message, signers.set_hash),
            signers,
        )
        data = self._codec.refund(message.id, signatures)
        await self._send(request, source, decision.action, data=data, amount=message.amount)

    async def _must_fit(self, end: End, amount: int, step: Step) -> None:
        (left, limit), totals = await asyncio.gather(end.vault.window(), end.vault.totals())
        refusal = line.refusal(amount, left=left, limit=limit, pool=totals.pool)
        if refusal:
            raise Put(step, refusal)

    def _must_be_its_turn(self, request: Request, facts: Facts, end: End, *, step: Step) -> None:
        if line.must_wait(request.key, facts, self._eldest.get(end.chain_id)):
            raise Put(step, line.HELD)

    async def _signed(self, asked: Attest, digest: bytes, signers: CurrentSigners) -> list[bytes]:
        asking = [asyncio.create_task(self._attestation(name, asked)) for name in self._attestors]
        good: dict[bytes, bytes] = {}
        why = ""
        try:
            # As they come: one that does not answer holds up nobody once enough have signed.
            for next_one in asyncio.as_completed(asking):
                answer = await next_one
                if isinstance(answer, Declined):
                    self._count_refusal(answer.code)
                    why = why or answer.code
                    continue
                signer = self._codec.signer_of(digest, answer.signature)
                if signer is not None and signer in signers.addresses:
                    good[signer] = answer.signature
                if len(good) >= signers.threshold:
                    break
        finally:
            for task in asking:
                task.cancel()
        found = self._codec.sorted_signatures(list(good.items()), signers.threshold)
        if len(found) < signers.threshold:
            why = why or "no answer"
            text = f"{len(found)} of {signers.threshold} signatures: {why}"
            raise Put(Step.ATTESTING if asked.kind == RELEASE else Step.REFUNDING, text)
        return found

    async def _attestation(self, name: str, asked: Attest) -> Attested | Declined:
        try:
            answer = await self._calls.ask(name, asked, timeout_s=ATTEST_TIMEOUT_S)
        except RiseCurveError as error:
            return Declined("no_answer", str(error))
        assert isinstance(answer, Attested | Declined)
        return answer

    async def _send(
        self, request: Request, end: End, action: Action, *, data: bytes, amount: int
    ) -> None:
        gas = await end.node.gas_of(to=end.vault.address, data=data, sender=end.sending.address)
        limit = min(gas + gas // 4 + GAS_MARGIN, GAS_MAX)
        self._must_be_open(_UNDER_WAY[action])
        reserved = await end.sending.reserve(
            request.key,
            action.value,
            to=end.vault.address,
            data=data,
            gas=limit,
            small=amount < self._settings.minimum_wei,
        )
        if not reserved:
            raise Put(_UNDER_WAY[action], "other transactions wait before it")
        self._done[action] += 1
        under_way = Decision(PROCESSING, _UNDER_WAY[action])
        await self._requests.advance(
            request, under_way, attempts=request.attempts + 1, pause_s=self._settings.look_again_s
        )

    # ---------------------------------------------------------------------- state

    def _count_refusal(self, reason: str) -> None:
        # What nodes say may name a block or a sum, and so be new each time.
        if reason not in self._refused and len(self._refused) >= REFUSALS_MAX:
            reason = "others"
        self._refused[reason] = self._refused.get(reason, 0) + 1

    async def _retry(self, message: Retry) -> None:
        await self._requests.retry(message.request)
        self._heard_news()

    async def _keep_counting(self) -> None:
        while True:
            try:
                self._counts = await self._requests.counts()
            except RiseCurveError as error:
                self._log.debug("bridge_not_counted", error=str(error))
            await asyncio.sleep(COUNTS_EVERY_S)

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        now = self._clock()
        return {
            "halted": self._halted,
            "closed": self.closed_because,
            "attestors": len(self._attestors),
            "done": {action.value: count for action, count in self._done.items()},
            "refused": dict(self._refused),
            "requests": {f"{status}/{step}": count for status, step, count, _ in self._counts},
            "oldest_s": max((age for *_, age in self._counts), default=0),
            "chains": {
                str(chain_id): {
                    "breaker": end.breaker(),
                    "finalised": end.gate.number,
                    "finality": end.gate.closed_because(now) or "moves",
                    "payer": "0x" + end.sending.address.hex(),
                    "room_kept_for": self._room_kept_for(chain_id),
                    **end.sending.status(),
                }
                for chain_id, end in self._ends.items()
            },
        }

    def _room_kept_for(self, chain_id: int) -> str | None:
        eldest = self._eldest.get(chain_id)
        return eldest.key[2].hex() if eldest is not None and line.keeps_room(eldest) else None

    async def _drain(self, _: Drain) -> None:
        await asyncio.gather(*(end.following.stop() for end in self._ends.values()))


_UNDER_WAY = {
    Action.RELEASE: Step.RELEASING,
    Action.CANCEL: Step.CANCELLING,
    Action.REFUND: Step.REFUNDING,
}


def _message(facts: Facts) -> Message:
    assert facts.message is not None, "Expected a deposit"
    return facts.message
