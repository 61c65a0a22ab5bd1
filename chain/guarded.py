"""An `Rpc` behind a circuit breaker: a node that does not answer is asked no more for a while,
so that work that needs it fails at once and work that does not goes on.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from chain.rpc import Rpc, RpcError
from engine.bridge.breaker import Breaker, Rules
from engine.errors import TransientError


class GuardedRpc:
    """Raises what the inner one raises, and TransientError("stale_chain") while it is open."""

    def __init__(
        self,
        inner: Rpc,
        *,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[str], None] | None = None,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._changed = changed
        self._breaker = Breaker(rules or Rules())
        self.opened = 0

    @property
    def state(self) -> str:
        """closed | open | half_open."""
        return self._breaker.state(self._clock())

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any:
        """See `JsonRpc.call`."""
        return await self._through(lambda: self._inner.call(method, params, timeout_s=timeout_s))

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """See `JsonRpc.batch`."""
        found: list[Any] = await self._through(lambda: self._inner.batch(calls))
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._inner.close()

    def note_finalised(self, number: int) -> None:
        """See `Rpc`."""
        self._inner.note_finalised(number)

    async def _through(self, work: Callable[[], Awaitable[Any]]) -> Any:
        may, self._breaker = self._breaker.asked(self._clock())
        if not may:
            raise TransientError("stale_chain", "Expected a node that answers: its breaker is open")
        answered = False
        try:
            result = await work()
            answered = True
        except RpcError:
            answered = True  # a refusal is an answer
            raise
        finally:
            # Cancelled counts as no answer: a probe that is never ended would block for ever.
            self._note(answered)
        return result

    def _note(self, answered: bool) -> None:
        before = self._breaker.state(self._clock())
        self._breaker = (
            self._breaker.succeeded() if answered else self._breaker.failed(self._clock())
        )
        after = self._breaker.state(self._clock())
        if after == before:
            return
        self.opened += after == "open"
        if self._changed is not None:
            self._changed(after)
