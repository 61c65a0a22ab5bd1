"""Sealed quotes against the contract, at the very block hash that they name."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from chain import lens
from chain.rpc import JsonRpc, RpcError
from deploy.demo import amounts
from engine.text import base_units
from tests.chaos.report import Row
from tests.chaos.world import World

BATCH = 16
BURIED_LOOKS = 100
PAUSE_S = 0.02


class QuoteChecker:
    """`round` asks some and compares, `judge` ends the row."""

    def __init__(self, world: World, rng: random.Random, part: str) -> None:
        self.row = Row("quote = contract, to the wei", part)
        self._world = world
        self._rng = rng
        self._gone = 0
        self._refused = 0
        self._last: tuple[dict[str, Any], lens.TradeQuote] | None = None

    async def round(self) -> None:
        """A block that vanished before it was looked at proves nothing, and is counted."""
        asked = [self._request() for _ in range(BATCH)]
        answers = await asyncio.gather(
            *(self._world.load.quote(**one) for one in asked), return_exceptions=True
        )
        for request, answer in zip(asked, answers, strict=True):
            if isinstance(answer, dict):
                await self._compare(request, answer)
            else:
                self._refused += 1

    def judge(self) -> Row:
        self.row.figure = {
            "mismatches": self.row.failures,
            "block_gone": self._gone,
            "refused": self._refused,
        }
        if self._last is not None:
            quote, truth = self._last
            off = replace(truth, tokens=truth.tokens + 1)
            self.row.plant(
                "a quote that is one wei off",
                caught=amounts.of_quote(quote) != amounts.of_contract(off),
            )
        return self.row

    def _request(self) -> dict[str, Any]:
        return {
            "token": self._rng.choice(self._world.load.tokens),
            "type": self._rng.choice(("buy", "sell")),
            "amount": f"0.{self._rng.randrange(1, 10**6):06d}",
            "finality": "sealed",
        }

    async def _compare(self, request: dict[str, Any], quote: dict[str, Any]) -> None:
        pad, as_of = self._world.chain.launchpad, quote["asOf"]
        question = lens.Question(
            token=bytes.fromhex(request["token"][2:]),
            is_buy=request["type"] == "buy",
            exact_out=False,
            amount=base_units(request["amount"]),
            at_block=int(quote["forBlock"]),
        )
        try:
            # Once its block is buried: anvil answers for its newest one from a newer state.
            await self._buried(int(as_of["blockNumber"]))
            (truth,) = await lens.quotes(
                _AtHash(self._world.straight, as_of["blockHash"]),  # type: ignore[arg-type]
                pad.lens,
                launchpad=pad.address,
                questions=[question],
                block=int(as_of["blockNumber"]),
            )
        except RpcError:
            self._gone += 1
            return
        self.row.trials += 1
        if truth is None or amounts.of_quote(quote) != amounts.of_contract(truth):
            self.row.fail(f"{request} {quote} {truth}"[:600])
        else:
            self._last = quote, truth

    async def _buried(self, number: int) -> None:
        for _ in range(BURIED_LOOKS):
            if int(await self._world.straight.call("eth_blockNumber", []), 16) > number:
                return
            await asyncio.sleep(PAUSE_S)


class _AtHash:
    # The lens asks by number; what was quoted has a hash.
    def __init__(self, rpc: JsonRpc, block_hash: str) -> None:
        self._rpc = rpc
        self._at = {"blockHash": block_hash}

    async def call(self, method: str, params: list[Any]) -> Any:
        return await self._rpc.call(method, [params[0], self._at])
