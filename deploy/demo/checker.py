"""Asks for quotes at random and compares each with the contract, at the block it names."""

import asyncio
import random
from collections import defaultdict
from typing import Any

from socketio.exceptions import SocketIOError

from chain import lens
from chain.rpc import JsonRpc, RpcError
from deploy.demo import amounts
from deploy.demo.tally import Tally
from deploy.demo.watcher import Watcher
from engine import text
from engine.errors import TransientError

ETH = 10**18
BATCH = 40
PAUSE_S = 0.5
BURIED_LOOKS = 20
REFUSALS = ("exceeds_sold", "zero_output", "market_graduating")


class Checker:
    """Quotes over Socket.IO in batches; the contract is read through its lens."""

    def __init__(
        self,
        watcher: Watcher,
        rpc: JsonRpc,
        *,
        launchpad: bytes,
        lens_address: bytes,
        tokens: list[str],
        tally: Tally,
        seed: int,
    ) -> None:
        self._watcher = watcher
        self._rpc = rpc
        self._launchpad = launchpad
        self._lens = lens_address
        self._tokens = tokens
        self._tally = tally
        self._random = random.Random(seed)

    async def run(self, at_least: int | None, pool_at_least: int = 0) -> None:
        """Check until `at_least` are checked, `pool_at_least` of them on pools, and the trades
        are complete, or for ever.
        """
        while True:
            enough = at_least is not None and self._tally.quotes_checked >= at_least
            enough = enough and self._tally.pool_quotes_checked >= pool_at_least
            if enough and self._tally.complete:
                return
            try:
                await self._round()
            except SocketIOError as error:
                self._tally.errors.append(f"quotes: {error!r}")
            await asyncio.sleep(PAUSE_S if not self._tally.complete else 0)

    async def _round(self) -> None:
        requests = [self._request() for _ in range(BATCH)]
        answers = await asyncio.gather(*(self._watcher.quote(**r) for r in requests))
        by_block: dict[int, list[tuple[dict[str, Any], dict[str, Any]]]] = defaultdict(list)
        for request, answer in zip(requests, answers, strict=True):
            if answer.get("success"):
                by_block[int(answer["data"]["asOf"]["blockNumber"])].append(
                    (request, answer["data"])
                )
            elif answer["error"]["code"] not in REFUSALS:
                self._tally.errors.append(f"quote: {answer['error']['code']}")
        for block, pairs in by_block.items():
            await self._compare(block, pairs)

    async def _compare(
        self, block: int, pairs: list[tuple[dict[str, Any], dict[str, Any]]]
    ) -> None:
        try:
            different = await self._differences(block, pairs)
            if different:
                # anvil answers a call at its newest block from the state it has when the call
                # gets its turn, which may be the next block's. A buried block's state is fixed.
                await self._until_buried(block)
                different = await self._differences(block, [pair for pair, _ in different])
        except (RpcError, TransientError) as error:
            self._tally.errors.append(f"contract: {error}")
            return
        on_pools = sum(data["phase"] == "graduated" for _, data in pairs)
        self._tally.quoted(len(pairs), on_pools=on_pools)
        for pair, truth in different:
            self._tally.quote_mismatches += 1
            self._tally.mismatches.append(f"{pair} {truth}")

    async def _differences(
        self, block: int, pairs: list[tuple[dict[str, Any], dict[str, Any]]]
    ) -> list[tuple[tuple[dict[str, Any], dict[str, Any]], lens.TradeQuote | None]]:
        asked = [_lens_question(request, data) for request, data in pairs]
        truths = await lens.quotes(
            self._rpc, self._lens, launchpad=self._launchpad, questions=asked, block=block
        )
        return [
            (pair, truth)
            for pair, truth in zip(pairs, truths, strict=True)
            if truth is None or amounts.of_quote(pair[1]) != amounts.of_contract(truth)
        ]

    async def _until_buried(self, block: int) -> None:
        for _ in range(BURIED_LOOKS):
            if int(await self._rpc.call("eth_blockNumber", []), 16) > block:
                return
            await asyncio.sleep(PAUSE_S)
        raise TransientError("stale_chain", f"Expected a block above {block}, none came")

    def _request(self) -> dict[str, Any]:
        side = self._random.choice(("buy", "sell"))
        mode = self._random.choice(("exactIn", "exactOut"))
        in_eth = (side == "buy") == (mode == "exactIn")
        top = (
            10 ** self._random.randrange(6, 20) if in_eth else 10 ** self._random.randrange(12, 26)
        )
        return {
            "tokenAddress": self._random.choice(self._tokens),
            "type": side,
            "mode": mode,
            "amount": text.units(self._random.randrange(1, top)),
        }


def _lens_question(request: dict[str, Any], data: dict[str, Any]) -> lens.Question:
    return lens.Question(
        token=bytes.fromhex(request["tokenAddress"][2:]),
        is_buy=request["type"] == "buy",
        exact_out=request["mode"] == "exactOut",
        amount=text.base_units(request["amount"]),
        at_block=int(data["forBlock"]),
    )
