"""The demo from the first login to the verdict."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chain.rpc import JsonRpc
from deploy.demo import funding, graduation, traders
from deploy.demo.checker import Checker
from deploy.demo.client import Client, new_account
from deploy.demo.stores import Stored
from deploy.demo.tally import Tally, percentile
from deploy.demo.traders import Trader
from deploy.demo.watcher import Watcher
from engine.settings import ChainSettings

ETH = 10**18
QUOTES_CHECKED_MIN = 1_000
POOL_QUOTES_CHECKED_MIN = 200
FAMILIES = 2
BUYERS_WEI = 25 * ETH
CREATORS = 4
TRADE_TIMEOUT_S = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`trades` None: run until interrupted."""

    trades: int | None = None
    tokens: int = 8
    traders: int = 8
    seed: int = 1
    graduate: bool = False

    @property
    def timeout_s(self) -> float:
        """Bound of a demo with an end."""
        return 120.0 + TRADE_TIMEOUT_S * (self.trades or 0) / self.traders


class Demo:
    """One run against a gateway. `tally` may be drawn while it runs."""

    def __init__(self, *, api_url: str, chain: ChainSettings, plan: Plan, say: Say) -> None:
        self._api_url = api_url
        self._chain = chain
        self._plan = plan
        self._say = say
        self._rpc = JsonRpc(chain.rpc_url, timeout_s=10.0)
        self._clients: list[Client] = []
        self._buyers: list[Client] = []
        self._watcher: Watcher | None = None
        self.tally = Tally(wanted_trades=plan.trades)
        self.tokens: list[str] = []
        self.launched = asyncio.Event()
        self.trading = asyncio.Event()
        self._stranger = graduation.Stranger(chain, self._rpc, self.tally, seed=plan.seed)

    async def run(self) -> None:
        """Trade and check until the plan is fulfilled, or for ever. Raises TimeoutError."""
        await self._prepare()
        assert self._watcher is not None
        pad = self._chain.launchpad
        checker = Checker(
            self._watcher,
            self._rpc,
            launchpad=pad.address,
            lens_address=pad.lens,
            tokens=self.tokens,
            tally=self.tally,
            seed=self._plan.seed,
        )
        people = self._clients[CREATORS:]
        loops: list[Awaitable[None]] = [
            Trader(
                client, self.tokens, self.tally, seed=self._plan.seed + index, rpc=self._rpc
            ).run()
            for index, client in enumerate(people)
        ]
        ends, graduate = self._plan.trades is not None, self._plan.graduate
        pool_quotes = POOL_QUOTES_CHECKED_MIN if graduate else 0
        loops.append(checker.run(QUOTES_CHECKED_MIN if ends else None, pool_quotes))
        if graduate:
            self._say("one token of each family is bought out; the keeper opens its pool")
            loops += self._graduations()
        self._say(f"{len(people)} traders trade {len(self.tokens)} tokens")
        self.trading.set()
        async with asyncio.timeout(self._plan.timeout_s if ends else None):
            await asyncio.gather(*loops)

    def _graduations(self) -> list[Awaitable[None]]:
        chosen = self.tokens[:FAMILIES]
        bought = zip(self._buyers, chosen, strict=True)
        buying = [graduation.buy_out(buyer, token, self.tally) for buyer, token in bought]
        return [*buying, self._stranger.run(chosen)]

    async def close(self) -> None:
        """Close every connection."""
        if self._watcher is not None:
            await self._watcher.stop()
        clients = [*self._clients, *self._buyers]
        await asyncio.gather(*(client.close() for client in clients))
        await self._rpc.close()

    async def _prepare(self) -> None:
        chain_id = self._chain.chain_id
        self._clients = [
            Client(self._api_url, new_account(), chain_id)
            for _ in range(CREATORS + self._plan.traders)
        ]
        addresses = [client.address for client in self._clients]
        self._say(f"{len(addresses)} wallets get 10 ETH each on the local chain")
        await funding.fund(self._rpc, chain_id, addresses=addresses, amount_wei=10 * ETH)
        if self._plan.graduate:
            addresses += await self._prepare_graduations()
        self._say("the wallets log in with Ethereum")
        clients = [*self._clients, *self._buyers]
        await asyncio.gather(*(client.login() for client in clients))
        self.tally.traders = addresses
        self._say(f"{self._plan.tokens} tokens are launched on both curve families")
        await self._launch()
        self._watcher = Watcher(self._api_url, self.tally)
        await self._watcher.start(self.tokens)

    async def _prepare_graduations(self) -> list[str]:
        chain_id = self._chain.chain_id
        self._buyers = [Client(self._api_url, new_account(), chain_id) for _ in range(FAMILIES)]
        buyers = [buyer.address for buyer in self._buyers]
        rich = [*buyers, self._stranger.address]
        await funding.fund(self._rpc, chain_id, addresses=rich, amount_wei=BUYERS_WEI)
        return buyers

    async def _launch(self) -> None:
        each = -(-self._plan.tokens // CREATORS)
        shares = [
            range(start, min(start + each, self._plan.tokens))
            for start in range(0, self._plan.tokens, each)
        ]
        made = await asyncio.gather(
            *(
                traders.launch_tokens(client, self.tally, share)
                for client, share in zip(self._clients, shares, strict=False)
            )
        )
        self.tokens = [token for page in made for token in page]
        self.launched.set()


def summary(tally: Tally, stored: Stored) -> dict[str, Any]:
    """The JSON line. Latencies in milliseconds, null when nothing was measured."""
    latencies = list(tally.log_to_tick_ms)
    p50, p99 = percentile(latencies, 0.50), percentile(latencies, 0.99)
    return {
        "tokens": len(tally.markets),
        "trades": len(tally.trade_hashes),
        "quotes_checked": tally.quotes_checked,
        "quote_mismatches": tally.quote_mismatches,
        "postgres_trades": stored.trades,
        "mongo_users": stored.users,
        "log_to_tick_ms": {
            "p50": None if p50 is None else round(p50, 2),
            "p99": None if p99 is None else round(p99, 2),
        },
        "graduated": len(tally.graduated),
        "pool_quotes_checked": tally.pool_quotes_checked,
        "pool_trades": tally.pool_trades,
        "foreign_swaps": stored.foreign,
        "seconds": round(time.monotonic() - tally.started, 1),
    }


def passed(tally: Tally, stored: Stored, *, graduate: bool = False) -> bool:
    """Nothing mismatched, nothing missing or doubled in the stores, enough quotes checked;
    with `graduate` a token of each family on its pool, traded by us and by others.
    """
    families = {market.family for market in tally.graduated}
    if graduate and not (
        len(families) == FAMILIES
        and tally.graduations == len(tally.graduated)
        and tally.pool_quotes_checked >= POOL_QUOTES_CHECKED_MIN
        and tally.pool_trades > 0
        and stored.foreign == len(tally.foreign_hashes) > 0
    ):
        return False
    return (
        tally.quote_mismatches == 0
        and tally.quotes_checked >= QUOTES_CHECKED_MIN
        and tally.tick_gaps == 0
        and stored.missing == 0
        and stored.doubled == 0
        and stored.trades == len(tally.trade_hashes)
        and stored.users == len(tally.traders)
        and (tally.wanted_trades is None or len(tally.trade_hashes) == tally.wanted_trades)
    )
