"""A process that spends a budget as fast as it is let: `python -m tests.support.spending URL
NAMESPACE LIMIT WINDOW_S SECONDS`. Says that it is ready, waits for a line, then prints the
moments at which it was let, on the clock that all processes of a machine share.
"""

import asyncio
import json
import sys
import time

from gateway.leases import Budget, Leases
from storage import valkey
from storage.rates import RateLimits

SPENDERS = 4


class Clock:
    """Remembers what it said last: the moment of a decision."""

    last = 0.0

    def __call__(self) -> float:
        self.last = time.monotonic()
        return self.last


async def spend(url: str, namespace: str, budget: Budget, *, seconds: float) -> list[float]:
    """Until `seconds` are over."""
    client, clock = valkey.connect(url), Clock()
    leases, moments = Leases(RateLimits(client, namespace=namespace), clock), list[float]()

    async def spender() -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            allowed = (await leases.take("who", budget)).allowed
            if allowed:
                moments.append(clock.last)
            await asyncio.sleep(0 if allowed else 0.005)

    await asyncio.gather(*(spender() for _ in range(SPENDERS)))
    await asyncio.sleep(0.05)
    await client.aclose()
    return moments


if __name__ == "__main__":
    url, namespace, limit, window_s, seconds = sys.argv[1:6]
    budget = Budget("quote", int(limit), float(window_s))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(spend(url, namespace, budget, seconds=float(seconds)))))
