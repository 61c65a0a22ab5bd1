"""A slow reader hurts nobody: `python -m bench.slow_readers` prints one line of JSON.

A real gateway in a process of its own, messages over a real Valkey from another one, and here
500 sockets. Rounds in turn: all read; 50 of them never read. Measured is, of the 450 others, the
time from publication to the reader, and of the gateway its memory and whom it evicted.
"""

import argparse
import asyncio
import json
import re
import sys
import time
import urllib.request
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.readers import Reader, connect
from deploy import datadir
from deploy.embedded import Embedded
from engine import text
from engine.messages import Tick
from storage import valkey
from storage.ticks import Ticks
from tests.support.gateway import open_door
from tests.support.scenario import Scenario

NAMESPACE = "bench:slow"
RATIO_MAX = 1.2
WARM_S = 3.0
CONNECTS_AT_ONCE = 20


async def serve(redis_url: str) -> None:
    """The gateway's process: prints its port, ends with its standard input."""
    client = valkey.connect(redis_url)
    limits = {"socket_bytes_per_s": 10**9, "connects_per_s": 10**6, "connects_per_s_all": 10**6}
    async with open_door(stores={"ticks": Ticks(client, namespace=NAMESPACE)}, **limits) as door:
        print(door.gateway.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await client.aclose()


async def publish(redis_url: str, rate: float, size: int) -> None:
    """The publisher's process: a message each 1/rate s, until its standard input ends."""
    client = valkey.connect(redis_url)
    ticks, padding, seq = Ticks(client, namespace=NAMESPACE), "x" * size, 0
    ends = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    due = time.monotonic()
    while not ends.done():
        seq += 1
        data: dict[str, object] = {"at": time.monotonic_ns(), "padding": padding}
        await ticks.publish(1, 1, [Tick(topic(), "price", seq, "1:g", data)])
        due += 1 / rate
        await asyncio.sleep(max(due - time.monotonic(), 0))
    await client.aclose()


def topic() -> str:
    """That of the first market of `open_door`."""
    return text.topic_of_token(Scenario().launch("tide"))


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """This module in a process of its own; it ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.slow_readers", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)


async def round_of(
    port: int, pid: int, *, sockets: int, slow: int, reads: bool, seconds: float
) -> dict[str, Any]:
    """One round; `slow` sockets have small buffers, and do not read unless `reads`."""
    before = evicted(port)
    readers: list[Reader] = []
    for start in range(0, sockets, CONNECTS_AT_ONCE):
        numbers = range(start, min(start + CONNECTS_AT_ONCE, sockets))
        coming = [connect(port, topic(), has_small_buffer=number < slow) for number in numbers]
        readers += await asyncio.gather(*coming)
    await asyncio.sleep(WARM_S)
    for reader in readers:
        reader.delays_us, reader.accounted = array("q"), 0
    if not reads:
        for reader in readers[:slow]:
            reader.stop_reading()
    rss_mb, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        rss_mb.append(memory_mb(pid))
        await asyncio.sleep(0.5)
    others = readers[slow:]
    delays = sorted(delay for reader in others for delay in reader.delays_us)
    counts = {reader.accounted for reader in others}
    found = {
        "messages": len(delays),
        "others_ended": sum(reader.is_ended for reader in others),
        "others_unequal_by": max(counts) - min(counts),
        "p50_ms": round(delays[len(delays) // 2] / 1e3, 2),
        "p99_ms": round(delays[int(len(delays) * 0.99)] / 1e3, 2),
        "rss_mb": round(max(rss_mb), 1),
        "evicted": await asyncio.to_thread(evicted, port) - before,
    }
    for reader in readers:
        reader.close()
    await asyncio.sleep(1)
    return found


def evicted(port: int) -> int:
    """Sockets that the gateway has evicted so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        shown = response.read().decode()
    found = re.search(r"^risecurve_evicted_total (\S+)$", shown, re.MULTILINE)
    return int(float(found[1])) if found else 0


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


async def measure(redis_url: str, given: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and what came of them."""
    rounds: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    async with (
        child("--gateway", redis_url) as gateway,
        child(*("--publisher", redis_url, "--rate", str(given.rate), "--size", str(given.size))),
    ):
        assert gateway.stdout is not None
        port = int(await gateway.stdout.readline())
        for number in range(2 * given.rounds):
            reads = number % 2 == 0
            found = await round_of(
                port,
                gateway.pid,
                sockets=given.sockets,
                slow=given.slow,
                reads=reads,
                seconds=given.seconds,
            )
            rounds[reads].append(found)
            print(f"{'all read' if reads else 'some never'}: {found}", file=sys.stderr)
    ratios = [
        without["p99_ms"] / with_all["p99_ms"]
        for with_all, without in zip(rounds[True], rounds[False], strict=True)
    ]
    ratio = median(ratios)
    evictions = [one["evicted"] for one in rounds[False]]
    return {
        "bench": "slow_readers",
        **{name: getattr(given, name) for name in ("sockets", "slow", "rate", "size", "seconds")},
        "p99_ms_all_read": [one["p99_ms"] for one in rounds[True]],
        "p99_ms_some_never": [one["p99_ms"] for one in rounds[False]],
        "p99_ratio": round(ratio, 3),
        "rss_mb_all_read": max(one["rss_mb"] for one in rounds[True]),
        "rss_mb_some_never": max(one["rss_mb"] for one in rounds[False]),
        "evicted": evictions,
        "others_ended": sum(one["others_ended"] for both in rounds.values() for one in both),
        "ok": ratio <= RATIO_MAX and all(one == given.slow for one in evictions),
    }


def main() -> int:
    """Exit 1: the others were hurt, or the slow ones stayed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--slow", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second")
    parser.add_argument("--size", type=int, default=4_000, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=40.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind, in turn")
    parser.add_argument("--gateway", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--publisher", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gateway:
        asyncio.run(serve(given.gateway))
        return 0
    if given.publisher:
        asyncio.run(publish(given.publisher, given.rate, given.size))
        return 0
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        found = asyncio.run(measure(embedded.start_valkey(), given))
    print(json.dumps(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
