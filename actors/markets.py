"""The doors' view of all shards: quotes that wait together share calls, a few per shard.

Law: an answer of a lower incarnation than the highest known for its bucket is refused and
asked again of the present owner, within the deadline; then it is `shard_unavailable`.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from actors.ports import Calls, Log
from engine.buckets import bucket_of
from engine.control import Directory, MarketViews, Ping, QuoteReplies, Quotes, StatusWanted, Views
from engine.errors import RiseCurveError
from engine.limits import (
    QUOTE_BATCH_MAX,
    QUOTE_BATCH_SPLIT,
    QUOTE_CALLS_PER_SHARD,
    QUOTES_WAITING_MAX,
)
from engine.messages import BucketOwner, MarketView, QuoteReply, QuoteRequest, Refusal

RETRY_PAUSE_S = 0.05
CALL_TIMEOUT_S = 1.0


Done = Callable[[QuoteReply | Refusal], None]


@dataclass(slots=True, eq=False)
class _Asked:
    """One quote that waits: what it asks, until when, and who is told."""

    request: QuoteRequest
    bucket: int
    deadline: float
    done: Done


@dataclass(slots=True)
class _Lane:
    """What waits for one shard, who sends it there, and how many of these wait for an answer."""

    waiting: deque[_Asked] = field(default_factory=deque)
    calls: set[asyncio.Task[None]] = field(default_factory=set)
    under_way: int = 0

    def next_size(self) -> int:
        # Of a call that starts now: what waits is shared by all that could start with it.
        free = QUOTE_CALLS_PER_SHARD - self.under_way
        share = max(-(-len(self.waiting) // free), QUOTE_BATCH_SPLIT)
        return min(len(self.waiting), share, QUOTE_BATCH_MAX)


class Markets:
    """Typed client of the shards; one a door process."""

    def __init__(
        self,
        calls: Calls,
        log: Log,
        *,
        timeout_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = calls
        self._log = log
        self._timeout_s = timeout_s
        self._clock = clock
        self._directory = Directory(0, (), ())
        self._owners: dict[int, BucketOwner] = {}
        self._lanes: dict[str, _Lane] = {}
        self._met: dict[str, asyncio.Task[None]] = {}
        self._waiting = 0
        self.refused_stale = 0

    def route(self, directory: Directory) -> None:
        """Take a newer directory; an owner of a lower incarnation never replaces a higher."""
        if directory.version <= self._directory.version:
            return
        self._directory = directory
        for owner in directory.owners:
            known = self._owners.get(owner.bucket)
            if known is None or known.incarnation <= owner.incarnation:
                self._owners[owner.bucket] = owner
        names = {one.name for one in directory.instances}
        for name in {one.name for one in directory.named("shard")} - self._met.keys():
            # Before it owns anything: the way there is paved by a word that costs nothing.
            self._met[name] = asyncio.create_task(self._greet(name))
        for name in self._met.keys() - names:
            self._met.pop(name).cancel()
        for name in [n for n, lane in self._lanes.items() if n not in names and not lane.calls]:
            del self._lanes[name]

    def counters(self) -> dict[str, int]:
        """Flat, for status and metrics."""
        return {"refused_stale": self.refused_stale}

    @property
    def directory(self) -> Directory:
        """The newest one seen."""
        return self._directory

    def owner(self, bucket: int) -> str:
        """The instance that owns a bucket, as far as is known; "" for none."""
        owner = self._owners.get(bucket)
        return owner.owner if owner else ""

    async def quote(self, request: QuoteRequest) -> QuoteReply | Refusal:
        """One quote within the deadline, whatever happens to shards meanwhile."""
        future: asyncio.Future[QuoteReply | Refusal] = asyncio.get_running_loop().create_future()
        self.begin(request, partial(_settle, future))
        try:
            return await asyncio.wait_for(future, self._timeout_s)
        except TimeoutError:
            return _unavailable(bucket_of(request.token))

    def begin(self, request: QuoteRequest, done: Done) -> None:
        """As `quote`, without a task for each: `done` is called once, in a later turn of the
        loop, at the latest one call's timeout after the deadline. `done` must not raise.
        """
        asked = _Asked(request, bucket_of(request.token), self._clock() + self._timeout_s, done)
        if self._waiting >= QUOTES_WAITING_MAX:
            owner = self._owners.get(asked.bucket)
            incarnation = owner.incarnation if owner else 0
            text = "Expected fewer quotes at once"
            self._soon(done, Refusal("overloaded", text, asked.bucket, incarnation))
            return
        self._waiting += 1
        self._put(asked)

    async def quotes(self, requests: Sequence[QuoteRequest]) -> list[QuoteReply | Refusal]:
        """Many at once, in order."""
        return list(await asyncio.gather(*(self.quote(request) for request in requests)))

    async def views(self, tokens: Sequence[bytes]) -> list[MarketView | Refusal]:
        """Markets by address, one call per shard, in order."""
        by_owner: dict[str, list[bytes]] = {}
        for token in tokens:
            owner = self._owners.get(bucket_of(token))
            by_owner.setdefault(owner.owner if owner else "", []).append(token)
        pages = await asyncio.gather(*(self._views(n, ts) for n, ts in by_owner.items()))
        found = {token: view for page in pages for token, view in page.items()}
        return [found[token] for token in tokens]

    async def status(self) -> dict[str, Any]:
        """Each instance's counters by slot; a slot that does not answer is None."""
        ones = self._directory.instances

        async def ask(name: str) -> Any:
            try:
                return await self._calls.ask(name, StatusWanted(), timeout_s=CALL_TIMEOUT_S)
            except RiseCurveError:
                return None

        others = [one for one in ones if one.role != "gateway"]
        answers = await asyncio.gather(*(ask(one.name) for one in others))
        return {one.slot: answer for one, answer in zip(others, answers, strict=True)}

    async def _greet(self, name: str) -> None:
        with contextlib.suppress(RiseCurveError):
            await self._calls.ask(name, Ping(), timeout_s=CALL_TIMEOUT_S)

    # ---------------------------------------------------------------------- batching

    def _put(self, asked: _Asked) -> None:
        owner = self._owners.get(asked.bucket)
        if owner is None:
            self._again(asked)
            return
        lane = self._lanes.setdefault(owner.owner, _Lane())
        lane.waiting.append(asked)
        if len(lane.calls) < QUOTE_CALLS_PER_SHARD:
            lane.calls.add(asyncio.create_task(self._drain(owner.owner, lane)))

    def _again(self, asked: _Asked) -> None:
        # Of whoever is the owner then, unless it would be too late.
        if self._clock() + RETRY_PAUSE_S >= asked.deadline:
            self._soon(self._end, asked, _unavailable(asked.bucket))
            return
        asyncio.get_running_loop().call_later(RETRY_PAUSE_S, self._put, asked)

    def _take(self, asked: _Asked, reply: QuoteReply | Refusal) -> None:
        if self._fresh(asked.bucket, reply):
            self._end(asked, reply)
        else:
            self._again(asked)

    def _end(self, asked: _Asked, reply: QuoteReply | Refusal) -> None:
        self._waiting -= 1
        try:
            asked.done(reply)
        except Exception as error:
            self._log.error("quotes_bug", exc_info=error)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        asyncio.get_running_loop().call_soon(call, *arguments)

    async def _drain(self, name: str, lane: _Lane) -> None:
        # Let everything that became ready in this turn of the loop join the batch.
        await asyncio.sleep(0)
        try:
            while lane.waiting:
                await self._drain_once(name, lane)
        finally:
            # In the same turn that saw nothing waiting: who comes next starts a new task.
            task = asyncio.current_task()
            assert task is not None, "Expected to run in a task"
            lane.calls.discard(task)

    async def _drain_once(self, name: str, lane: _Lane) -> None:
        batch = [lane.waiting.popleft() for _ in range(lane.next_size())]
        now = self._clock()
        live = [asked for asked in batch if now < asked.deadline]
        for asked in batch:
            if now >= asked.deadline:
                self._end(asked, _unavailable(asked.bucket))
        if not live:
            return
        lane.under_way += 1
        try:
            replies = await self._call(name, live)
        finally:
            lane.under_way -= 1
        for asked, reply in zip(live, replies, strict=True):
            self._take(asked, reply)

    async def _call(self, name: str, batch: list[_Asked]) -> Sequence[QuoteReply | Refusal]:
        message = Quotes(tuple(asked.request for asked in batch))
        try:
            answer = await self._calls.ask(
                name, message, timeout_s=min(CALL_TIMEOUT_S, self._timeout_s)
            )
            assert isinstance(answer, QuoteReplies)
            assert len(answer.replies) == len(batch)
        except RiseCurveError:
            return [_unavailable(asked.bucket) for asked in batch]
        except Exception as error:
            self._log.error("quotes_bug", shard=name, exc_info=error)
            return [_unavailable(asked.bucket) for asked in batch]
        return answer.replies

    async def _views(self, name: str, tokens: list[bytes]) -> dict[bytes, MarketView | Refusal]:
        missing = {token: _unavailable(bucket_of(token)) for token in tokens}
        if not name:
            return dict(missing)
        try:
            answer = await self._calls.ask(name, Views(tuple(tokens)), timeout_s=CALL_TIMEOUT_S)
        except RiseCurveError:
            return dict(missing)
        assert isinstance(answer, MarketViews)
        return {
            token: view if self._fresh(bucket_of(token), view) else missing[token]
            for token, view in zip(tokens, answer.views, strict=True)
        }

    def _fresh(self, bucket: int, reply: QuoteReply | MarketView | Refusal) -> bool:
        if isinstance(reply, Refusal):
            if reply.code == "shard_unavailable":
                return False
            incarnation = reply.incarnation
        else:
            incarnation = reply.as_of.version[0]
        known = self._owners.get(bucket)
        if known is not None and incarnation < known.incarnation:
            self.refused_stale += 1
            return False
        return True


def _unavailable(bucket: int) -> Refusal:
    return Refusal("shard_unavailable", "Expected an owner of this market, try again", bucket)


def _settle(future: "asyncio.Future[QuoteReply | Refusal]", reply: QuoteReply | Refusal) -> None:
    if not future.done():
        future.set_result(reply)
