"""The doors' markets with a read replica before them: no hop for a quote that it may answer.

What the replica may not answer goes to the shards as before, and each answer of theirs raises
what the replica may say. Markets enter by use: after a shard has answered, its bucket is
listened to and the shard is asked once for the whole market.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from actors.markets import CALL_TIMEOUT_S, Done, Markets
from actors.ports import Calls, Log, StatesIn
from engine.buckets import bucket_of
from engine.control import Directory, Entries, EntriesWanted
from engine.errors import RiseCurveError
from engine.lead import Lead
from engine.limits import REPLICA_ASKED_MAX, REPLICA_ASKS_MAX
from engine.messages import MarketView, QuoteReply, QuoteRequest, Refusal
from engine.replica import ASK_FOR, WHYS, Replica
from engine.states import Beat, BucketStates, Cut, Deaf, Heard, Listening

RESTART_PAUSE_S = 1.0
BUG = "bug"

LOOK_S = 0.05
"""How often new markets are asked for."""

AGES_MS = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200)
"""Edges of the histogram of ages; the lease ends at the last one."""

_EDGE = 1e-6  # an age at an edge is not above it


class Tally:
    """What was answered here, what was passed on and why, and how old the answers were."""

    edges_ms = AGES_MS

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter(dict.fromkeys((*WHYS, BUG), 0))
        self.age_s_sum = 0.0
        self._by_ms = [0] * (AGES_MS[-1] + 1)

    def serve(self, age_s: float) -> None:
        """One answer of what was known to be so `age_s` ago."""
        self._by_ms[min(int(age_s * 1e3 - _EDGE), AGES_MS[-1])] += 1
        self.age_s_sum += age_s

    @property
    def served(self) -> int:
        """Answers in all."""
        return sum(self._by_ms)

    @property
    def ages(self) -> list[int]:
        """Answers up to each edge and above the one before it; those above the last at the end."""
        starts = (0, *AGES_MS)
        found = [sum(self._by_ms[low:high]) for low, high in pairwise(starts)]
        return [*found, self._by_ms[-1]]

    def age_ms(self, share: float) -> int:
        """This share of the answers, and one at least, was not older; 0 where there is none."""
        left = max(share * self.served, 1)
        for ms, count in enumerate(self._by_ms, 1):
            left -= count
            if left <= 0:
                return ms
        return 0


class ReplicatedMarkets:
    """`Markets`, first from memory. `begin` may call `done` before it returns."""

    def __init__(
        self,
        markets: Markets,
        states: StatesIn,
        calls: Calls,
        *,
        log: Log,
        block_time_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._markets = markets
        self._states = states
        self._calls = calls
        self._log = log
        self._clock = clock
        self._wall_ns = wall_ns
        self._lead = Lead()
        self._replica = Replica(block_time_s=block_time_s)
        self._listened: set[int] = set()
        self._asks: set[asyncio.Task[None]] = set()
        self._in_use = asyncio.Event()
        self.tally = Tally()

    async def run(self) -> None:
        """Hear and ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_hearing())
            tasks.create_task(self._run_asking())

    def route(self, directory: Directory) -> None:
        """Take a newer directory."""
        self._markets.route(directory)
        for owner in directory.owners:
            self._replica.owned(owner.bucket, owner.incarnation)

    @property
    def directory(self) -> Directory:
        """The newest one seen."""
        return self._markets.directory

    async def quote(self, request: QuoteRequest) -> QuoteReply | Refusal:
        """One quote within the deadline."""
        answer = self._answer(request)
        if not isinstance(answer, str):
            return answer
        reply = await self._markets.quote(request)
        self._learn(request.token, answer, reply)
        return reply

    def begin(self, request: QuoteRequest, done: Done) -> None:
        """As `quote`: `done` is called once, at once or in a later turn. It must not raise."""
        answer = self._answer(request)
        if isinstance(answer, str):
            self._markets.begin(request, partial(self._passed, request.token, answer, done=done))
        else:
            done(answer)

    async def quotes(self, requests: Sequence[QuoteRequest]) -> list[QuoteReply | Refusal]:
        """Many at once, in order."""
        return list(await asyncio.gather(*(self.quote(request) for request in requests)))

    async def views(self, tokens: Sequence[bytes]) -> list[MarketView | Refusal]:
        """Markets by address, of their shards."""
        found = await self._markets.views(tokens)
        for token, view in zip(tokens, found, strict=True):
            if isinstance(view, MarketView):
                self._replica.saw(token, view.as_of.version)
        return found

    async def status(self) -> dict[str, Any]:
        """Each instance's counters by slot."""
        return await self._markets.status()

    def saw(self, token: bytes, version: tuple[int, int]) -> None:
        """A tick names this version: no lower one is answered from here any more."""
        self._replica.saw(token, version)

    def mined(self, token: bytes, block_number: int) -> None:
        """A receipt names this block: what is answered from here has it sealed."""
        self._replica.mined(token, block_number)

    def counters(self) -> dict[str, int]:
        """Flat, for status and metrics. Ages are rounded up to a millisecond."""
        tally = self.tally
        return self._markets.counters() | {
            "replica_served": tally.served,
            **{f"replica_passed_{why}": count for why, count in tally.passed.items()},
            "replica_markets": self._replica.markets,
            "replica_buckets": len(self._listened),
            "replica_age_ms_p50": tally.age_ms(0.5),
            "replica_age_ms_p99": tally.age_ms(0.99),
            "replica_age_ms_max": tally.age_ms(1.0),
        }

    # ------------------------------------------------------------------------- private

    def _answer(self, request: QuoteRequest) -> QuoteReply | Refusal | str:
        try:
            answer = self._replica.answer(request, self._clock())
        except Exception as error:
            # A bug here is no reason to answer nobody: the shard may have none.
            self._log.error("replica_bug", exc_info=error)
            answer = BUG
        if isinstance(answer, str):
            self.tally.passed[answer] += 1
        else:
            self.tally.serve(self._replica.age_s)
        return answer

    def _passed(self, token: bytes, why: str, reply: QuoteReply | Refusal, *, done: Done) -> None:
        self._learn(token, why, reply)
        done(reply)

    def _learn(self, token: bytes, why: str, reply: QuoteReply | Refusal) -> None:
        if isinstance(reply, QuoteReply):
            self._replica.saw(token, reply.as_of.version)
            if why in ASK_FOR:
                self._replica.use(token)
                self._in_use.set()
        elif reply.incarnation:
            self._replica.owned(bucket_of(token), reply.incarnation)

    async def _run_hearing(self) -> None:
        while True:
            try:
                async for heard in self._states.listen(lambda: self._replica.used):
                    self._hear(heard)
            except Exception as error:
                self._log.error("replica_bug", exc_info=error)
            self._hear(Cut())
            await asyncio.sleep(RESTART_PAUSE_S)

    def _hear(self, heard: Heard) -> None:
        if isinstance(heard, BucketStates):
            self._replica.states(heard, self._made_at(heard.made_ns))
        elif isinstance(heard, Beat):
            self._replica.beat(heard, self._made_at(heard.made_ns))
        elif isinstance(heard, Listening):
            self._listened.add(heard.bucket)
            self._replica.listening(heard.bucket)
        elif isinstance(heard, Deaf):
            self._listened.discard(heard.bucket)
        else:
            self._listened.clear()
            self._replica.cut()

    def _made_at(self, made_ns: int) -> float:
        # By our clock, at most as much too late as the quickest message took. Where the other's
        # wall clock is behind ours: too early, so that the shard is asked.
        now, age_s = self._clock(), (self._wall_ns() - made_ns) / 1e9
        return now - max(age_s + self._lead.noted(-age_s, now), 0.0)

    async def _run_asking(self) -> None:
        while True:
            await self._in_use.wait()
            await asyncio.sleep(LOOK_S)
            if not self._replica.used:
                self._in_use.clear()
            # One that went out of use and came back is listened to all the while.
            for bucket in self._replica.unheard & self._listened:
                self._replica.listening(bucket)
            if len(self._asks) < REPLICA_ASKS_MAX:
                self._ask()

    def _ask(self) -> None:
        by_owner: dict[str, dict[bytes, int]] = {}
        for token, ticket in self._replica.to_ask(self._clock(), REPLICA_ASKED_MAX):
            owner = self._markets.owner(bucket_of(token))
            by_owner.setdefault(owner, {})[token] = ticket
        for owner, tickets in by_owner.items():
            task = asyncio.create_task(self._ask_one(owner, tickets))
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)

    async def _ask_one(self, owner: str, tickets: dict[bytes, int]) -> None:
        if not owner:
            return
        try:
            wanted = EntriesWanted(tuple(tickets))
            answer = await self._calls.ask(owner, wanted, timeout_s=CALL_TIMEOUT_S)
            assert isinstance(answer, Entries)
        except RiseCurveError:
            return  # asked again when the market is asked for again
        except Exception as error:
            self._log.error("replica_bug", shard=owner, exc_info=error)
            return
        for entry in answer.entries:
            self._replica.entry(entry, tickets[entry.state.token])
