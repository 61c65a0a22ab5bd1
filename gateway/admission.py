"""Admission before work: how much at once, how often, from whom.

Rate limits are exact over all processes through the RateLimits port. When that store is away
the doors go on: each process then gives out its share of the limit, and asks the store again a
second later.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

from engine.errors import CallerError, TransientError
from engine.limits import RATE_KEYS_MAX
from gateway.leases import STORE_TIMEOUT_S, Allowance, Budget, Leases
from gateway.ports import Log, RateLimits

__all__ = [
    "Allowance",
    "Budget",
    "ClientAddresses",
    "InFlight",
    "Limiter",
    "LocalWindows",
    "Networks",
    "refuse",
]

STORE_RETRY_S = 1.0
PARSED_MAX = 4_096
"""Addresses whose text was read lately: each request of a client reads the same one."""

LOCAL_STEPS = 10
"""Requests closer together than this part of a window are counted as one moment, the last."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class InFlight:
    """Requests under way, bounded: one more is refused, never queued."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = 0

    def begin(self) -> None:
        """Counts one until `end`. Raises TransientError("overloaded"); then it counts none."""
        if self.now >= self._most:
            raise TransientError("overloaded", "Expected fewer requests at once, try again")
        self.now += 1

    def end(self) -> None:
        """One is over."""
        self.now -= 1

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts one for the length of the block. Raises as `begin`."""
        self.begin()
        try:
            yield
        finally:
            self.end()


class Limiter:
    """Takes from budgets, in the store or, while that is away, here: then each of `gateways`
    gives out its share of the limit.
    """

    def __init__(
        self,
        rates: RateLimits,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        *,
        gateways: int = 1,
    ) -> None:
        self._rates = rates
        self._log = log
        self._clock = clock
        self._gateways = gateways
        self._local = LocalWindows(clock)
        self._refused: OrderedDict[str, tuple[float, Budget]] = OrderedDict()
        self._leases = Leases(rates, clock)
        self._down_until = 0.0
        self._down = False

    def share_among(self, gateways: int) -> None:
        """How many doors there are now."""
        self._gateways = gateways

    async def take(self, budget: Budget, who: str, *, leased: bool = False) -> Allowance:
        """One request of `who`. Never raises: a store that is away only costs exactness.

        `leased` takes from the store in blocks and spends them here: no less exact, for what is
        asked many times a second. Both ways may be used on one budget.
        """
        key = f"{budget.name}:{who}"
        if self.refuses(budget, who):
            # Nothing comes free before it was said to: a flood is turned away here.
            left_s = ceil(self._refused[key][0] - self._clock())
            return Allowance(False, budget.limit, 0, left_s)
        if self._clock() >= self._down_until:
            try:
                allowance = await self._in_store(key, budget, leased=leased)
            except (TransientError, TimeoutError) as error:
                self._fell(error)
            else:
                self._up()
                return allowance
        share = replace(budget, limit=max(budget.limit // self._gateways, 1))
        return self._local.take(key, share)

    def spend(self, budget: Budget, who: str) -> bool:
        """Takes one of what `take` holds leased. False, and nothing is taken: `take` must ask."""
        key = f"{budget.name}:{who}"
        if self._clock() < self._down_until or key in self._refused:
            return False
        return self._leases.spend(key)

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
        await self._in_store(f"{budget.name}:ping", budget, leased=False)

    async def _in_store(self, key: str, budget: Budget, *, leased: bool) -> Allowance:
        if leased:
            return await self._leases.take(key, budget)
        async with asyncio.timeout(STORE_TIMEOUT_S):
            taken = await self._rates.take(key, budget.limit, budget.window_s)
        allowed, remaining, reset_s = taken
        if not allowed:
            self._remember(key, budget, reset_s)
        return Allowance(allowed, budget.limit, remaining, ceil(reset_s))

    def _fell(self, error: BaseException) -> None:
        self._down_until = self._clock() + STORE_RETRY_S
        if not self._down:
            self._log.warning("rate_limits_local", error=str(error))
        self._down = True

    def _up(self) -> None:
        if self._down:
            self._log.info("rate_limits_exact")
        self._down = False


@dataclass(slots=True)
class _Taken:
    # Requests that came close together; they leave the window with the last of them.
    first: float
    last: float
    count: int


class LocalWindows:
    """Sliding windows in memory, the least recently used caller forgotten first. No window holds
    more than the limit; one that was used up comes free a tenth of a window late at most.
    """

    def __init__(self, clock: Callable[[], float], most: int = RATE_KEYS_MAX) -> None:
        self._clock = clock
        self._most = most
        self._callers: OrderedDict[str, deque[_Taken]] = OrderedDict()

    def take(self, key: str, budget: Budget) -> Allowance:
        """One request of `key`."""
        now = self._clock()
        taken = self._callers.setdefault(key, deque())
        self._callers.move_to_end(key)
        if len(self._callers) > self._most:
            self._callers.popitem(last=False)
        while taken and taken[0].last + budget.window_s <= now:
            taken.popleft()
        used = sum(one.count for one in taken)
        allowed = used < budget.limit
        if allowed and taken and now - taken[-1].first < budget.window_s / LOCAL_STEPS:
            taken[-1].last, taken[-1].count = now, taken[-1].count + 1
        elif allowed:
            taken.append(_Taken(now, now, 1))
        reset_s = taken[0].last + budget.window_s - now if taken else budget.window_s
        return Allowance(allowed, budget.limit, budget.limit - used - allowed, ceil(reset_s))


def refuse(allowance: Allowance) -> CallerError:
    """The error of a budget that is used up."""
    return CallerError(
        "rate_limited",
        f"Expected at most {allowance.limit} requests, try again in {allowance.reset_s} s",
        {"retryAfterSeconds": allowance.reset_s},
    )


class Networks:
    """Addresses of a configured list."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[Network] = [
            ipaddress.ip_network(network, strict=False) for network in networks
        ]

    def hold(self, address: Address) -> bool:
        """Whether it is in any of them."""
        return any(address in network for network in self._networks)

    def hold_all(self, peer: str | None, forwarded: Sequence[str]) -> bool:
        """Whether the peer and every hop that it or anybody named is in them: who is far away
        gains nothing by what he says, and nothing by a proxy of ours that speaks for him.
        """
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        found = [_parse(one) for one in (peer or "", *hops)]
        return all(one is not None and self.hold(one) for one in found)


class ClientAddresses:
    """The client's IP, as far as trusted proxies tell it.

    Without a trusted peer the peer is the client. With one, X-Forwarded-For is read from the
    right: the first address that is not a trusted proxy. What stands left of it is hearsay.
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = Networks(trusted_proxies)

    def of(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The key of a client: its IPv4 address, or its IPv6 /64, which is one customer."""
        client = _parse(peer or "")
        if client is None:
            return "unknown"
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        while hops and self._trusted.hold(client):
            hop = _parse(hops.pop())
            if hop is None:
                break
            client = hop
        return _key(client)

    def trusts(self, peer: str | None) -> bool:
        """Whether this is one of our proxies, whose headers are believed."""
        found = _parse(peer or "")
        return found is not None and self._trusted.hold(found)


@lru_cache(PARSED_MAX)
def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(PARSED_MAX)
def _key(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
