"""Traders, pollers of quotes and a subscriber, all in the caller's loop.

Nothing here trusts the system under test: transactions are signed here and sent to the node
that `send_url` names, straight or through a proxy that breaks; a transaction that is lost or
taken back is simply followed by the next one with the nonce that the chain names.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import aiohttp
from eth_account import Account

from chain import transactions
from chain.rpc import JsonRpc, RpcError
from chain.sender import Node
from deploy.demo.client import Client, new_account
from engine.errors import RiseCurveError
from engine.settings import ChainSettings
from tests.support.servers import Anvil

ETH = 10**18
FOREVER = 2**60
GAS_PRICE = 10**11
POLL_S = 0.1
THINK_S_MAX = 0.4
MINED_S_MAX = 2.0
HARMLESS = {"shard_unavailable", "stale_chain", "overloaded", "store_unavailable"}
_BALANCE_OF = bytes.fromhex("70a08231")


class Market:
    """Sends for one set of keys. `straight` is for reads, `send_url` for what may get lost."""

    def __init__(self, chain: ChainSettings, *, straight_url: str, send_url: str) -> None:
        self.chain = chain
        self.straight = JsonRpc(straight_url, timeout_s=10.0)
        self._sender = Node(JsonRpc(send_url, timeout_s=2.0), chain)
        self._send_rpc = self._sender._rpc

    async def close(self) -> None:
        await self.straight.close()
        await self._send_rpc.close()

    async def send(self, account: Any, data: bytes, *, value: int = 0, gas: int = 400_000) -> bytes:
        """Signed with the nonce that the chain names now; the hash."""
        sender = bytes.fromhex(account.address[2:])
        fields = transactions.unsigned(
            chain_id=self.chain.chain_id,
            sender=sender,
            to=self.chain.launchpad.address,
            data=data,
            value=value,
            gas=gas,
            max_fee=GAS_PRICE,
            max_priority_fee=1,
        )
        nonce = int(
            await self.straight.call("eth_getTransactionCount", [account.address, "latest"]), 16
        )
        signed = account.sign_transaction({**fields, "type": 2, "nonce": nonce})
        return await self._sender.send_raw(bytes(signed.raw_transaction))

    async def mined(self, tx_hash: bytes) -> dict[str, Any] | None:
        """Its receipt, None if it does not come soon: it may have been taken back."""
        deadline = time.monotonic() + MINED_S_MAX
        while time.monotonic() < deadline:
            found = await self.straight.call("eth_getTransactionReceipt", ["0x" + tx_hash.hex()])
            if found is not None:
                return dict(found)
            await asyncio.sleep(0.05)
        return None

    async def launch(self, account: Any, number: int) -> str:
        """The address of a new token of family `number` % 2, EIP-55."""
        salt = number.to_bytes(32, "big")
        data = transactions.create(
            name=f"Chaos {number}",
            symbol=f"C{number}",
            metadata_hash=salt,
            salt=salt,
            curve_id=number % 2,
            min_tokens=0,
            deadline=FOREVER,
        )
        receipt = await self.mined(await self.send(account, data, value=ETH // 100, gas=6_000_000))
        assert receipt is not None and receipt["status"] == "0x1", receipt
        pad = "0x" + self.chain.launchpad.address.hex()
        made = [log for log in receipt["logs"] if log["address"] == pad and len(log["topics"]) > 1]
        return "0x" + made[0]["topics"][1][-40:]

    async def balance(self, token: str, owner: str) -> int:
        data = _BALANCE_OF + bytes(12) + bytes.fromhex(owner[2:])
        call = {"to": token, "data": "0x" + data.hex()}
        return int(await self.straight.call("eth_call", [call, "latest"]), 16)


class Load:
    """`await start()`, then it trades and polls until `stop`; `pause` and `go_on` the trades.

    Per token: `answered` when its quote last came (monotonic), `silence` the longest gap,
    `versions` the newest; `codes` counts errors of quotes, `went_back` older incarnations.
    """

    def __init__(
        self,
        *,
        api: str,
        chain: ChainSettings,
        anvil: Anvil,
        send_url: str,
        seed: int,
        tokens: int = 8,
        traders: int = 8,
    ) -> None:
        self.api = api
        self.random = random.Random(seed)
        self.market = Market(chain, straight_url=anvil.rpc_url, send_url=send_url)
        self._accounts = [Account.from_key(key) for key in anvil.keys()[1 : 1 + traders]]
        self._wanted = tokens
        self.tokens: list[str] = []
        self.sent = 0
        self.mined = 0
        self.errors: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.answered: dict[str, float] = {}
        self.silence: dict[str, float] = defaultdict(float)
        self.versions: dict[str, tuple[int, int]] = {}
        self.newest: dict[str, Any] = {}
        self.went_back: list[str] = []
        self._trading = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._client: Client | None = None

    async def start(self, tokens: Sequence[str] = ()) -> None:
        """Launch tokens, or take these, then begin."""
        self.tokens = list(tokens)
        for number in range(0 if tokens else self._wanted):
            self.tokens.append(await self.market.launch(self._accounts[0], number))
        self._trading.set()
        self._client = Client(self.api, new_account(), self.market.chain.chain_id)
        self._tasks = [asyncio.create_task(self._trade(one)) for one in self._accounts]
        self._tasks += [asyncio.create_task(self._poll(token)) for token in self.tokens]
        deadline = time.monotonic() + 60
        while len(self.answered) < len(self.tokens) or self.mined < len(self._accounts):
            assert time.monotonic() < deadline, (self.codes, self.errors)
            self.check()
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        await self.market.close()

    def pause(self) -> None:
        """No new transactions; quotes are polled on."""
        self._trading.clear()

    def go_on(self) -> None:
        self._trading.set()

    def check(self) -> None:
        """Raise what broke a loop: a fault of this harness."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def forget_silence(self) -> None:
        """Measure the longest silence from here on."""
        self.answered = dict.fromkeys(self.answered, time.monotonic())
        self.silence.clear()
        self.codes.clear()

    def longest_silence_s(self) -> float:
        """Of any token, one that lasts included."""
        now = time.monotonic()
        return max([*self.silence.values(), *(now - at for at in self.answered.values())])

    def all_answer(self, *, since: float) -> bool:
        """Whether every token's quote was asked and answered after `since` (monotonic)."""
        return all(at > since for at in self.answered.values())

    async def quote(self, token: str, **fields: Any) -> dict[str, Any]:
        """A small buy's quote. Raises ApiError, OSError, TimeoutError."""
        assert self._client is not None
        body = {"tokenAddress": token, "type": "buy", "amount": "0.001"} | fields
        return dict(await self._client.post("/api/trading/quote", **body))

    async def _trade(self, account: Any) -> None:
        while True:
            await self._trading.wait()
            await asyncio.sleep(self.random.uniform(0.0, THINK_S_MAX))
            try:
                await self._trade_once(account)
            except (RpcError, RiseCurveError, OSError, TimeoutError) as error:
                self.errors[type(error).__name__] += 1

    async def _trade_once(self, account: Any) -> None:
        token, sender = self.random.choice(self.tokens), bytes.fromhex(account.address[2:])
        address = bytes.fromhex(token[2:])
        held = await self.market.balance(token, account.address)
        value = 0
        if held and self.random.random() < 0.45:
            data = transactions.sell(
                token=address,
                tokens=self.random.randrange(1, held + 1),
                min_eth=0,
                recipient=sender,
                deadline=FOREVER,
            )
        else:
            value = self.random.randrange(ETH // 2_000, ETH // 50)
            data = transactions.buy(token=address, min_tokens=0, recipient=sender, deadline=FOREVER)
        tx_hash = await self.market.send(account, data, value=value)
        self.sent += 1
        self.mined += await self.market.mined(tx_hash) is not None

    async def _poll(self, token: str) -> None:
        while True:
            asked = time.monotonic()
            try:
                quote = await self.quote(token)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                self.codes[type(error).__name__] += 1
            except Exception as error:
                self.codes[str(getattr(error, "code", repr(error)))] += 1
            else:
                self._answer(token, quote, asked)
            await asyncio.sleep(POLL_S)

    def _answer(self, token: str, quote: dict[str, Any], asked: float) -> None:
        now = time.monotonic()
        gap = now - self.answered.get(token, now)
        self.silence[token] = max(self.silence[token], gap)
        # An answer to what was asked before counts for then: so `since` is honest.
        self.answered[token] = max(asked, self.answered.get(token, asked))
        first, second = quote["asOf"]["version"]
        if first < self.versions.get(token, (0, 0))[0]:
            self.went_back.append(f"{token}: {(first, second)} after {self.versions[token]}")
        self.versions[token] = (first, second)
        self.newest[token] = quote


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max by nearest rank, rounded; empty of nothing."""
    if not values:
        return {}
    ordered = sorted(values)
    rank = {"p50": 0.5, "p99": 0.99}
    found = {
        name: ordered[min(int(len(ordered) * share), len(ordered) - 1)]
        for name, share in rank.items()
    }
    return {name: round(value, 3) for name, value in (found | {"max": ordered[-1]}).items()}
