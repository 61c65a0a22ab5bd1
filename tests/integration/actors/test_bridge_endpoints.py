"""A lying endpoint beside an honest one, over real chains: nobody signs, nobody halts for good, the
checker pauses.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from chain import vault
from chain.account import DigestKey
from deploy import datadir
from deploy.embedded import Embedded
from engine.bridge.control import RELEASE, Attest, Attested, Declined
from tests.bridge import planted, theft
from tests.bridge.chains import (
    ETHER,
    FINAL_BLOCKS,
    RISE,
    SEPOLIA,
    SIGNER_KEYS,
    End,
    opened,
    stolen,
)
from tests.bridge.world import World, built
from tests.support.lying_rpc import LyingRpc, Recorded

PAUSE_S_MAX = 1.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[Embedded]:
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        yield embedded


@pytest.fixture
async def world(nodes: Embedded, postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        opened(nodes) as chains,
        built(chains, postgres_url, tmp_path, random.Random(1)) as one,
    ):
        yield one


async def final_deposit(world: World) -> Attest:
    source, target = world.chains[RISE], world.chains[SEPOLIA]
    message, block = await planted.deposited(source, target, secrets.token_bytes(32))
    await asyncio.gather(source.mine(FINAL_BLOCKS + 1), target.mine(FINAL_BLOCKS + 1))
    return Attest(RELEASE, message, block)


@asynccontextmanager
async def two_endpoints(world: World) -> AsyncIterator[LyingRpc]:
    """Of RISE: one that may lie, and the node itself."""
    url = world.chains[RISE].settings.rpc_url
    async with LyingRpc(url) as liar:
        world.endpoints = {RISE: [liar.rpc_url, url]}
        yield liar


def other_chain(method: str, params: Any, found: Any) -> Any:
    return "0x1" if method == "eth_chainId" else found


def no_deposits(method: str, params: Any, found: Any) -> Any:
    return "0x" + bytes(96).hex() if method == "eth_call" else found


def other_hashes(method: str, params: Any, found: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] != "finalized" and found:
        return found | {"hash": "0x" + "ee" * 32}
    return found


async def test_deposit_that_one_endpoint_invents_is_signed_by_nobody(world: World) -> None:
    assert not await planted.signs_for_a_liar(world)
    assert world.attestors["attestor-1"]._memory.entries == []


@pytest.mark.parametrize("lie", [other_chain, no_deposits, other_hashes])
async def test_deposit_that_one_endpoint_denies_is_signed_once_they_agree_again(
    world: World, lie: Any
) -> None:
    asked = await final_deposit(world)
    async with two_endpoints(world) as liar:
        attestor = world.attestor(0, {})
        liar.lie = lie
        for _ in range(2):
            answer = await attestor.attest(asked)
            # What cannot even be read consistently is no answer, and that is too few.
            assert isinstance(answer, Declined) and answer.code in ("disagreement", "trouble")
        liar.lie = None
        assert isinstance(await attestor.attest(asked), Attested)
        assert attestor._memory.halted() is None


async def test_endpoint_that_is_away_leaves_too_few_and_three_are_enough(world: World) -> None:
    asked = await final_deposit(world)
    async with two_endpoints(world) as liar:
        liar.away = True
        answer = await world.attestor(0, {}).attest(asked)
        assert isinstance(answer, Declined) and answer.code == "trouble"
        world.endpoints[RISE].append(world.chains[RISE].settings.rpc_url)
        assert isinstance(await world.attestor(0, {}).attest(asked), Attested)


async def test_attested_block_that_one_endpoint_denies_stops_for_a_while_and_halts_not(
    world: World,
) -> None:
    asked = await final_deposit(world)
    async with two_endpoints(world) as liar:
        attestor = world.attestor(0, {})
        assert isinstance(await attestor.attest(asked), Attested)
        liar.lie = other_hashes
        await attestor.watch()
        answer = await attestor.attest(asked)
        assert isinstance(answer, Declined) and answer.code == "disagreement"
        assert attestor._memory.halted() is None
        liar.lie = None
        await attestor.watch()
        assert isinstance(await attestor.attest(asked), Attested)


async def test_attested_block_that_is_gone_by_both_endpoints_halts_for_good(world: World) -> None:
    asked = await final_deposit(world)
    source = world.chains[RISE]
    async with two_endpoints(world) as liar:
        attestor, memory = world.attestor(0, {}), Recorded()
        liar.lie = memory
        assert isinstance(await attestor.attest(asked), Attested)
        await attestor.watch()
        memory.recording = False
        depth = await source.head() - asked.block_number + 1
        await source.reorganise(random.Random(1), depth, drop_all=True)
        await source.mine(FINAL_BLOCKS)
        await attestor.watch()
        # The honest one alone is not ignored, and does not halt it either.
        assert attestor._memory.halted() is None
        assert isinstance(await attestor.attest(asked), Declined)
        liar.lie = None
        await attestor.watch()
        assert attestor._memory.halted() is not None
        successor = await world.attestor(0, {}).attest(asked)
        assert isinstance(successor, Declined) and successor.code == "halted"


# ------------------------------------------------------------------- the checker


def covering(source: End, message: Any, log: Any) -> Any:
    """An endpoint of the source that knows a deposit which nobody made."""
    record = encode(["address", "uint256", "bool"], [message.depositor, message.amount, False])

    def lie(method: str, params: Any, found: Any) -> Any:
        text = str(params)
        if message.id.hex() not in text:
            return found
        if method == "eth_call":
            return "0x" + record.hex()
        return [log] if method == "eth_getLogs" else found

    return lie


async def paused_after(world: World) -> float:
    began = time.monotonic()
    async with asyncio.timeout(20):
        while not all([await end.view.paused() for end in world.chains.ends.values()]):
            await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.parametrize("liar_at", [0, 1])
async def test_theft_that_one_endpoint_covers_is_paused_at_once(
    world: World, liar_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = world.chains[RISE], world.chains[SEPOLIA]
    real, block = await planted.deposited(source, target, secrets.token_bytes(32))
    logs = await source.rpc.call(
        "eth_getLogs",
        [{"address": "0x" + source.vault.hex(), "fromBlock": hex(block), "toBlock": hex(block)}],
    )
    forged = theft.forged(world, target)
    # The log of the real deposit, told of the forged one.
    topics = [logs[0]["topics"][0], *(one.hex() for one in (forged.id, bytes(32)))]
    depositor = forged.depositor.rjust(32, b"\0").hex()
    log = logs[0] | {
        "topics": ["0x" + one.removeprefix("0x") for one in [*topics, depositor]],
        "data": "0x" + (real.nonce.to_bytes(32, "big") + forged.words).hex(),
    }
    async with two_endpoints(world) as liar, world.chains.mined(0.2):
        if liar_at:
            world.endpoints[RISE].reverse()
        liar.lie = covering(source, forged, log)
        async with world.checking() as checker:
            end = checker._ends[RISE]
            found = await end.witnesses[liar_at].deposits.message(forged.id)
            assert found == forged, "Expected a lie that is believed alone"
            await asyncio.sleep(1.0)
            assert checker.alarm is None
            monkeypatch.setattr(theft, "forged", lambda *_: forged)
            await theft.steal(world, target)
            seconds = await paused_after(world)
            assert checker.alarm is not None and f"endpoint {1 - liar_at}" in checker.alarm
            assert seconds < PAUSE_S_MAX, seconds


async def test_payment_is_no_alarm_while_one_endpoint_is_away_or_behind(world: World) -> None:
    asked = await final_deposit(world)
    target = world.chains[SEPOLIA]
    async with two_endpoints(world) as liar, world.chains.mined(0.2):
        stuck = hex(asked.block_number - 1)

        def behind(method: str, params: Any, found: Any) -> Any:
            if method == "eth_call":
                return "0x" + bytes(96).hex()
            if method == "eth_getLogs":
                return []
            if method == "eth_getBlockByNumber" and params[0] == "latest":
                return found | {"number": stuck}
            return found

        async with world.checking() as checker:
            await asyncio.sleep(0.5)
            liar.lie = behind
            await released(world, asked, target)
            await asyncio.sleep(1.0)
            assert checker.alarm is None and checker._ends[SEPOLIA].pending
            liar.lie = None
            await looked(checker, 1)
            liar.away = True
            await released(world, await final_deposit(world), target)
            await looked(checker, 2)
            assert checker.alarm is None


async def released(world: World, asked: Attest, target: End) -> None:
    signers = await target.view.signers()
    digest = vault.release_digest(asked.message, signers.set_hash)
    thief = secrets.token_bytes(32)
    address = "0x" + DigestKey(thief).address.hex()
    await target.rpc.call("anvil_setBalance", [address, hex(ETHER)])
    data = vault.release(asked.message, stolen(digest, SIGNER_KEYS[:2]))
    await target.done(thief, to=target.vault, data=data)


async def looked(checker: Any, count: int) -> None:
    async with asyncio.timeout(10):
        while checker._figures["checked"] < count:
            await asyncio.sleep(0.02)
