"""The demo's traders against a running system, in a thread, with a poller of every quote.

The poller asks for a quote of each token all the time and keeps, per token, when it last
answered, its longest silence, every error code, and that incarnations never go back.
"""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from deploy import registry, settings
from deploy.demo.client import ApiError, Client, new_account
from deploy.demo.run import Demo, Plan
from tests.support.running import Running

POLL_S = 0.05


class Load:
    """`demo.tally` counts trades; `codes` the errors of polled quotes."""

    def __init__(self, system: Running) -> None:
        environment = settings.load_settings(system.environment)
        entry = registry.read(registry.path(system.folder, environment.rise_chain_id))
        chain = settings.chain_settings(
            environment, entry, rpc_url=system.run.rise_rpc, ws_url=system.run.rise_ws, local=True
        )
        plan = Plan(trades=None, tokens=8, traders=8)
        self.chain = chain
        self.demo = Demo(api_url=system.api, chain=chain, plan=plan, say=lambda line: None)
        self.codes: Counter[str] = Counter()
        self.answered: dict[str, float] = {}
        self.silence: dict[str, float] = defaultdict(float)
        self.versions: dict[str, tuple[int, int]] = {}
        self.went_back: list[str] = []
        self.failures: list[BaseException] = []
        self._api = system.api
        self._poller: Client | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._trading() and time.monotonic() < deadline:
            assert not self.failures, self.failures
            time.sleep(0.1)
        assert self._trading(), (self.codes, self.failures)

    def _trading(self) -> bool:
        return len(self.answered) == 8 and len(self.demo.tally.trade_hashes) > 0

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def forget_silence(self) -> None:
        """Measure the longest silence from here on."""
        now = time.monotonic()
        self.answered = dict.fromkeys(self.answered, now)
        self.silence.clear()
        self.codes.clear()

    def longest_silence_s(self) -> float:
        """Of any token, one that lasts included."""
        now = time.monotonic()
        ongoing = [now - at for at in self.answered.values()]
        return max([*self.silence.values(), *ongoing])

    def all_answer(self, *, since: float) -> bool:
        """Whether every token's quote has answered after `since` (monotonic)."""
        return all(at > since for at in self.answered.values())

    async def _main(self) -> None:
        self._poller = Client(self._api, new_account(), self.chain.chain_id)
        work = asyncio.create_task(self._trade())
        await asyncio.wait(
            {work, asyncio.create_task(self.demo.launched.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        polls = [asyncio.create_task(self._poll(token)) for token in self.demo.tokens]
        while not self._stop.is_set():
            await asyncio.sleep(0.05)
        for task in (work, *polls):
            task.cancel()
        await asyncio.gather(work, *polls, return_exceptions=True)
        await self.demo.close()
        await self._poller.close()

    async def _trade(self) -> None:
        try:
            await self.demo.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failures.append(error)
            raise

    async def _poll(self, token: str) -> None:
        assert self._poller is not None
        while True:
            try:
                quote = await self._poller.post(
                    "/api/trading/quote", tokenAddress=token, type="buy", amount="0.001"
                )
            except (ApiError, OSError, TimeoutError) as error:
                self.codes[getattr(error, "code", type(error).__name__)] += 1
            else:
                self._answer(token, quote)
            await asyncio.sleep(POLL_S)

    def _answer(self, token: str, quote: dict) -> None:
        now = time.monotonic()
        gap = now - self.answered.get(token, now)
        self.silence[token] = max(self.silence[token], gap)
        self.answered[token] = now
        version = tuple(quote["asOf"]["version"])
        if version[0] < self.versions.get(token, (0, 0))[0]:
            self.went_back.append(f"{token}: {version} after {self.versions[token]}")
        self.versions[token] = version


@contextmanager
def running(system: Running) -> Iterator[Load]:
    load = Load(system)
    load.start()
    try:
        yield load
    finally:
        load.stop()
