"""Part "tokens": what a quote costs with 10 tokens and with 100,000, and what a market weighs.

Each size has a shard of its own in a real actor, which recovers its markets from snapshots in a
real Postgres. Quotes are asked as the doors do on the path through the actors
(`actors.markets.Markets`), without a door, which would hide what grows; tokens are drawn evenly
and by Zipf's law. The shard of 10 tokens lives all the time, and each other one is measured
beside it, in turn: the ratios are of such pairs.
"""

import asyncio
import random
import tempfile
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from actors.markets import Markets
from bench import stored
from bench.arrays import summed
from bench.processes import BenchError
from bench.quotes import Effort, Tell
from bench.results import Results
from bench.stats import ratio
from deploy import logs, ray_environment
from deploy.embedded import Embedded
from engine.messages import QuoteReply, QuoteRequest, Refusal
from engine.settings import Settings

if TYPE_CHECKING:
    from bench.shard_of import Loaded

SIZES = (10, 1_000, 10_000, 100_000)
LARGEST = 1_000_000
"""With `--full`."""

DEMANDS = ("uniform", "zipf")
IN_FLIGHT = 256
CHOICES = 65_536
"""Quotes asked in turn: four times as many as the markets that a shard keeps ready."""

AMOUNT_WEI = 10**15
TURNS_MAX = 4
WARM_S = 2.0
"""Each token is asked for before: the first time its bucket is hashed, 10 to 15 microseconds in
either process, and 65,536 of them are remembered."""

RAY_FOLDER = "rb"
"""Short: Unix sockets lie in it."""


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    sizes = (*SIZES, LARGEST) if effort.grid else SIZES
    with tempfile.TemporaryDirectory(prefix=RAY_FOLDER) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as somebody else
        ray_environment.prepare(folder)
        with Embedded(folder / "data", durable=False) as embedded:
            database_url, redis_url = embedded.start_postgres(), embedded.start_valkey()
            settings = stored.settings_of(
                folder=folder, database_url=database_url, redis_url=redis_url
            )
            from actors import handles  # noqa: PLC0415 (Ray reads its environment at import)

            handles.connect(settings, temp_dir=folder / "ray", log=logs.get("ray"))
            try:
                asyncio.run(_measured(settings, results, sizes, effort=effort, tell=tell))
            finally:
                handles.disconnect()
    results.parts.append("tokens")


async def _measured(
    settings: Settings, results: Results, sizes: Sequence[int], *, effort: Effort, tell: Tell
) -> None:
    small = sizes[0]
    rounds: dict[tuple[int, str], list[dict[str, float]]] = {}
    turns = max(min(effort.alternations // 3, TURNS_MAX), 1)
    async with AsyncExitStack() as lasting:
        beside = await _loaded(lasting, settings, small, results=results, tell=tell)
        for size in sizes[1:]:
            async with AsyncExitStack() as stack:
                one = await _loaded(stack, settings, size, results=results, tell=tell)
                for turn in range(turns):
                    for demand in DEMANDS:
                        tell(f"{size} tokens, {demand}, {turn + 1} of {turns}")
                        pair = ((small, beside), (size, one))
                        for count, shard in pair if turn % 2 == 0 else reversed(pair):
                            asked = _requests(count, demand)
                            found = await _round(shard.markets, asked, effort.seconds)
                            rounds.setdefault((count, demand), []).append(found)
                _compare(results, rounds, (small, size), turns=turns)
    for (count, demand), found in rounds.items():
        middle = {name: median(one[name] for one in found) for name in found[0]}
        results.figures |= {f"tokens_{count}_{demand}_{n}": value for n, value in middle.items()}
        run = {"part": "tokens", "tokens": count, "demand": demand, **middle}
        results.runs.append(run)


def _compare(
    results: Results,
    rounds: dict[tuple[int, str], list[dict[str, float]]],
    sizes: tuple[int, int],
    *,
    turns: int,
) -> None:
    # The newest rounds of both are those that were measured beside each other.
    for demand in DEMANDS:
        few, many = (rounds[size, demand][-turns:] for size in sizes)
        for name in few[0]:
            found = ratio([one[name] for one in many], [one[name] for one in few])
            results.figures[f"tokens_{sizes[1]}_{demand}_{name}_vs_{sizes[0]}"] = found.value


async def _loaded(
    stack: AsyncExitStack, settings: Settings, size: int, *, results: Results, tell: Tell
) -> "Loaded":
    from bench import shard_of  # noqa: PLC0415 (as above)

    tell(f"{size} markets are stored")
    ours = await stored.apart(settings, size)
    position = await stored.fill(ours.stores.database_url, stored.tokens_of(size))
    tell(f"a shard recovers {size} markets")
    one = await stack.enter_async_context(shard_of.loaded(ours, position))
    for demand in DEMANDS:
        await _closed_loop(one.markets, _requests(size, demand), WARM_S, in_flight=IN_FLIGHT)
    results.figures |= {
        f"tokens_{size}_recovery_s": one.recovered_s,
        f"tokens_{size}_memory_bytes_per_market": one.memory_bytes / size,
    }
    return one


@cache
def _requests(size: int, demand: str) -> tuple[QuoteRequest, ...]:
    tokens, dice = stored.tokens_of(size), random.Random(size)
    even = demand == "uniform"
    weights = list(accumulate(1 if even else 1 / (rank + 1) for rank in range(size)))
    drawn = dice.choices(tokens, cum_weights=weights, k=CHOICES)
    return tuple(QuoteRequest(token, True, False, AMOUNT_WEI) for token in drawn)


async def _round(
    markets: Markets, asked: Sequence[QuoteRequest], seconds: float
) -> dict[str, float]:
    """The rate with many in flight, the latency with one."""
    many, _ = await _closed_loop(markets, asked, seconds, in_flight=IN_FLIGHT)
    _, p50_us = await _closed_loop(markets, asked, seconds, in_flight=1)
    return {"quotes_per_s": many, "p50_us": p50_us}


async def _closed_loop(
    markets: Markets, asked: Sequence[QuoteRequest], seconds: float, *, in_flight: int
) -> tuple[float, float]:
    # (answers a second, median latency in microseconds)
    took_ns: array[int] = array("q")
    refused: list[str] = []
    until = time.monotonic() + seconds

    async def client(first: int) -> None:
        at = first * len(asked) // in_flight
        while time.monotonic() < until:
            began = time.perf_counter_ns()
            answer: QuoteReply | Refusal = await markets.quote(asked[at % len(asked)])
            took_ns.append(time.perf_counter_ns() - began)
            at += 1
            if isinstance(answer, Refusal):
                refused.append(f"{answer.code}: {answer.message}")
                return

    began = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(in_flight)))
    if refused:
        raise BenchError(f"Expected quotes only, was {refused[0]}")
    latency, _ = summed(took_ns)
    return len(took_ns) / (time.monotonic() - began), latency.p50_us
