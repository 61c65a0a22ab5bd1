"""Bugs put into the bridge's own code, each of which a check must see.

Each entry says what it changes and which scenario shows it; the answer is whether it was
caught. The contract's own planted bugs are with its tests.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson

from actors.sending import Sending
from chain import vault
from chain.account import DigestKey
from chain.evidence import ChainEvidence
from engine.bridge import attesting
from engine.bridge.control import REFUND, RELEASE, Attest, Attested
from engine.bridge.messages import Message
from engine.bridge.sends import Fees, Send
from storage.attestations import Attestations
from storage.bridge_sends import BridgeSends
from tests.bridge import checks, nonces
from tests.bridge.chains import ETHER, FINAL_BLOCKS, RISE, End
from tests.bridge.world import Makers, World

# ------------------------------------------------------------------------ bugs


class Forgetful(BridgeSends):
    """Old hashes of a nonce are forgotten: only the last offer is looked for."""

    async def open(
        self, chain_id: int, sender: bytes, *, final_number: int, nonce: int
    ) -> list[Send]:
        found = await super().open(chain_id, sender, final_number=final_number, nonce=nonce)
        return [replace(send, offers=send.offers[-1:]) for send in found]


class NoIntent(BridgeSends):
    """The hash is written after the sending, or, by whoever dies in between, never."""

    async def offer(self, send: Send, tx_hash: bytes, fees: Fees) -> None:
        self.late = send, tx_hash, fees


class SameNonce(BridgeSends):
    """The nonce is the chain's next one, whoever has it already."""

    given: dict[int, int] = {}  # noqa: RUF012 (one for all, as the bug would have it)

    async def reserve(self, send: Send, *, small: bool = False) -> int | None:
        key = send.request
        nonce = await super().reserve(send, small=small)
        if nonce is None or nonce == send.nonce:
            return nonce
        # Both requests now rest on one nonce: the second one's call is sent under the first's.
        async with self._pool.acquire() as connection:
            await connection.execute(
                "UPDATE bridge_sends SET data = $1, to_address = $2 WHERE chain_id = $3"
                " AND sender = $4 AND nonce = $5",
                send.data,
                send.to,
                send.chain_id,
                send.sender,
                send.nonce,
            )
        assert key is not None
        return send.nonce


class AtHead(ChainEvidence):
    """The head is taken for final."""

    async def final(self) -> Any:
        return await self._source.head()


class Unhalted(Attestations):
    """A halt is forgotten at the start."""

    def opened(self) -> str | None:
        halt = self._folder / "halt.json"
        if halt.exists():
            halt.write_bytes(orjson.dumps({"halted": False}))
        return super().opened()


def refund_on_absence(message: Message, signer: bytes, seen: attesting.Evidence) -> Any:
    """That it was not released is enough for a refund."""
    del message, signer
    return None if seen.fate.value != 2 else attesting.Declined(attesting.FATE, "released")


# ------------------------------------------------------------------- scenarios


async def deposited(end: End, other: End, key: bytes) -> tuple[Message, int]:
    """A deposit in a block that is not final: (message, block)."""
    address = "0x" + DigestKey(key).address.hex()
    await end.rpc.call("anvil_setBalance", [address, hex(100 * ETHER)])
    await end.mine(FINAL_BLOCKS)
    data = vault.deposit(recipient=secrets.token_bytes(20), target_chain=other.chain_id)
    receipt = await end.done(key, to=end.vault, data=data, value=ETHER)
    from chain.decode import raw_log
    from chain.vault_logs import VaultDecoder

    logs = [raw_log(one) for one in receipt["logs"]]
    (event,) = VaultDecoder(end.chain_id, end.vault).decode(logs, block_time=0)
    assert hasattr(event, "message")
    return event.message, int(receipt["blockNumber"], 16)


async def attests_at_head(world: World, makers: Makers) -> bool:
    """Whether an attestor signs for a deposit whose block is not final."""
    world.makers = makers
    source = world.chains[RISE]
    other = world.chains.other(RISE)
    message, block = await deposited(source, other, secrets.token_bytes(32))
    await other.mine(FINAL_BLOCKS)
    attestor = world.attestor(0, {})
    before = len(world.attested)
    answer = await attestor.attest(Attest(RELEASE, message, block))
    premature = [number > final for _, number, _, final in world.attested[before:]]
    return isinstance(answer, Attested) and any(premature)


async def signs_after_halt(world: World, makers: Makers) -> bool:
    """Whether an attestor that saw a reorganisation of what it attested signs after a restart."""
    world.makers = makers
    source, other = world.chains[RISE], world.chains.other(RISE)
    message, block = await deposited(source, other, secrets.token_bytes(32))
    await asyncio.gather(source.mine(FINAL_BLOCKS + 1), other.mine(FINAL_BLOCKS + 1))
    attestor = world.attestor(1, {})
    asked = Attest(RELEASE, message, block)
    assert isinstance(await attestor.attest(asked), Attested)
    depth = await source.head() - block + 1
    await source.reorganise(random.Random(1), depth, drop_all=True)
    await attestor.watch()
    assert not isinstance(await attestor.attest(asked), Attested)
    # The same deposit again, in another block, and a new process.
    again, block = await deposited(source, other, secrets.token_bytes(32))
    await asyncio.gather(source.mine(FINAL_BLOCKS + 1), other.mine(FINAL_BLOCKS + 1))
    successor = world.attestor(1, {})
    return isinstance(await successor.attest(Attest(RELEASE, again, block)), Attested)


async def refunds_absence(world: World, makers: Makers) -> bool:
    """Whether an attestor signs a refund of what is merely not released yet."""
    world.makers = makers
    source, other = world.chains[RISE], world.chains.other(RISE)
    message, block = await deposited(source, other, secrets.token_bytes(32))
    await asyncio.gather(source.mine(FINAL_BLOCKS + 1), other.mine(FINAL_BLOCKS + 1))
    attestor = world.attestor(2, {})
    answer = await attestor.attest(Attest(REFUND, message, min(block, await other.finalised())))
    return isinstance(answer, Attested)


async def forgets_hashes(world: World, store: Callable[..., Any]) -> bool:
    """Whether a label is wrong when an offer that was replaced is the one that is mined."""
    troubles = {"original_after_the_bump": nonces.original_after_the_bump}
    told = await nonces.run(
        world.chains, world.pool, world.rng, times=2, troubles=troubles, store=store
    )
    return bool(told.wrong)


async def sends_unwritten(world: World, store: Callable[..., Any]) -> bool:
    """Whether something is mined that nobody wrote down, after a death between both."""
    found = await _two_requests(world, store, die_after_sending=True)
    return found.unwritten > 0


async def shares_a_nonce(world: World, store: Callable[..., Any]) -> bool:
    """Whether one nonce is paid out for another request than its own."""
    found = await _two_requests(world, store, die_after_sending=False)
    return found.labels + found.stuck > 0


async def _two_requests(
    world: World, store: Callable[..., Any], *, die_after_sending: bool
) -> checks.Findings:
    del die_after_sending  # the store that writes late is itself the death in between
    from chain.account import TransactionAccount
    from storage.bridge_requests import BridgeRequests
    from tests.bridge.chains import RELAYER_KEY

    end = world.chains[RISE]
    account = TransactionAccount(RELAYER_KEY, chain_id=RISE)
    keys, messages = [], []
    for _ in range(2):
        message, _ = await deposited(world.chains.other(RISE), end, secrets.token_bytes(32))
        key = (message.source_chain, 1, message.id)
        await BridgeRequests(world.pool).open(
            key,
            target_chain=RISE,
            user=message.depositor,
            recipient=message.recipient,
            amount_wei=message.amount,
        )
        async with world.pool.acquire() as connection:
            await connection.execute(
                "UPDATE bridge_requests SET message_id = id WHERE id = $1", message.id
            )
        keys.append(key)
        messages.append(message)
    sending = _sending(world, end, account, store)
    for key, message in zip(keys, messages, strict=True):
        data = vault.cancel(message)
        await sending.reserve(key, "cancel", to=end.vault, data=data, gas=200_000)
    await sending.round()
    await end.mine(FINAL_BLOCKS + 1)
    # A successor with the right store settles what is there.
    successor = _sending(world, end, account, BridgeSends)
    await successor.round()
    found = checks.Findings()
    await checks.transactions(world, found)
    return found


def _sending(world: World, end: End, account: Any, store: Callable[..., Any]) -> Sending:
    import structlog

    from chain.source import ChainSource
    from chain.vault_logs import TOPICS

    return Sending(
        chain_id=end.chain_id,
        account=account,
        node=end.node,
        finality=ChainSource(end.rpc, end.settings, topics=TOPICS, tag_only=True),
        store=store(world.pool),
        log=structlog.get_logger("planted"),
        cap_wei=10**12,
        patience_s=60.0,
        pause_s=1.0,
    )


async def refunds_absence_by_bug(world: World) -> bool:
    """The same with the bug."""
    before = attesting.refuse_refund
    attesting.refuse_refund = refund_on_absence
    try:
        return await refunds_absence(world, RIGHT)
    finally:
        attesting.refuse_refund = before


Scenario = Callable[[World], Awaitable[bool]]
RIGHT = Makers()
BUGS: dict[str, tuple[Scenario, Scenario]] = {
    # name: (with the bug, without): the first must be caught, the second must not.
    "attest at head": (
        lambda world: attests_at_head(world, Makers(evidence=AtHead)),
        lambda world: attests_at_head(world, RIGHT),
    ),
    "halt ignored at start": (
        lambda world: signs_after_halt(world, Makers(memory=Unhalted)),
        lambda world: signs_after_halt(world, RIGHT),
    ),
    "refund on absence": (
        refunds_absence_by_bug,
        lambda world: refunds_absence(world, RIGHT),
    ),
    "old hash forgotten": (
        lambda world: forgets_hashes(world, Forgetful),
        lambda world: forgets_hashes(world, BridgeSends),
    ),
    "no intent before send": (
        lambda world: sends_unwritten(world, NoIntent),
        lambda world: sends_unwritten(world, BridgeSends),
    ),
    "two requests on one nonce": (
        lambda world: shares_a_nonce(world, SameNonce),
        lambda world: shares_a_nonce(world, BridgeSends),
    ),
}
