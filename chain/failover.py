"""Several nodes of one chain that answer as one: the first that can, in order of preference.

A call goes to the active endpoint. Cases of its outcome:
  1. an answer, be it an RpcError: the endpoint is well;
  2. no answer: counted; after FAILURES_MAX in a row its breaker opens, and others are tried.
     The call itself is repeated there only if all its methods read: a transaction that may
     have been sent is the caller's to look for;
  3. every breaker is open: TransientError, at once, so that nothing waits for dead nodes.
An open breaker lets one probe through after a pause, which doubles up to PAUSE_S_MAX; the
probe asks for the head. An endpoint behind the finalised block is not turned to, and left
when it tells such a head: what it has is older than what was acted on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chain.rpc import JsonRpc, Rpc, RpcError
from engine.errors import TransientError

FAILURES_MAX = 2
"""Failures in a row that open a breaker: one may be an accident."""

PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 5.0
"""Both may have been away: then this is what a recovery waits for at most."""

PREFER_EVERY_S = 5.0
"""How often a better endpoint than the active one is probed."""

PROBE_TIMEOUT_S = 2.0
"""A well node answers this one in milliseconds, and a call waits for it."""

_SENDS = ("eth_sendRawTransaction", "eth_sendRawTransactionSync")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node is. Without `ws_url` it is polled."""

    rpc_url: str
    ws_url: str = ""


class Breaker:
    """closed → open after FAILURES_MAX failures in a row → a probe after a pause → either."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._pause_s = PAUSE_S_MIN
        self._until = 0.0
        self.reason = ""

    @property
    def state(self) -> str:
        """closed | open | half_open, the last when a probe is due."""
        if not self.reason:
            return "closed"
        return "open" if self._clock() < self._until else "half_open"

    def succeeded(self) -> None:
        """An answer came. That closes nothing: it may be of a call made before it opened."""
        if not self.reason:
            self._failures = 0

    def failed(self, reason: str) -> None:
        """No answer came; open if that was one too many."""
        self._failures += 1
        if not self.reason and self._failures >= FAILURES_MAX:
            self.refuse(reason)

    def refuse(self, reason: str) -> None:
        """Open now, for twice as long as the last time."""
        self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX) if self.reason else PAUSE_S_MIN
        self._until = self._clock() + self._pause_s
        self.reason = reason

    def close(self) -> None:
        """A probe went well."""
        self._failures, self._pause_s, self.reason = 0, PAUSE_S_MIN, ""


class _Behind(TransientError):
    pass


class _Node:
    def __init__(self, endpoint: Endpoint, rpc: Rpc, clock: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self.rpc = rpc
        self.breaker = Breaker(clock)
        self.probing = asyncio.Lock()


class FailoverRpc:
    """An `Rpc` over `endpoints`, the preferred first. Calls may run side by side.

    Raises what `JsonRpc` raises; TransientError("stale_chain") too where no endpoint may serve.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        timeout_s: float = 5.0,
        connect: Callable[..., Rpc] = JsonRpc,
        clock: Callable[[], float] = time.monotonic,
        on_switch: Callable[..., None] | None = None,
    ) -> None:
        assert endpoints, "Expected at least one endpoint"
        self._clock = clock
        self._on_switch = on_switch
        self._probe_timeout_s = min(timeout_s, PROBE_TIMEOUT_S)
        self._nodes = [
            _Node(one, connect(one.rpc_url, timeout_s=timeout_s), clock) for one in endpoints
        ]
        self._active = 0
        self._finalised = -1
        self._preferred_at = clock()
        self._preferring: asyncio.Task[None] | None = None
        self._switches = 0

    @property
    def ws_url(self) -> str:
        """The active endpoint's WebSocket, empty if it has none."""
        return self._nodes[self._active].endpoint.ws_url

    def status(self) -> dict[str, Any]:
        """The active endpoint's number, `switches` so far, and each breaker; no URL, for keys
        may stand in one."""
        return {
            "active": self._active,
            "switches": self._switches,
            "finalised": self._finalised,
            "breakers": [node.breaker.state for node in self._nodes],
            "reasons": [node.breaker.reason for node in self._nodes],
        }

    def note_finalised(self, number: int) -> None:
        """The chain is final up to here: an endpoint whose head is lower does not serve."""
        self._finalised = max(self._finalised, number)

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any:
        """See `JsonRpc.call`."""

        async def work(rpc: Rpc) -> Any:
            result = await rpc.call(method, params, timeout_s=timeout_s)
            self._must_be_fresh(method, params, result)
            return result

        return await self._ask(work, repeatable=method not in _SENDS)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """See `JsonRpc.batch`; all of one batch are answered by one endpoint."""
        repeatable = not any(method in _SENDS for method, _ in calls)
        found: list[Any] = await self._ask(lambda rpc: rpc.batch(calls), repeatable=repeatable)
        return found

    async def close(self) -> None:
        """Close all connections."""
        if self._preferring is not None:
            self._preferring.cancel()
            await asyncio.gather(self._preferring, return_exceptions=True)
        for node in self._nodes:
            await node.rpc.close()

    async def _ask(self, work: Callable[[Rpc], Awaitable[Any]], *, repeatable: bool) -> Any:
        if len(self._nodes) == 1:
            return await work(self._nodes[0].rpc)  # Nothing to turn to, so nothing to spare.
        self._prefer()
        error = TransientError("stale_chain", "No endpoint may serve")
        for _ in self._nodes:
            node = await self._usable()
            try:
                result = await work(node.rpc)
            except RpcError:
                node.breaker.succeeded()
                raise
            except _Behind as behind:
                node.breaker.refuse(str(behind))
                error = behind
            except TransientError as trouble:
                node.breaker.failed(str(trouble))
                error = trouble
            else:
                node.breaker.succeeded()
                return result
            if not repeatable or node.breaker.state == "closed":
                break
        raise error

    async def _usable(self) -> _Node:
        # The active one while it is well; else the first, by preference, that a probe passes.
        active = self._nodes[self._active]
        if active.breaker.state == "closed":
            return active
        for index, node in enumerate(self._nodes):
            if await self._probe(index):
                self._switch(index)
                return node
        reasons = "; ".join(f"{at}: {node.breaker.reason}" for at, node in enumerate(self._nodes))
        raise TransientError("stale_chain", f"No endpoint may serve: {reasons}")

    def _prefer(self) -> None:
        # Back to a better endpoint once it is well again; no call waits for finding out.
        due = self._clock() - self._preferred_at >= PREFER_EVERY_S
        idle = self._preferring is None or self._preferring.done()
        if self._active and due and idle:
            self._preferred_at = self._clock()
            self._preferring = asyncio.create_task(self._find_better())

    async def _find_better(self) -> None:
        for index in range(self._active):
            if await self._probe(index):
                self._switch(index)
                return

    async def _probe(self, index: int) -> bool:
        node = self._nodes[index]
        async with node.probing:
            if node.breaker.state == "open":
                return False
            if index == self._active and node.breaker.state == "closed":
                return True  # Another call has just found out.
            try:
                call = node.rpc.call("eth_blockNumber", timeout_s=self._probe_timeout_s)
                self._must_be_fresh("eth_blockNumber", (), await call)
            except (TransientError, RpcError) as error:
                node.breaker.refuse(str(error))
                return False
            node.breaker.close()
            return True

    def _must_be_fresh(self, method: str, params: Sequence[Any], result: Any) -> None:
        try:
            if method == "eth_blockNumber":
                head = int(result, 16)
            elif method == "eth_getBlockByNumber" and params[0] == "latest" and result:
                head = int(result["number"], 16)
            else:
                return
        except (TypeError, ValueError, KeyError) as error:
            raise TransientError("stale_chain", f"Expected a head, was {result!r:.100}") from error
        if head < self._finalised:
            message = f"Expected a head from {self._finalised} on, which is final, was {head}"
            raise _Behind("stale_chain", message)

    def _switch(self, index: int) -> None:
        if index == self._active:
            return
        before, self._active = self._active, index
        self._switches += 1
        self._preferred_at = self._clock()
        if self._on_switch is not None:
            reason = self._nodes[before].breaker.reason
            self._on_switch("rpc_endpoint_switched", endpoint=index, before=before, reason=reason)
