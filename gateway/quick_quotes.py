"""Quotes of Socket.IO past the library: taken off the WebSocket before it, answered behind it.

The library runs four tasks a message; here there is none. The rules are those of `Realtime`,
word by word, and so are the counters: whichever way a quote goes, it is one call of its socket,
one request under way, one of its budget.

The cases of a frame, in the order of the code:
  1. it is not the one shape, or something is wrong with it: not ours, the library sees it;
  2. the socket sends too fast: refused with the time to wait, and cut if it never waits;
  3. too much is under way, of the socket or of the door: `overloaded`;
  4. of its budget nothing is at hand: it waits for the store, behind those before it;
  5. the market is asked, with all that came in this turn of the loop.
Answers go out as they come back, behind what was sent before.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

from engine.errors import TransientError
from engine.messages import QuoteReply, QuoteRequest, Refusal
from gateway import quote_frames
from gateway.admission import Budget, refuse
from gateway.context import Context
from gateway.errors import public, raise_refusal, timestamp
from gateway.intake import too_fast
from gateway.socket_client import Client
from gateway.sockets import cut
from gateway.turns import Turns

DOOR = "socketio"


@dataclass(slots=True, eq=False)
class _Asked:
    """A quote under way: who is answered, by which id, and what is asked."""

    client: Client
    id: str
    request: QuoteRequest


class QuickQuotes:
    """`refused` makes the envelope of an error and logs a bug; `budget` is `Realtime`'s own."""

    def __init__(
        self,
        context: Context,
        budget: Budget,
        refused: Callable[[str, Exception], dict[str, Any]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._clock = clock
        self._budget = budget
        self._refused = refused
        self._patience_s = context.settings.quote_timeout_s + 1.0
        # By whose budget; never more in all than may be under way.
        self._waiting: dict[str, deque[_Asked]] = {}
        # Asked of the markets, and until when, in the order of that.
        self._open: dict[_Asked, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()

    async def stop(self) -> None:
        """Nothing waits for its budget any more. No socket takes quotes by now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in self._waiting.values():
            for asked in queue:
                self._end(asked)
        self._waiting.clear()
        for asked in self._turns.drop():
            self._end(asked)

    def look(self) -> None:
        """End what the markets have left unanswered; they have deadlines of their own."""
        now = self._clock()
        late = list(takewhile(lambda one: self._open[one] <= now, self._open))
        for asked in late:
            self._landed(asked, Refusal("shard_unavailable", "Expected a quote in time"))

    def take(self, client: Client, frame: str) -> bool:
        """Whether the frame was a quote of ours; then it is answered, here or later."""
        read = quote_frames.read(frame)
        if read is None:
            return False
        asked = _Asked(client, *read)
        intake = client.socket.intake
        # As the library counts: without the engine's own digit.
        wait_s = None if intake.is_spent else intake.took(len(frame) - 1)
        if intake.is_spent:
            cut(client.socket)
        elif wait_s is not None:
            self._refuse(asked, too_fast(wait_s))
        else:
            self._begin(asked)
        return True

    def _begin(self, asked: _Asked) -> None:
        client = asked.client
        try:
            client.begin()
        except TransientError as error:
            self._refuse(asked, error)
            return
        try:
            self._context.in_flight.begin()
        except TransientError as error:
            client.end()
            self._refuse(asked, error)
            return
        who = client.who
        if who not in self._waiting and self._context.limiter.spend(self._budget, who):
            self._turns.take(self._ask, asked)
        else:
            self._wait(who, asked)

    def _wait(self, who: str, asked: _Asked) -> None:
        queue = self._waiting.get(who)
        if queue is None:
            queue = self._waiting[who] = deque()
            task = asyncio.create_task(self._admit(who, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append(asked)

    async def _admit(self, who: str, queue: deque[_Asked]) -> None:
        while queue:
            try:
                await self._spend(who)
            except Exception as error:
                asked = queue.popleft()
                self._end(asked)
                self._refuse(asked, error)
            else:
                self._ask(queue.popleft())
        del self._waiting[who]

    async def _spend(self, who: str) -> None:
        limiter = self._context.limiter
        if not limiter.spend(self._budget, who):
            allowance = await limiter.take(self._budget, who, leased=True)
            if not allowance.allowed:
                raise refuse(allowance)

    def _ask(self, asked: _Asked) -> None:
        self._open[asked] = self._clock() + self._patience_s
        self._context.markets.begin(asked.request, partial(self._landed, asked))

    def _landed(self, asked: _Asked, reply: QuoteReply | Refusal) -> None:
        if self._open.pop(asked, None) is None:
            return  # Too late.
        self._end(asked)
        try:
            if isinstance(reply, Refusal):
                raise_refusal(reply)
            text = quote_frames.answer(asked.id, reply, timestamp())
        except Exception as error:
            known = public(error)
            self._context.metrics.quote(DOOR, known.code if known else "internal_error")
            self._refuse(asked, error)
        else:
            self._context.metrics.quote(DOOR, "ok")
            asked.client.acknowledge(text)

    def _refuse(self, asked: _Asked, error: Exception) -> None:
        body = self._refused("quote", error)
        asked.client.acknowledge(quote_frames.acknowledgement(asked.id, body))

    def _end(self, asked: _Asked) -> None:
        asked.client.end()
        self._context.in_flight.end()
