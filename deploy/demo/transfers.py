"""The demo of the bridge: real transfers both ways, judged by the chains themselves.

Each transfer has a recipient of its own that owns nothing. So what the recipient owns afterwards
says what was paid: less than the message promises is lost, more was released twice. The vaults'
own events are counted beside it.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account

from chain.rpc import JsonRpc, RpcError
from chain.vault_logs import TOPIC_OF
from deploy.demo import funding
from deploy.demo.client import ApiError, Client, new_account
from deploy.demo.tally import percentile
from deploy.process import StartError
from deploy.session import Session
from engine.errors import TransientError
from engine.settings import ChainSettings
from engine.text import address, base_units, hex_of, units

ETH = 10**18
WALLETS_MAX = 10
WALLET_WEI = 50 * ETH
UNDER_WAY_MAX = 2
"""Transfers of one wallet at once: the seconds are a user's, not those of a queue."""

AMOUNT_WEI = (ETH // 200, ETH // 10)
POLL_S = 0.5
FINALITY_POLL_S = 0.2
OPEN_S = 60.0
"""Until the relayer has seen both chains finalise and said so."""

BASE_TIMEOUT_S = 120.0
TRANSFER_TIMEOUT_S = 3.0
"""More of the bound for each transfer."""

WAYS = ("deposit", "withdraw")
Say = Callable[[str], None]


@dataclass
class One:
    """A transfer as it went. `promised` is what the recipient is to get, wei; `final_s` when the
    deposit's block was final at its node, `seconds` when the transfer had ended, both since it
    `began`.
    """

    way: str
    id: str
    recipient: str
    promised: int
    began: float
    tx_hash: str = ""
    seconds: float | None = None
    final_s: float | None = None
    status: str = "PENDING"
    paid: int = 0
    message: str = ""


@dataclass
class Demo:
    """`chains`: source of a deposit and of a withdrawal, by way."""

    api_url: str
    chains: dict[str, ChainSettings]
    transfers: int
    seed: int
    say: Say
    done: list[One] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._rpcs = {way: JsonRpc(one.rpc_url, timeout_s=10.0) for way, one in self.chains.items()}
        self._clients: list[Client] = []
        self._nonces: Counter[tuple[str, str]] = Counter()
        self._began_at: dict[str, int] = {}
        self._final: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}

    async def run(self) -> None:
        """All transfers, to their end or to the bound."""
        await self._prepare()
        self.say(f"{self.transfers} transfers between the chains, both ways")
        timeout_s = BASE_TIMEOUT_S + TRANSFER_TIMEOUT_S * self.transfers
        watches = [asyncio.create_task(self._watch_finality(way)) for way in WAYS]
        try:
            async with asyncio.timeout(timeout_s):
                shares = [
                    self._wallet(client, range(n, self.transfers, len(self._clients)))
                    for n, client in enumerate(self._clients)
                ]
                await asyncio.gather(*shares)
        except TimeoutError:
            self.errors.append(f"Expected all transfers to end in {timeout_s:.0f} s")
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
        for one in self.done:
            one.paid = await self._balance(_other(one.way), one.recipient)
            one.final_s = await self._finality(one)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(client.close() for client in self._clients))
        await asyncio.gather(*(rpc.close() for rpc in self._rpcs.values()))

    async def payments(self) -> Counter[str]:
        """How often the vaults have said since that each message was paid, here or back there."""
        found: Counter[str] = Counter()
        for way, chain in self.chains.items():
            assert chain.vault is not None, "Expected a vault"
            query = {
                "address": address(chain.vault.address),
                "fromBlock": hex(self._began_at[way]),
                "toBlock": "latest",
                "topics": [[hex_of(TOPIC_OF[name]) for name in ("Released", "Refunded")]],
            }
            logs = await self._rpcs[way].call("eth_getLogs", [query])
            found.update(log["topics"][1] for log in logs)
        return found

    # -------------------------------------------------------------------- private

    async def _prepare(self) -> None:
        rise = self.chains["withdraw"]
        count = min(WALLETS_MAX, self.transfers)
        self._clients = [Client(self.api_url, new_account(), rise.chain_id) for _ in range(count)]
        addresses = [client.address for client in self._clients]
        self.say(f"{count} wallets get {WALLET_WEI // ETH} ETH each on both chains")
        for way, chain in self.chains.items():
            self._began_at[way] = int(await self._rpcs[way].call("eth_blockNumber", []), 16)
            await funding.fund(
                self._rpcs[way], chain.chain_id, addresses=addresses, amount_wei=WALLET_WEI
            )
        self.say("the wallets log in with Ethereum")
        await asyncio.gather(*(client.login() for client in self._clients))
        await self._until_open()

    async def _until_open(self) -> None:
        deadline = time.monotonic() + OPEN_S
        while not (await self._clients[0].get("/api/config"))["bridge"]["available"]:
            if time.monotonic() > deadline:
                raise StartError(f"The bridge takes no transfers after {OPEN_S:.0f} s.")
            await asyncio.sleep(POLL_S)

    async def _wallet(self, client: Client, numbers: range) -> None:
        # Deposits one after the other, since nonces are; a few of them are under way at once.
        room = asyncio.Semaphore(UNDER_WAY_MAX)
        async with asyncio.TaskGroup() as tasks:
            for number in numbers:
                await room.acquire()
                one = await self._begin(client, WAYS[number % len(WAYS)])
                if one is None:
                    room.release()
                    continue
                self.done.append(one)
                task = tasks.create_task(self._follow(client, one))
                task.add_done_callback(lambda _: room.release())

    async def _begin(self, client: Client, way: str) -> One | None:
        recipient = str(Account.create().address)
        amount = self._random.randrange(*AMOUNT_WEI)
        try:
            begun = await client.post(
                f"/api/bridge/{way}", amount=units(amount), targetAddress=recipient
            )
        except (ApiError, OSError, TimeoutError) as error:
            self.errors.append(f"{way}: {error}")
            return None
        one = One(way, begun["id"], recipient, base_units(begun["receives"]), time.monotonic())
        return one if await self._sent(client, one, begun["transaction"]) else None

    async def _sent(self, client: Client, one: One, transaction: dict[str, str]) -> bool:
        way = one.way
        place, rpc = (way, client.address), self._rpcs[way]
        wanted = ("to", "data", "value", "chainId", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
        fields: dict[str, Any] = {name: transaction[name] for name in wanted}
        nonce = self._nonces[place]
        signed = client.account.sign_transaction(fields | {"nonce": nonce, "type": 2})
        one.tx_hash = signed.hash.to_0x_hex()
        try:
            await rpc.call("eth_sendRawTransaction", [signed.raw_transaction.to_0x_hex()])
        except (RpcError, TransientError) as error:
            # Perhaps it was taken all the same: the node's count says so.
            self.errors.append(f"{way}: {error}")
        found = await rpc.call("eth_getTransactionCount", [client.address, "pending"])
        self._nonces[place] = int(found, 16)
        return self._nonces[place] > nonce

    async def _follow(self, client: Client, one: One) -> None:
        while one.status not in ("COMPLETED", "FAILED"):
            await asyncio.sleep(POLL_S)
            try:
                state = await client.get(f"/api/bridge/status/{one.id}")
            except (ApiError, OSError, TimeoutError) as error:
                self.errors.append(f"status: {error}")
                continue
            one.status, one.message = state["status"], state["messageId"] or ""
        one.seconds = time.monotonic() - one.began

    async def _watch_finality(self, way: str) -> None:
        while True:
            with contextlib.suppress(RpcError, TransientError):
                block = await self._rpcs[way].call("eth_getBlockByNumber", ["finalized", False])
                if block is not None:
                    self._final[way].append((time.monotonic(), int(block["number"], 16)))
            await asyncio.sleep(FINALITY_POLL_S)

    async def _finality(self, one: One) -> float | None:
        receipt = await self._rpcs[one.way].call("eth_getTransactionReceipt", [one.tx_hash])
        if receipt is None:
            return None
        number = int(receipt["blockNumber"], 16)
        seen = (at for at, final in self._final[one.way] if final >= number)
        return next((at - one.began for at in seen), None)

    async def _balance(self, way: str, who: str) -> int:
        return int(await self._rpcs[way].call("eth_getBalance", [who, "latest"]), 16)


def summary(demo: Demo, payments: Counter[str]) -> dict[str, Any]:
    """The JSON line; seconds from a deposit that was sent to `COMPLETED` at the door, and how
    much of them came after the deposit was final.
    """
    ended = [one for one in demo.done if one.status == "COMPLETED" and one.seconds is not None]
    took = [one.seconds for one in ended if one.seconds is not None]
    known_final = [(one.seconds, one.final_s) for one in ended]
    after = [took_s - at for took_s, at in known_final if took_s is not None and at is not None]
    twice = {one.id for one in demo.done if one.paid > one.promised}
    twice |= {message for message, count in payments.items() if count > 1}
    known = {one.message for one in demo.done}
    twice |= {message for message in payments if message not in known}
    return {
        "transfers": demo.transfers,
        "completed": len(ended),
        "double_released": len(twice),
        "lost": sum(one.paid < one.promised for one in demo.done),
        "seconds": _quantiles(took),
        "seconds_after_finality": _quantiles(after),
    }


def _quantiles(values: list[float]) -> dict[str, float | None]:
    found = {"p50": percentile(values, 0.50), "p99": percentile(values, 0.99)}
    return {name: None if value is None else round(value, 2) for name, value in found.items()}


async def run(
    running: Session, transfers: int, seed: int, *, say: Say
) -> tuple[bool, dict[str, Any], str]:
    """(whether all was as it should be, what `--json` prints, the verdict for humans)."""
    rise, sepolia = running.settings.rise, running.settings.sepolia
    if sepolia is None or sepolia.vault is None or rise.vault is None:
        raise StartError("The demo of the bridge needs a vault on both chains.")
    chains = {"deposit": sepolia, "withdraw": rise}
    demo = Demo(running.file.api_url, chains, transfers, seed, say)
    try:
        await demo.run()
        data = summary(demo, await demo.payments())
    finally:
        await demo.close()
    ok = data["completed"] == transfers and not data["double_released"] and not data["lost"]
    if not ok:
        for one in demo.done:
            if one.status != "COMPLETED" or one.paid != one.promised:
                say(f"{one.way} {one.id}: {one.status}, {one.paid} paid of {one.promised}")
        for error in demo.errors[-5:]:
            say(f"last errors: {error}")
    text = (
        f"{data['completed']} of {transfers} transfers completed, {data['double_released']} paid"
        f" twice, {data['lost']} lost; half of them in {data['seconds']['p50']} s, 99 % in"
        f" {data['seconds']['p99']} s, which is {data['seconds_after_finality']['p99']} s after the"
        " deposit was final."
    )
    return ok, data, text


def _other(way: str) -> str:
    return WAYS[1 - WAYS.index(way)]
