"""`python -m tests.chaos.flood URL TOKEN CLIENTS SECONDS`: clients that ask for quotes without
a pause, in a process of their own. Prints one line of JSON: how many were answered with what.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter

import aiohttp

TIMEOUT_S = 30.0
REFUSED_PAUSE_S = 0.02
CONNECT_S = 0.002


async def flood(url: str, token: str, *, clients: int, seconds: float) -> dict[str, object]:
    """`statuses`; `without_retry_after` of the refusals; seconds of each answered quote."""
    statuses: Counter[str] = Counter()
    times: list[float] = []
    bare = 0
    together = asyncio.Barrier(clients)
    body = {"tokenAddress": token, "type": "buy", "amount": "0.001"}

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal bare
        # Not all connect at once: a full backlog of the kernel is not what is looked at here.
        # But then all ask at once: a door that is quick enough has else never too much to do.
        await asyncio.sleep(number * CONNECT_S)
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with session.get(f"{url}/readyz") as answer:
                await answer.read()
        await together.wait()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.monotonic()
            try:
                async with session.post(f"{url}/api/trading/quote", json=body) as answer:
                    await answer.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                statuses[f"{type(error).__name__}: {error}"[:80]] += 1
                continue
            statuses[str(answer.status)] += 1
            if answer.status == 200:
                times.append(time.monotonic() - began)
            else:
                bare += answer.status in (429, 503) and "Retry-After" not in answer.headers
                # Shorter than it was asked for: a rude client, but not a busy loop.
                await asyncio.sleep(REFUSED_PAUSE_S)

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(client(session, number) for number in range(clients)))
    ordered = sorted(times) or [0.0]
    return {
        "statuses": dict(statuses),
        "without_retry_after": bare,
        "per_s": round(len(times) / seconds, 1),
        "p50_s": round(ordered[len(ordered) // 2], 4),
        "p99_s": round(ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)], 4),
    }


if __name__ == "__main__":
    url, token, clients, seconds = sys.argv[1:5]
    found = asyncio.run(flood(url, token, clients=int(clients), seconds=float(seconds)))
    print(json.dumps(found))
