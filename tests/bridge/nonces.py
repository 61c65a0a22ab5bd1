"""Nonces in trouble on a real node: each case ends with a label that the chain confirms.

`Sending` alone, with the real store, on a chain that is mined by hand. A case plays one kind
of trouble, mines until the nonce is settled, and compares the row with the mined transaction.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from eth_hash.auto import keccak

from actors.sending import Sending
from chain.account import TransactionAccount
from chain.nonces import AccountNonces
from chain.source import ChainSource
from chain.vault_logs import TOPICS
from engine.bridge.requests import Key
from storage.bridge_requests import BridgeRequests
from storage.bridge_sends import BridgeSends
from tests.bridge.chains import ETHER, FINAL_BLOCKS, RISE, SEPOLIA, Chains, End

PATIENCE_S = 0.05
ROUNDS_MAX = 60
GWEI = 10**9


@dataclass
class Case:
    """One nonce: the account is the case's own, so cases do not meet."""

    end: End
    pool: Any
    sending: Sending
    node: "Deaf"
    account: TransactionAccount
    key: Key
    rng: random.Random

    async def reserve(self, *, reverting: bool = False) -> None:
        data = keccak(b"release()")[:4] if reverting else b""
        to = self.end.vault if reverting else secrets.token_bytes(20)
        assert await self.sending.reserve(self.key, "release", to=to, data=data, gas=100_000)

    async def round(self) -> None:
        await self.sending.round()

    async def offers(self) -> list[bytes]:
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT tx_hash FROM bridge_offers WHERE sender = $1 ORDER BY number",
                self.account.address,
            )
        return [row["tx_hash"] for row in rows]

    async def raised(self, count: int) -> None:
        """Rounds until there are so many offers."""
        for _ in range(ROUNDS_MAX):
            if len(await self.offers()) >= count:
                return
            await asyncio.sleep(PATIENCE_S)
            await self.round()
        raise AssertionError(f"Expected {count} offers")

    async def row(self) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetchrow(
                "SELECT * FROM bridge_sends WHERE sender = $1 AND request_id = $2",
                self.account.address,
                self.key[2],
            )

    async def settled(self) -> Any:
        for _ in range(ROUNDS_MAX):
            row = await self.row()
            if row["outcome"] is not None:
                return row
            await self.round()
            await self.end.mine(2)
        return await self.row()


class Deaf:
    """A node that drops what is sent to it while it is told to, as a full pool does."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.deaf = False
        self.heard: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send_raw(self, raw: bytes) -> bytes:
        self.heard.append(raw)
        if self.deaf:
            return keccak(raw)
        return bytes(await self._inner.send_raw(raw))


Trouble = Callable[[Case], Awaitable[str]]


async def plain(case: Case) -> str:
    await case.reserve()
    await case.round()
    return "succeeded"


async def reverting(case: Case) -> str:
    await case.reserve(reverting=True)
    await case.round()
    return "reverted"


async def base_fee_spike(case: Case) -> str:
    await case.reserve()
    await case.round()
    block = await case.end.rpc.call("eth_getBlockByNumber", ["latest", False])
    spiked = hex(int(block["baseFeePerGas"], 16) * 20 + 20 * GWEI)
    await case.end.rpc.call("anvil_setNextBlockBaseFeePerGas", [spiked])
    await case.end.mine()
    assert not (await case.row())["mined_block"]
    await case.raised(2)
    return "succeeded"


async def dropped(case: Case) -> str:
    await case.reserve()
    await case.round()
    for tx_hash in await case.offers():
        await case.end.rpc.call("anvil_dropTransaction", ["0x" + tx_hash.hex()])
    return "succeeded"


async def original_after_the_bump(case: Case) -> str:
    # The replacement never reaches a miner: the first offer is mined, after it was given up.
    await case.reserve()
    await case.round()
    case.node.deaf = True
    await case.raised(1 + case.rng.randint(1, 3))
    await case.end.mine()
    case.node.deaf = False
    return "succeeded"


async def used_elsewhere(case: Case) -> str:
    await case.reserve()
    case.node.deaf = case.rng.random() < 0.5
    await case.round()
    for tx_hash in await case.offers():
        await case.end.rpc.call("anvil_dropTransaction", ["0x" + tx_hash.hex()])
    nonce = (await case.row())["nonce"]
    raw, _ = case.account.sign(
        to=secrets.token_bytes(20), data=b"", gas=21_000, nonce=nonce, fees=(900 * GWEI, 50 * GWEI)
    )
    await case.node._inner.send_raw(raw)
    await case.end.mine()
    case.node.deaf = False
    return "elsewhere"


async def taken_back(case: Case) -> str:
    await case.reserve()
    await case.round()
    await case.end.mine()
    await case.round()
    assert (await case.row())["mined_block"]
    await case.end.reorganise(case.rng, 2, drop_all=True)
    return "succeeded"


async def used_elsewhere_and_taken_back(case: Case) -> str:
    await used_elsewhere(case)
    await case.round()
    await case.end.reorganise(case.rng, 2, drop_all=True)
    return "succeeded"


TROUBLES: dict[str, Trouble] = {
    one.__name__: one
    for one in (
        plain,
        reverting,
        base_fee_spike,
        dropped,
        original_after_the_bump,
        used_elsewhere,
        taken_back,
        used_elsewhere_and_taken_back,
    )
}


@dataclass
class Told:
    """How many cases, how many labels were wrong, and what."""

    cases: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


async def run(
    chains: Chains,
    pool: Any,
    rng: random.Random,
    *,
    times: int,
    troubles: dict[str, Trouble] = TROUBLES,
    store: Callable[..., Any] = BridgeSends,
) -> Told:
    """Each trouble so many times."""
    told, began = Told(), time.monotonic()
    for number in range(times):
        for name, trouble in troubles.items():
            end = chains[rng.choice((RISE, SEPOLIA))]
            case = await case_of(chains, end, pool, rng, store=store)
            expected = await trouble(case)
            row = await case.settled()
            told.cases += 1
            fault = await _fault(case, row, expected)
            if fault:
                told.wrong.append(f"{name} {number}: {fault}")
    told.seconds = round(time.monotonic() - began, 1)
    return told


async def case_of(
    chains: Chains,
    end: End,
    pool: Any,
    rng: random.Random,
    *,
    store: Callable[..., Any] = BridgeSends,
    counting: Sequence[Any] = (),
) -> Case:
    """An account of its own with ETH and a request. `counting` are the nodes that say its nonce."""
    account = TransactionAccount(secrets.token_bytes(32), chain_id=end.chain_id)
    await end.rpc.call("anvil_setBalance", ["0x" + account.address.hex(), hex(100 * ETHER)])
    await end.mine(FINAL_BLOCKS)
    key = (end.chain_id, 1, secrets.token_bytes(32))
    await BridgeRequests(pool).open(
        key,
        target_chain=chains.other(end.chain_id).chain_id,
        user=account.address,
        recipient=account.address,
        amount_wei=1,
    )
    node = Deaf(end.node)
    sending = Sending(
        chain_id=end.chain_id,
        account=account,
        node=node,
        nonces=AccountNonces(counting or [end.node]),
        finality=ChainSource(end.rpc, end.settings, topics=TOPICS, tag_only=True),
        store=store(pool),
        log=structlog.get_logger("nonces"),
        cap_wei=5_000 * GWEI,
        patience_s=PATIENCE_S,
        pause_s=1.0,
    )
    return Case(end, pool, sending, node, account, key, rng)


async def _fault(case: Case, row: Any, expected: str) -> str:
    if row["outcome"] != expected:
        return f"is {row['outcome']}, was {expected}"
    if expected == "elsewhere":
        return ""
    tx_hash = "0x" + row["tx_hash"].hex()
    receipt = await case.end.rpc.call("eth_getTransactionReceipt", [tx_hash])
    if receipt is None:
        return f"names {tx_hash}, which no block has"
    succeeded = "succeeded" if receipt["status"] == "0x1" else "reverted"
    return "" if succeeded == expected else f"{tx_hash} {succeeded}, was {expected}"
