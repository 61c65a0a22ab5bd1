"""Traders: their decisions are random, everything else is real."""

import asyncio
import random

from chain.rpc import JsonRpc, RpcError
from deploy.demo.client import ApiError, Client
from deploy.demo.tally import MarketLine, Tally
from engine import text
from engine.errors import TransientError

ETH = 10**18
PROGRESS_MAX_BPS = 6_000
"""Above it only sells: traders complete no curve, `--graduate` does."""

THINK_S_MAX = 1.0

NAMES = (
    ("Morning Tide", "TIDE"),
    ("Paper Crane", "CRANE"),
    ("Slow Comet", "COMET"),
    ("Velvet Goose", "GOOSE"),
    ("Copper Fox", "FOX"),
    ("Night Kettle", "KETTLE"),
    ("Salt Rabbit", "SALT"),
    ("Amber Whale", "AMBER"),
)


async def launch_tokens(client: Client, tally: Tally, share: range) -> list[str]:
    """Launch the tokens of these numbers: families in turn, half of them with a first buy."""
    addresses = []
    for index in share:
        name, symbol = NAMES[index % len(NAMES)]
        family = ("constant_product", "linear")[index % 2]
        body = {"name": name, "symbol": symbol, "description": f"{name}, a demo token."}
        if index % 4 < 2:
            body["initialBuyEth"] = "0.01"
        created = await client.post("/api/tokens/create", curve=family, **body)
        state = await client.send(created["transaction"])
        if state["status"] != "CONFIRMED":
            raise RuntimeError(f"The launch of {name} failed: {state}")
        address = str(created["tokenAddress"])
        tally.markets[address] = MarketLine(name, symbol, family)
        addresses.append(address)
    return addresses


class Trader:
    """One wallet that buys and sells until the tally has enough, or for ever."""

    def __init__(
        self, client: Client, tokens: list[str], tally: Tally, *, seed: int, rpc: JsonRpc
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._tally = tally
        self._random = random.Random(seed)
        self._rpc = rpc
        self._holdings: dict[str, int] = {}

    async def run(self) -> None:
        """Trade until the tally is complete."""
        while not self._tally.complete:
            if not self._tally.ticket():
                await asyncio.sleep(0.05)
                continue
            # People and bots think; without it all would act in the same instant of a block.
            await asyncio.sleep(self._random.uniform(0.0, THINK_S_MAX))
            await self._trade()

    async def _trade(self) -> None:
        markets = self._tally.markets
        open_ = [token for token in self._tokens if markets[token].phase != "graduating"]
        token = self._random.choice(open_ or self._tokens)
        on_pool = markets[token].phase == "graduated"
        try:
            side, body = self._decide(token)
            answer = await self._client.post(f"/api/trading/{side}", tokenAddress=token, **body)
            state = await self._client.send(answer["transaction"])
        except (ApiError, OSError, TimeoutError) as error:
            self._tally.not_traded()
            self._tally.errors.append(str(error))
            await self._resync()
            return
        if state["status"] != "CONFIRMED":
            self._tally.not_traded(reverted=True)
            return
        self._settle(token, side, state)
        self._tally.traded(str(state["txHash"]))
        self._tally.pool_trades += on_pool

    async def _resync(self) -> None:
        try:
            await self._client.resync(self._rpc)
        except (TransientError, RpcError) as error:
            self._tally.errors.append(f"resync: {error}")

    def _decide(self, token: str) -> tuple[str, dict[str, str]]:
        market, held = self._tally.markets[token], self._holdings.get(token, 0)
        full = market.phase == "curve" and market.progress_bps > PROGRESS_MAX_BPS
        if held and (full or self._random.random() < 0.45):
            part = held if self._random.random() < 0.2 else self._random.randrange(1, held + 1)
            return "sell", {"tokenAmount": text.units(part), "slippage": "50"}
        wei = self._random.randrange(ETH // 2_000, ETH // 50) // (50 if full else 1)
        return "buy", {"ethAmount": text.units(wei), "slippage": "50"}

    def _settle(self, token: str, side: str, state: dict[str, object]) -> None:
        fill = state.get("fill")
        if isinstance(fill, dict):
            moved = text.base_units(str(fill["tokenAmount"]))
            sign = 1 if side == "buy" else -1
            self._holdings[token] = self._holdings.get(token, 0) + sign * moved
