"""Admission before work: how much at once, how often, from whom.

Rate limits are exact over all processes through the RateLimits port. When that store is away
the doors go on: each process then counts for itself, and asks the store again a second later.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from engine.errors import CallerError, TransientError
from engine.limits import RATE_KEYS_MAX
from gateway.ports import Log, RateLimits

STORE_TIMEOUT_S = 0.5
STORE_RETRY_S = 1.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class InFlight:
    """Requests under way, bounded: one more is refused, never queued."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts one for the length of the block. Raises TransientError("overloaded")."""
        if self.now >= self._most:
            raise TransientError("overloaded", "Expected fewer requests at once, try again")
        self.now += 1
        try:
            yield
        finally:
            self.now -= 1


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` requests in any `window_s` seconds."""

    name: str
    limit: int
    window_s: int


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


class Limiter:
    """Takes from budgets, in the store or, while that is away, here."""

    def __init__(
        self, rates: RateLimits, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = rates
        self._log = log
        self._clock = clock
        self._local = LocalWindows(clock)
        self._refused: OrderedDict[str, tuple[float, Budget]] = OrderedDict()
        self._down_until = 0.0
        self._down = False

    async def take(self, budget: Budget, who: str) -> Allowance:
        """One request of `who`. Never raises: a store that is away only costs exactness."""
        key = f"{budget.name}:{who}"
        if self.refuses(budget, who):
            # Nothing comes free before it was said to: a flood is turned away here.
            left_s = ceil(self._refused[key][0] - self._clock())
            return Allowance(False, budget.limit, 0, left_s)
        if self._clock() >= self._down_until:
            try:
                allowed, remaining, reset_s = await asyncio.wait_for(
                    self._rates.take(key, budget.limit, budget.window_s), STORE_TIMEOUT_S
                )
                self._up()
                if not allowed:
                    self._remember(key, budget, reset_s)
                return Allowance(allowed, budget.limit, remaining, ceil(reset_s))
            except (TransientError, TimeoutError) as error:
                self._fell(error)
        return self._local.take(key, budget)

    def refuses(self, budget: Budget, who: str) -> bool:
        """Whether the store said lately that nothing is left until a time that is to come."""
        until, known = self._refused.get(f"{budget.name}:{who}", (0.0, budget))
        return known == budget and self._clock() < until

    def _remember(self, key: str, budget: Budget, reset_s: float) -> None:
        self._refused[key] = self._clock() + reset_s, budget
        self._refused.move_to_end(key)
        if len(self._refused) > RATE_KEYS_MAX:
            self._refused.popitem(last=False)

    async def ping(self, budget: Budget) -> None:
        """Returns when the store answers; raises TransientError or TimeoutError."""
        await asyncio.wait_for(
            self._rates.take(f"{budget.name}:ping", budget.limit, budget.window_s), STORE_TIMEOUT_S
        )

    def _fell(self, error: BaseException) -> None:
        self._down_until = self._clock() + STORE_RETRY_S
        if not self._down:
            self._log.warning("rate_limits_local", error=str(error))
        self._down = True

    def _up(self) -> None:
        if self._down:
            self._log.info("rate_limits_exact")
        self._down = False


class LocalWindows:
    """Fixed windows in memory, the least recently used caller forgotten first."""

    def __init__(self, clock: Callable[[], float], most: int = RATE_KEYS_MAX) -> None:
        self._clock = clock
        self._most = most
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str, budget: Budget) -> Allowance:
        """One request of `key`."""
        now = self._clock()
        ends, used = self._windows.pop(key, (0.0, 0))
        if now >= ends:
            ends, used = now + budget.window_s, 0
        allowed = used < budget.limit
        used += allowed
        self._windows[key] = (ends, used)
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)
        return Allowance(allowed, budget.limit, budget.limit - used, ceil(ends - now))


def refuse(allowance: Allowance) -> CallerError:
    """The error of a budget that is used up."""
    return CallerError(
        "rate_limited",
        f"Expected at most {allowance.limit} requests, try again in {allowance.reset_s} s",
        {"retryAfterSeconds": allowance.reset_s},
    )


class ClientAddresses:
    """The client's IP, as far as trusted proxies tell it.

    Without a trusted peer the peer is the client. With one, X-Forwarded-For is read from the
    right: the first address that is not a trusted proxy. What stands left of it is hearsay.
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted: list[Network] = [
            ipaddress.ip_network(proxy, strict=False) for proxy in trusted_proxies
        ]

    def of(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The key of a client: its IPv4 address, or its IPv6 /64, which is one customer."""
        client = _parse(peer or "")
        if client is None:
            return "unknown"
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        while hops and self._trusts(client):
            hop = _parse(hops.pop())
            if hop is None:
                break
            client = hop
        return _key(client)

    def trusts(self, peer: str | None) -> bool:
        """Whether this is one of our proxies, whose headers are believed."""
        found = _parse(peer or "")
        return found is not None and self._trusts(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _key(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
