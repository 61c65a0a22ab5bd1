"""`python -m bench.rest_reads`: reads at the REST door beside a recorder that writes.

In order: a Postgres with 100,000 tokens and 5,000,000 trades; the real recorder writing blocks
of 500 trades a second; the real gateway; 100 requests a second, sent when they are due and
not when the last one came back. A time counts from when its request was due. Exits with 1 when a
p99 is not below the bound, or an answer was no 200.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp

from bench import history
from bench.machine import load_average, say
from bench.recording import names
from deploy import datadir
from deploy.embedded import Embedded
from engine.text import address
from storage import documents
from tests.support.scenario import address_of

P99_MS_MAX = 50.0
WARM_UP_S = 5.0
KINDS = ("tokens", "token", "chart", "portfolio")
TIMEFRAMES = ("1h", "24h", "7d", "30d")
SORTS = ("created", "marketCap", "volume")


@dataclass
class Asker:
    """Paths at random: tokens as they are traded, a fifth of those that trade just now."""

    size: history.Size
    traded: list[str]
    dice: random.Random

    def path(self, kind: str) -> str:
        if kind == "tokens":
            page = self.dice.choice((1, 1, 1, 2, 3))
            return f"/api/tokens?sortBy={self.dice.choice(SORTS)}&page={page}"
        if kind == "portfolio":
            wallet = history.drawn(self.size.wallets, self.dice.random(), 1.5)
            return f"/api/trading/portfolio/{address(history.address('w', wallet))}"
        if kind == "chart":
            return f"/api/tokens/{self._token()}/chart?timeframe={self.dice.choice(TIMEFRAMES)}"
        return f"/api/tokens/{self._token()}"

    def _token(self) -> str:
        if self.dice.random() < 0.2:
            return address(address_of(f"token {self.dice.choice(self.traded)}"))
        number = history.drawn(self.size.tokens, self.dice.random(), 3)
        return address(history.address("t", number))


@dataclass
class Taken:
    """Milliseconds by kind of request, and what went wrong."""

    ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    def quantile(self, kind: str, share: float) -> float:
        ordered = sorted(self.ms[kind])
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def ask(base: str, asker: Asker, *, rate: int, seconds: float) -> Taken:
    """Open loop: request n is due n/rate seconds after the start."""
    taken, tasks = Taken(), []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base, connector=connector) as session:

        async def one(kind: str, due: float) -> None:
            path = asker.path(kind)
            try:
                async with session.get(path) as response:
                    body = await response.read()
                if response.status != 200:
                    taken.faults.append(f"{response.status} {path} {body[:200]!r}")
            except (aiohttp.ClientError, TimeoutError) as error:
                taken.faults.append(f"{error!r} {path}")
            taken.ms[kind].append((time.monotonic() - due) * 1e3)

        began = time.monotonic()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (pause_s := due - time.monotonic()) > 0:
                await asyncio.sleep(pause_s)
            tasks.append(asyncio.create_task(one(KINDS[number % len(KINDS)], due)))
        await asyncio.gather(*tasks)
    return taken


async def measure(servers: Embedded, url: str, asked: argparse.Namespace) -> int:
    """Brings the processes up, asks, prints; the process's code."""
    size = history.Size(asked.tokens, asked.trades, asked.wallets)
    mongodb_url, redis_url = servers.start_mongod(), servers.start_valkey()
    await _documents(mongodb_url, size)
    stores = (url, mongodb_url, redis_url)
    async with AsyncExitStack() as stack:
        recording = await _child(stack, "bench.recording", url, str(asked.write_rate))
        traded = names(int(await _line(recording)))
        door = await _child(stack, "bench.door", *stores, *(["--uncached"] * asked.uncached))
        base = f"http://127.0.0.1:{int(await _line(door))}"
        say("asking")
        asker = Asker(size, traded, random.Random(1))
        await ask(base, asker, rate=asked.rate, seconds=WARM_UP_S)
        taken = await ask(base, asker, rate=asked.rate, seconds=asked.seconds)
        load = load_average()
        for process in (recording, door):
            process.send_signal(signal.SIGTERM)
        line = {"recorder": json.loads(await _line(recording)), "load_average": load}
        line["door"] = json.loads(await _line(door))
    return _report(taken, line)


def _report(taken: Taken, line: dict[str, object]) -> int:
    print(f"{'request':12}{'count':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    slow = []
    for kind in KINDS:
        p50, p99 = taken.quantile(kind, 0.5), taken.quantile(kind, 0.99)
        print(f"{kind:12}{len(taken.ms[kind]):8}{p50:10.1f}{p99:10.1f}{max(taken.ms[kind]):10.1f}")
        line[kind] = {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1)}
        slow += [kind] * (p99 >= P99_MS_MAX)
    print(f"door: {line['door']}\nrecorder: {line['recorder']}")
    for fault in taken.faults[:5]:
        print(fault)
    print(json.dumps(line | {"faults": len(taken.faults), "slow": slow}))
    return 1 if slow or taken.faults else 0


async def _child(stack: AsyncExitStack, module: str, *words: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *words), stdout=asyncio.subprocess.PIPE
    )

    async def end() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None, "Expected a pipe"
    line = await asyncio.wait_for(process.stdout.readline(), 120)
    if not line:
        raise RuntimeError("Expected a line of a process of the bench, it has ended")
    return line.decode().strip()


async def _documents(mongodb_url: str, size: history.Size) -> None:
    client = documents.connect(mongodb_url, timeout_s=120)
    await documents.database(client)["metadata"].insert_many(
        [
            {
                "_id": "0x" + history.metadata_hash(number).hex(),
                "document": {"name": f"Coin {number}", "symbol": f"C{number}"},
            }
            for number in range(size.tokens)
        ],
        ordered=False,
    )
    await client.close()


def main() -> int:
    """Fills an embedded Postgres, unless `--url` names one that was filled a moment ago."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=history.Size().tokens)
    parser.add_argument("--trades", type=int, default=history.Size().trades)
    parser.add_argument("--wallets", type=int, default=history.Size().wallets)
    parser.add_argument("--rate", type=int, default=100, help="requests a second")
    parser.add_argument("--write-rate", type=int, default=500, help="trades a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--url", default="", help="a database that was filled before")
    parser.add_argument("--uncached", action="store_true", help="without Redis for rows")
    asked = parser.parse_args()
    size = history.Size(asked.tokens, asked.trades, asked.wallets)
    with datadir.temporary() as folder, Embedded(folder, durable=False) as servers:
        url = asked.url or servers.start_postgres()
        if not asked.url:
            asyncio.run(history.fill(url, size, now=int(time.time()), say=say))
        return asyncio.run(measure(servers, url, asked))


if __name__ == "__main__":
    sys.exit(main())
