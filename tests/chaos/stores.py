"""Stores that are down, slow or half-open, each and together, under a system that trades.

While a fault lasts quotes go on and stay exact, what needs the store answers 503
`store_unavailable` in time, or as ever; nothing hangs and nothing is a 500. Healed, history is
whole again.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from deploy.embedded import Embedded
from tests.chaos import world as worlds
from tests.chaos.quotes import QuoteChecker
from tests.chaos.report import Row, say
from tests.chaos.world import World
from tests.support.load import percentiles
from tests.support.servers import Anvil
from tests.support.tcp_proxy import TcpProxy

STORES = ("postgres", "mongodb", "redis")
MODES = ("down", "slow", "half-open")
TOGETHER = [pair for size in (1, 2, 3) for pair in itertools.combinations(STORES, size)]
CASES = [(stores, mode) for stores in TOGETHER for mode in MODES]
STORE_TIMEOUT_S = 1.0
SLOW_S = 0.3
ANSWER_S_MAX = 12.0
ALLOWED = {"ok", "store_unavailable", "overloaded"}
PAUSE_S = 0.2


def started(servers: Embedded) -> dict[str, str]:
    """URLs of the three stores, from the main thread."""
    return {
        "postgres": servers.start_postgres(),
        "mongodb": servers.start_mongod(),
        "redis": servers.start_valkey(),
    }


@asynccontextmanager
async def opened(
    anvil: Anvil, folder: Path, urls: dict[str, str], *, seed: int
) -> AsyncIterator[tuple[World, dict[str, TcpProxy]]]:
    """A system whose three stores are reached through proxies."""
    async with AsyncExitStack() as stack:
        proxies = {
            name: await stack.enter_async_context(TcpProxy(urlsplit(url).port or 0))
            for name, url in urls.items()
        }
        near = {name: _through(urls[name], proxies[name].port) for name in urls}
        one = await stack.enter_async_context(
            worlds.opened(
                anvil,
                folder,
                seed=seed,
                through=True,
                DATABASE_URL=near["postgres"],
                MONGODB_URL=near["mongodb"] + "&directConnection=true",
                REDIS_URL=near["redis"],
                STORE_TIMEOUT_S=str(STORE_TIMEOUT_S),
            )
        )
        yield one, proxies


async def outages(
    world: World, proxies: dict[str, TcpProxy], rng: random.Random, *, cases: int, hold_s: float
) -> list[Row]:
    """`cases` of all 21, in a random order; two rows: the stores, and the quotes meanwhile."""
    row = Row("a store goes away", "stores down, slow, half-open", trials_min=len(CASES))
    checker = QuoteChecker(world, rng, "quotes while stores are away")
    healed: dict[str, list[float]] = {mode: [] for mode in MODES}
    codes: Counter[str] = Counter()
    await world.begin()
    for stores, mode in rng.sample(CASES, min(cases, len(CASES))):
        name = f"{'+'.join(stores)} {mode}"
        world.load.forget_silence()
        _hurt([proxies[store] for store in stores], mode)
        try:
            codes += await _asked(world, checker, row, name=name, hold_s=hold_s)
        finally:
            for proxy in proxies.values():
                _heal(proxy)
        since = time.monotonic()
        try:
            await worlds.until(lambda: _ready(world), worlds.BACK_S_MAX, f"{name} healed")
            await world.settle()
        except AssertionError as error:
            row.fail(f"{name}: {error}")
        healed[mode].append(time.monotonic() - since)
        world.load.go_on()
        wrong = set(world.load.codes) - {"overloaded"}
        if wrong:
            row.fail(f"{name}: quotes answered {dict(world.load.codes)}")
        row.trials += 1
        say(f"  {name}: whole again after {healed[mode][-1]:.1f} s")
    row.figure["whole_again_s"] = {m: percentiles(ones) for m, ones in healed.items() if ones}
    row.figure["answers_meanwhile"] = dict(codes)
    # What Redis published while a gateway was away from it is lost, and shows as a gap.
    row.figure["losses_that_show"], world.watcher.gaps = world.watcher.gaps, 0
    await world.agree(row, folded=False)
    row.plant("a door that hangs", caught=await _hangs())
    return [row, checker.judge()]


# ----------------------------------------------------------------------------- private


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
    return urlunsplit(parts._replace(netloc=netloc))


def _hurt(proxies: list[TcpProxy], mode: str) -> None:
    for proxy in proxies:
        if mode == "down":
            proxy.dead = True
            proxy.cut()
        elif mode == "slow":
            proxy.delay_s = SLOW_S
        else:
            proxy.freeze()


def _heal(proxy: TcpProxy) -> None:
    proxy.dead, proxy.delay_s = False, 0.0
    proxy.thaw()


async def _asked(
    world: World, checker: QuoteChecker, row: Row, *, name: str, hold_s: float
) -> Counter[str]:
    codes: Counter[str] = Counter()
    until = time.monotonic() + hold_s
    async with aiohttp.ClientSession(world.system.api) as session:
        asking: set[asyncio.Task[str]] = set()
        while time.monotonic() < until:
            asking |= {
                asyncio.create_task(_ask(session, "GET", "/api/tokens")),
                asyncio.create_task(_ask(session, "GET", f"/api/tokens/{world.load.tokens[0]}")),
                asyncio.create_task(_ask(session, "POST", "/api/auth/nonce")),
            }
            await checker.round()
            await asyncio.sleep(PAUSE_S)
        for task in asking:
            codes[await task] += 1
    for code in codes.keys() - ALLOWED:
        row.fail(f"{name}: a door answered {code} {codes[code]} times")
    return codes


async def _ask(
    session: aiohttp.ClientSession, method: str, path: str, *, limit_s: float = ANSWER_S_MAX
) -> str:
    try:
        async with asyncio.timeout(limit_s), session.request(method, path) as response:
            body: Any = await response.json()
    except TimeoutError:
        return "hung"
    except (aiohttp.ClientError, OSError) as error:
        return type(error).__name__
    return "ok" if body.get("success") else str(body["error"]["code"])


async def _ready(world: World) -> bool:
    async with aiohttp.ClientSession(world.system.api) as session:
        try:
            async with asyncio.timeout(5), session.get("/readyz") as response:
                return bool((await response.json())["data"]["status"] == "ok")
        except (aiohttp.ClientError, OSError, TimeoutError, KeyError):
            return False


async def _hangs() -> bool:
    # A door that waits for ever looks like this: an answer that never comes.
    end = asyncio.Event()

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await end.wait()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with aiohttp.ClientSession(url) as session:
            return await _ask(session, "GET", "/api/tokens", limit_s=1.0) not in ALLOWED
    finally:
        end.set()
        server.close()
