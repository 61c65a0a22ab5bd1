"""Transfers both ways while everything dies: relayers, attestors, and blocks of both chains.

A run deposits in waves. Some deposits name a request of the doors, some another's, some none.
In the last wave the attestors are silent until it is too late for a release, so that it is
cancelled and refunded. The window of both vaults is too small for all of it at once: what is
queued is paid a day later. A user whose deposit a reorganisation took away sends it again.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from chain import vault
from chain.account import DigestKey
from tests.bridge import checks
from tests.bridge.chains import DEPTH_MAX, ETHER, RISE, SEPOLIA, Chains, End
from tests.bridge.checks import Findings
from tests.bridge.world import World
from tests.support.tasks import beside

RELAYERS = ("relayer-a", "relayer-b")
BLOCK_S = 0.2
DAY_AND_MORE_S = 26 * 3_600
SENDER_S = 0.01

# Where a relayer may die, and how likely, each time it passes: sign, record, send, receipt.
CHANCES = {
    "reserve<": 0.01,
    "reserve>": 0.02,
    "sign>": 0.02,
    "offer<": 0.01,
    "offer>": 0.02,
    "send_raw<": 0.01,
    "send_raw>": 0.02,
    "receipt>": 0.004,
    "settle<": 0.01,
    "settle>": 0.01,
    "feed<": 0.001,
    "feed>": 0.001,
    "end<": 0.01,
    "end>": 0.01,
    "advance>": 0.001,
}
ATTESTOR_CHANCES = {"append<": 0.01, "append>": 0.01, "answer": 0.01}


@dataclass
class Transfer:
    """One deposit; `tx_hash` the last time it was sent."""

    chain_id: int
    key: bytes
    recipient: bytes
    amount: int
    ref: bytes
    tx_hash: bytes = b""


@dataclass
class Run:
    """What happened."""

    transfers: list[Transfer] = field(default_factory=list)
    reorgs: int = 0
    dropped: int = 0
    again: int = 0
    jumps: int = 0
    seconds: float = 0.0
    limit_s: float = 0.0


@dataclass
class Plan:
    """How much. `reorg_every_s` for each chain."""

    transfers: int
    users: int = 16
    refunded: float = 0.15
    reorg_every_s: float = 2.0
    chances: dict[str, float] = field(default_factory=lambda: dict(CHANCES))
    attestor_chances: dict[str, float] = field(default_factory=lambda: dict(ATTESTOR_CHANCES))
    limit_s: float = 400.0


async def run(world: World, plan: Plan) -> tuple[Run, Findings]:
    """All transfers to their ends, or until the time is over; then everything is compared."""
    told = Run(limit_s=plan.limit_s)
    began = time.monotonic()
    await _fund(world.chains, _users(plan))
    async with world.chains.mined(BLOCK_S), world.listening(), world.checking():
        for index in range(3):
            world.attestor(index, plan.attestor_chances)
        async with (
            beside(world.watch(name) for name in world.attestors),
            beside(world.alive(name, plan.chances) for name in RELAYERS) as relayers,
        ):
            try:
                async with _reorganising(world, plan, told), asyncio.timeout(plan.limit_s):
                    await _waves(world, plan, told)
            except TimeoutError:
                world.log.error(
                    "run_late", listeners=[one.status() for one in world.listeners.values()]
                )
        for task in relayers:
            if not task.cancelled() and task.exception() is not None:
                raise task.exception() or AssertionError
    told.seconds = time.monotonic() - began
    found = await checks.findings(world)
    if world.checker is not None and world.checker.alarm is not None:
        found.add("rows", f"false alarm: {world.checker.alarm}")
    return told, found


async def _waves(world: World, plan: Plan, told: Run) -> None:
    users = _users(plan)
    late = int(plan.transfers * plan.refunded)
    await _deposit(world, told, users, plan.transfers - late)
    await _ended(world, told, plan.transfers - late)
    world.town.silent.add("attestor")
    await _deposit(world, told, users, late)
    await _deposited(world, told)
    await world.chains.pass_time(DAY_AND_MORE_S)
    told.jumps += 1
    world.town.silent.clear()
    await _ended(world, told, plan.transfers)


def _users(plan: Plan) -> list[bytes]:
    return [keccak(b"user %d" % number) for number in range(plan.users)]


async def _fund(chains: Chains, users: Sequence[bytes]) -> None:
    for end in chains.ends.values():
        for key in users:
            address = "0x" + DigestKey(key).address.hex()
            await end.rpc.call("anvil_setBalance", [address, hex(10_000 * ETHER)])
        await end.mine(DEPTH_MAX + 1)  # no reorganisation takes it away again


async def _deposit(world: World, told: Run, users: Sequence[bytes], count: int) -> None:
    rng = world.rng
    for _ in range(count):
        end = world.chains[rng.choice((RISE, SEPOLIA))]
        transfer = Transfer(
            end.chain_id,
            rng.choice(users),
            secrets.token_bytes(20),
            rng.randint(1, 2 * ETHER),
            await _ref(world, rng, end, users),
        )
        told.transfers.append(transfer)
        await _send(world, transfer)
        await asyncio.sleep(rng.uniform(0, 2 * SENDER_S))


async def _ref(world: World, rng: random.Random, end: End, users: Sequence[bytes]) -> bytes:
    # None, one that was given to this user or to another, or one that nobody was given.
    dice = rng.random()
    if dice < 0.3:
        return bytes(32)
    ref = secrets.token_bytes(32)
    if dice < 0.9:
        from storage.bridge_requests import BridgeRequests

        await BridgeRequests(world.pool).open(
            (end.chain_id, 1, ref),
            target_chain=world.chains.other(end.chain_id).chain_id,
            user=DigestKey(rng.choice(users)).address,
            recipient=bytes(20),
            amount_wei=1,
        )
    return ref


async def _send(world: World, transfer: Transfer) -> None:
    end = world.chains[transfer.chain_id]
    data = vault.deposit(
        recipient=transfer.recipient,
        target_chain=world.chains.other(end.chain_id).chain_id,
        ref=transfer.ref,
    )
    transfer.tx_hash = await end.send(transfer.key, to=end.vault, data=data, value=transfer.amount)


async def _deposited(world: World, told: Run) -> None:
    # Until each deposit is final: who lost one to a reorganisation sends it again.
    waiting = list(told.transfers)
    while waiting:
        still = []
        for transfer in waiting:
            end = world.chains[transfer.chain_id]
            receipt = await end.rpc.call(
                "eth_getTransactionReceipt", ["0x" + transfer.tx_hash.hex()]
            )
            if receipt is None:
                pooled = await end.rpc.call(
                    "eth_getTransactionByHash", ["0x" + transfer.tx_hash.hex()]
                )
                if pooled is None:
                    await _send(world, transfer)
                    told.again += 1
            elif int(receipt["blockNumber"], 16) <= await end.finalised():
                continue
            still.append(transfer)
        waiting = still
        await asyncio.sleep(BLOCK_S)


async def _ended(world: World, told: Run, count: int) -> None:
    await _deposited(world, told)
    stood = (-1, time.monotonic())
    while True:
        async with world.pool.acquire() as connection:
            ended = await connection.fetchval(
                "SELECT count(*) FROM bridge_requests"
                " WHERE ended_at IS NOT NULL AND message_id IS NOT NULL"
            )
            full = await connection.fetchval(
                "SELECT count(*) FROM bridge_requests"
                " WHERE ended_at IS NULL AND reason = 'WindowFull'"
            )
            open_ = await connection.fetchval(
                "SELECT count(*) FROM bridge_sends WHERE outcome IS NULL"
            )
        if ended >= count and not open_:
            return
        if ended != stood[0]:
            stood = (ended, time.monotonic())
        if full and time.monotonic() - stood[1] > 20 * BLOCK_S:
            # Nothing goes any more but what is over the window: a day later it does.
            await world.chains.pass_time(DAY_AND_MORE_S)
            told.jumps += 1
            stood = (ended, time.monotonic())
        await asyncio.sleep(BLOCK_S)


@asynccontextmanager
async def _reorganising(world: World, plan: Plan, told: Run) -> AsyncIterator[None]:
    async def keep(end: End) -> None:
        while True:
            await asyncio.sleep(world.rng.uniform(0.5, 1.5) * plan.reorg_every_s)
            end.mining.clear()
            dropped = await end.reorganise(world.rng, world.rng.randint(1, DEPTH_MAX))
            end.mining.set()
            if dropped >= 0:
                told.reorgs += 1
                told.dropped += dropped

    try:
        async with beside(keep(end) for end in world.chains.ends.values()):
            yield
    finally:
        for end in world.chains.ends.values():
            end.mining.set()
