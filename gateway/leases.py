"""Budgets that are taken from the store in blocks and spent here.

A block may be spent for `hold_s` from the moment it was asked for, and the store counts it as if
all of it were spent at the end of that time: so no window holds more than the limit, however many
processes spend, and nothing of an old window is spent in the next. A block begins with one and
doubles as long as it is spent in time; what is left of it goes back.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from engine.errors import TransientError
from engine.limits import RATE_KEYS_MAX
from gateway.ports import RateLimits

STORE_TIMEOUT_S = 0.5
BLOCK_MAX = 50
BLOCK_PART = 120
BLOCK_LARGE_MAX = 1_000
"""In one call to the store: of a large budget this part, so that tens of thousands a second are
some dozens of calls."""

HOLD_S = 1.0
HOLD_PART = 10
"""A block is held for this part of a window at most, and has this part of the limit at most."""

REFUSED_S = 0.1
"""So long a refusal is repeated before the store is asked again."""


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` requests in any `window_s` seconds."""

    name: str
    limit: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a budget."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-Limit, -Remaining, -Reset (seconds), and Retry-After when refused."""
        headers = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }
        return headers if self.allowed else headers | {"Retry-After": str(max(self.reset_s, 1))}


@dataclass(slots=True)
class _Lease:
    left: int = 0
    until: float = 0.0
    moment: int = 0
    in_store: int = 0
    reset_at: float = 0.0
    refused_until: float = 0.0
    block: int = 1
    waiting: int = 0
    asking: asyncio.Task[None] | None = None


class Leases:
    """A lease a caller; the least recently used is forgotten first, and what it held is lost."""

    def __init__(
        self, rates: RateLimits, clock: Callable[[], float], *, most: int = RATE_KEYS_MAX
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._most = most
        self._held: OrderedDict[str, _Lease] = OrderedDict()
        self._returning: set[asyncio.Task[None]] = set()

    def spend(self, key: str) -> bool:
        """One request of `key` from what is held. False: nothing is, and nothing was taken."""
        lease = self._held.get(key)
        if lease is None or lease.left <= 0 or self._clock() >= lease.until:
            return False
        self._held.move_to_end(key)
        lease.left -= 1
        return True

    async def take(self, key: str, budget: Budget) -> Allowance:
        """One request of `key`. Raises TransientError, TimeoutError when the store must be asked
        and does not answer.
        """
        lease = self._held.setdefault(key, _Lease())
        self._held.move_to_end(key)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        lease.waiting += 1
        try:
            return await self._take(key, lease, budget)
        finally:
            lease.waiting -= 1

    async def _take(self, key: str, lease: _Lease, budget: Budget) -> Allowance:
        while True:
            now = self._clock()
            reset_s = ceil(max(lease.reset_at - now, 0.0))
            if lease.left > 0 and now < lease.until:
                lease.left -= 1
                return Allowance(True, budget.limit, lease.in_store + lease.left, reset_s)
            if now < lease.refused_until:
                return Allowance(False, budget.limit, 0, reset_s)
            if lease.asking is None:
                lease.asking = asyncio.create_task(self._ask(key, lease, budget))
                lease.asking.add_done_callback(_seen)
            # One who goes away does not take the block from the others.
            await asyncio.shield(lease.asking)

    async def _ask(self, key: str, lease: _Lease, budget: Budget) -> None:
        try:
            self._size(lease, budget)
            self._return(key, lease)
            hold_s = min(HOLD_S, budget.window_s / HOLD_PART)
            asked = self._clock()
            given, lease.in_store, reset_s, lease.moment = await asyncio.wait_for(
                self._rates.lease(
                    key,
                    budget.limit,
                    window_s=budget.window_s,
                    wanted=max(lease.block, min(lease.waiting, BLOCK_MAX)),
                    hold_s=hold_s,
                ),
                STORE_TIMEOUT_S,
            )
            # Counted from the question on, so it ends here before it does there.
            lease.left, lease.until, lease.reset_at = given, asked + hold_s, asked + reset_s
            if given:
                asyncio.get_running_loop().call_later(hold_s, self._end, key, lease)
            else:
                lease.refused_until = self._clock() + min(REFUSED_S, reset_s)
        finally:
            lease.asking = None

    def _size(self, lease: _Lease, budget: Budget) -> None:
        small = min(BLOCK_MAX, budget.limit // HOLD_PART)
        most = max(small, min(budget.limit // BLOCK_PART, BLOCK_LARGE_MAX), 1)
        in_time = lease.left == 0 and self._clock() < lease.until
        lease.block = min(lease.block * 2, most) if in_time else max(lease.block // 2, 1)

    def _end(self, key: str, lease: _Lease) -> None:
        if self._clock() >= lease.until:
            self._return(key, lease)

    def _return(self, key: str, lease: _Lease) -> None:
        count, lease.left = lease.left, 0
        if count > 0:
            task = asyncio.create_task(self._give_back(key, lease.moment, count))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _give_back(self, key: str, moment: int, count: int) -> None:
        # Lost with the store: then they were counted and not spent.
        with contextlib.suppress(TransientError, TimeoutError):
            await asyncio.wait_for(self._rates.give_back(key, moment, count), STORE_TIMEOUT_S)


def _seen(task: "asyncio.Task[None]") -> None:
    # Whoever waited was told; if all of them went away nobody needs to be.
    if not task.cancelled():
        task.exception()
