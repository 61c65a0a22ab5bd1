"""Part "fanout": one tick to thousands of Socket.IO readers, at our door and at Node's.

Both hear the same messages over the same Redis and have their readers connected all the time; in
each alternation both are published to, in turn. Measured are the processor time of the server a
message that a reader got, and the time from publication to the reader.
"""

import asyncio
import resource
import tempfile
import time
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import uvloop

from actors import collecting
from bench.processes import BenchError, Peer, python, started
from bench.quotes import Effort, Tell
from bench.readers import Reader, connect
from bench.results import Results
from bench.stats import ratio
from deploy.embedded import Embedded
from engine.messages import Tick
from storage import valkey
from storage.ticks import Ticks

RATIO = "fanout_cpu_vs_node"
SUBSCRIBERS = 5_000
RATE_PER_S = 4
TOPIC = "token:0x" + "11" * 20
CONNECTS_AT_ONCE = 20
FILES_SPARE = 500
SETTLE_S = 2.0
SETTLED_S = sum(collecting.SETTLED_AFTER_S) + SETTLE_S
"""From a door's start until it has walked what it loaded at the start; the next walk is minutes
away, and measured is the time between."""

PATIENCE_S = 20.0


@dataclass(slots=True)
class Crowd:
    """A server with its readers, and what was measured of it."""

    name: str
    peer: Peer
    ticks: Ticks
    readers: list[Reader] = field(default_factory=list)
    seq: int = 0
    cpu_us: list[float] = field(default_factory=list)
    delays_us: "array[int]" = field(default_factory=lambda: array("q"))

    async def gather(self, count: int) -> None:
        """Connect and subscribe them."""
        for start in range(0, count, CONNECTS_AT_ONCE):
            some = range(start, min(start + CONNECTS_AT_ONCE, count))
            coming = [connect(self.peer.port, TOPIC, has_small_buffer=False) for _ in some]
            self.readers += await asyncio.gather(*coming)

    async def round(self, seconds: float) -> None:
        """Publish for so long; every reader gets every message, or a later one in its place."""
        for reader in self.readers:
            reader.keep()
        messages = max(int(seconds * RATE_PER_S), 1)
        cpu_s, due = self.peer.cpu_s(), time.monotonic()
        for _ in range(messages):
            await self.ticks.publish(1, 1, [self._tick()])
            due += 1 / RATE_PER_S
            await asyncio.sleep(max(due - time.monotonic(), 0))
        for reader in self.readers:
            reader.settle()
        await self._all_have(messages)
        cpu_s = self.peer.cpu_s() - cpu_s
        self.cpu_us.append(cpu_s / sum(len(one.delays_us) for one in self.readers) * 1e6)
        for reader in self.readers:
            self.delays_us.extend(reader.delays_us)

    async def _all_have(self, messages: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while any(reader.accounted < messages for reader in self.readers):
            if time.monotonic() > until or any(reader.is_ended for reader in self.readers):
                raise BenchError(f"{self.name}: Expected every message at every reader")
            await asyncio.sleep(0.01)

    def _tick(self) -> Tick:
        self.seq += 1
        amount = f"{self.seq}.123456789012345678"
        data: dict[str, object] = {
            "at": time.monotonic_ns(),
            "tokenAddress": TOPIC.removeprefix("token:"),
            **dict.fromkeys(("price", "marketCap", "sold", "raised"), amount),
            "progressBps": self.seq,
            "phase": "curve",
            "asOf": {
                "blockNumber": self.seq,
                "blockHash": "0x" + "22" * 32,
                "logIndex": 3,
                "status": "sealed",
                "version": [1, self.seq],
            },
            "receivedNs": str(time.time_ns()),
        }
        return Tick(TOPIC, "price", self.seq, "1-bench", data)


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    if effort.only and RATIO not in effort.only:
        return
    subscribers = _fitting(SUBSCRIBERS)
    if subscribers < SUBSCRIBERS:
        results.notes.append(f"fan-out to {subscribers} only: too few open files are allowed")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="risecurve-bench-"))
        embedded = stack.enter_context(Embedded(Path(folder), durable=False))
        redis_url = embedded.start_valkey()
        ours = stack.enter_context(
            started("our door", *python("bench.peers.fanout_door"), redis_url, "bench:ours")
        )
        node = stack.enter_context(
            started("node", "node", "bench/peers/fanout.mjs", redis_url, "bench:node")
        )
        work = measure(redis_url, [ours, node], subscribers=subscribers, effort=effort, tell=tell)
        crowds = uvloop.run(work)
    results.ratios[RATIO] = ratio(*(crowd.cpu_us for crowd in crowds))
    for crowd in crowds:
        delays_us = sorted(crowd.delays_us)
        results.figures |= {
            f"fanout_{crowd.name}_cpu_us_per_message_{subscribers}": median(crowd.cpu_us),
            f"fanout_{crowd.name}_p50_ms_{subscribers}": delays_us[len(delays_us) // 2] / 1e3,
            f"fanout_{crowd.name}_p99_ms_{subscribers}": delays_us[len(delays_us) * 99 // 100]
            / 1e3,
        }
    results.parts.append("fanout")


async def measure(
    redis_url: str, peers: Sequence[Peer], *, subscribers: int, effort: Effort, tell: Tell
) -> list[Crowd]:
    """Our door and Node's, after all alternations."""
    began, client = time.monotonic(), valkey.connect(redis_url)
    crowds = [
        Crowd(name, peer, Ticks(client, namespace=f"bench:{name}"))
        for name, peer in zip(("ours", "node"), peers, strict=True)
    ]
    try:
        for crowd in crowds:
            tell(f"{subscribers} readers of {crowd.name} come")
            await crowd.gather(subscribers)
        collecting.settle()  # a walk over all readers would be charged to whoever publishes
        await asyncio.sleep(max(began + SETTLED_S - time.monotonic(), SETTLE_S))
        for turn in range(effort.alternations):
            for crowd in crowds if turn % 2 == 0 else reversed(crowds):
                tell(f"alternation {turn + 1} of {effort.alternations}: a tick to {crowd.name}")
                await crowd.round(effort.seconds)
    finally:
        for reader in [reader for crowd in crowds for reader in crowd.readers]:
            reader.close()
        await asyncio.sleep(0)
        await client.aclose()
    return crowds


def _fitting(subscribers: int) -> int:
    # Both crowds are connected from here at once.
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * subscribers + FILES_SPARE
    if files < wanted:
        files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return min(subscribers, (files - FILES_SPARE) // 2)
