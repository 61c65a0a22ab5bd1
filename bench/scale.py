"""Part "cluster": quotes of every token, all the time, while shards double and halve.

Clients of the stream door ask each token's quote at a steady pace, whether or not earlier ones
were answered; several, so that what waits in a pause stays below what a connection may have. A
bucket's pause is the longest time without an answer of its token, the pace included;
`scale_unmoved` is that of tokens which stay where they are, so what the processes that start
take from everybody. Nobody trades, so every answer with the same launch fee must be the first
one's, to the wei.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from bench import system
from bench.answers import Answers
from bench.processes import BenchError
from bench.quotes import Effort, Tell
from bench.results import Results
from gateway.client import Quote, QuoteOf, StreamClient, StreamError

TOKENS = 48
CLIENTS = 4
SHARDS = 2
AMOUNT_WEI = 10**15
PACE_S = 0.05
SETTLED_S = 1.0
SCALE_TIMEOUT_S = 240.0


class Paced(Answers):
    """Asks until `stop`. `begin` forgets; `of_moved` is since then. `wrong`, `lost` and `codes`
    are of all the time."""

    def __init__(
        self, clients: Sequence[StreamClient], tokens: Sequence[str], *, pace_s: float = PACE_S
    ) -> None:
        self._clients = dict(zip(tokens, itertools.cycle(clients), strict=False))
        super().__init__(tokens)
        self._pace_s = pace_s
        self._first: dict[tuple[str, int], int] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self.asked = 0
        self.answered = 0
        self.wrong: list[str] = []
        self.codes: Counter[str] = Counter()
        self.late_s = 0.0

    @property
    def lost(self) -> int:
        """Quotes without an answer, errors among them, once `stop` has waited for all."""
        return self.asked - self.answered

    def start(self) -> None:
        """Ask from now on."""
        self.begin()
        self._main = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """What is under way is still answered."""
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        await asyncio.gather(*self._asking)

    async def _run(self) -> None:
        # One by one, so that a bucket which pauses holds up no other's answer.
        due = time.monotonic()
        for token in itertools.cycle(self._tokens):
            task = asyncio.create_task(self._ask(token))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            due += self._pace_s / len(self._tokens)
            self.late_s = max(self.late_s, time.monotonic() - due)
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    async def _ask(self, token: str) -> None:
        self.asked += 1
        try:
            quote = await self._clients[token].quote(QuoteOf(token, "buy", AMOUNT_WEI))
        except StreamError as error:
            self.codes[error.code] += 1
            return
        self._note(token, quote, time.monotonic())

    def _note(self, token: str, quote: Quote, now: float) -> None:
        self.answered += 1
        first = self._first.setdefault((token, quote.launch_fee_wei), quote.amount_out_wei)
        if quote.amount_out_wei != first:
            self.wrong.append(f"{token}: {quote.amount_out_wei}, was {first}")
        self.heard(token, int(quote.as_of["version"][0]), now)


def scale(shards: int, environment: Mapping[str, str]) -> float:
    """`risecurve scale --shards`; the seconds that it took. Raises BenchError."""
    command = [str(Path(sys.executable).with_name("risecurve")), "scale", "--shards", str(shards)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--json"],
        env=dict(environment),
        capture_output=True,
        timeout=SCALE_TIMEOUT_S,
        check=False,
    )
    if done.returncode or json.loads(done.stdout)["shards"] != shards:
        said = (done.stdout + done.stderr).decode()[-1_000:]
        raise BenchError(f"Expected {shards} shards, was: {said}")
    return time.monotonic() - began


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    tell("our system comes up")
    with system.running(tokens=TOKENS, SHARDS=str(SHARDS), BRIDGE="false") as ours:
        asyncio.run(_measured(ours, results, max(effort.alternations // 4, 1), tell=tell))
    results.parts.append("cluster")


async def _measured(ours: system.Ours, results: Results, turns: int, *, tell: Tell) -> None:
    found: dict[int, list[float]] = {SHARDS: [], 2 * SHARDS: []}
    others: list[float] = []
    seconds: list[float] = []
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(StreamClient(ours.run.stream_url))
            for _ in range(CLIENTS)
        ]
        paced = Paced(clients, ours.tokens)
        paced.start()
        await asyncio.sleep(SETTLED_S)
        for turn in range(turns):
            for shards in (2 * SHARDS, SHARDS):
                tell(f"{shards} shards, {turn + 1} of {turns}")
                paced.begin()
                seconds.append(await asyncio.to_thread(scale, shards, ours.environment))
                await asyncio.sleep(SETTLED_S)
                moved = paced.of_moved()
                found[shards] += moved.values()
                others += paced.of_others().values()
                results.runs.append({"shards": shards, "pauses_s": sorted(moved.values())})
        await paced.stop()
    every = {"scale": found[2 * SHARDS], "scale_down": found[SHARDS], "scale_unmoved": others}
    for name, pauses in every.items():
        if not pauses:
            raise BenchError("Expected buckets to move, none did")
        for rank, value in ranks(pauses).items():
            results.figures[f"{name}_pause_{rank}_ms"] = value * 1e3
        results.figures[f"{name}_buckets"] = len(pauses)
    results.figures |= {
        "scale_wrong": len(paced.wrong),
        "scale_lost": paced.lost,
        "scale_quotes_asked": paced.asked,
        "scale_s": median(seconds),
        "scale_client_late_ms": paced.late_s * 1e3,
    }
    if paced.codes:
        results.notes.append(f"cluster: {dict(paced.codes)}")


def ranks(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max by nearest rank."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": ordered[min(len(ordered) // 2, last)],
        "p99": ordered[min(len(ordered) * 99 // 100, last)],
        "max": ordered[last],
    }
