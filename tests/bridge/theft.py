"""Whoever has enough keys pays out what nobody deposited: how fast the checker pauses both."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field

from chain import vault
from chain.account import DigestKey
from engine.bridge.messages import Message
from tests.bridge.chains import ETHER, RISE, SEPOLIA, SIGNER_KEYS, End, stolen
from tests.bridge.world import World

SEE_S_MAX = 30.0


@dataclass
class Told:
    """Seconds from the outflow's block to both vaults paused, each theft."""

    thefts: int = 0
    unseen: int = 0
    seconds: list[float] = field(default_factory=list)
    by_checker_s: list[float] = field(default_factory=list)


def forged(world: World, target: End) -> Message:
    """A message of the other vault that was never deposited."""
    source = world.chains.other(target.chain_id)
    return Message(
        source_chain=source.chain_id,
        target_chain=target.chain_id,
        source_vault=source.vault,
        target_vault=target.vault,
        nonce=10**6 + secrets.randbelow(10**6),
        depositor=secrets.token_bytes(20),
        recipient=secrets.token_bytes(20),
        amount=ETHER,
        fee=0,
        deadline=2**40,
    )


async def steal(world: World, target: End) -> Message:
    """Released with keys that were stolen; mined."""
    message = forged(world, target)
    signers = await target.view.signers()
    signatures = stolen(vault.release_digest(message, signers.set_hash), SIGNER_KEYS[:2])
    thief = secrets.token_bytes(32)
    address = "0x" + DigestKey(thief).address.hex()
    await target.rpc.call("anvil_setBalance", [address, hex(ETHER)])
    await target.done(thief, to=target.vault, data=vault.release(message, signatures))
    return message


async def steal_refund(world: World, source: End, message: Message) -> None:
    """A deposit that was not cancelled, refunded with keys that were stolen; mined."""
    signers = await source.view.signers()
    signatures = stolen(vault.refund_digest(message, signers.set_hash), SIGNER_KEYS[:2])
    thief = secrets.token_bytes(32)
    address = "0x" + DigestKey(thief).address.hex()
    await source.rpc.call("anvil_setBalance", [address, hex(ETHER)])
    await source.done(thief, to=source.vault, data=vault.refund(message.id, signatures))


async def theft(world: World, told: Told, target: End) -> None:
    """One theft from `target`, under a checker of its own."""
    async with world.checking() as checker:
        await asyncio.sleep(1.0)
        await steal(world, target)
        began = time.monotonic()
        told.thefts += 1
        while time.monotonic() - began < SEE_S_MAX:
            paused = [await end.view.paused() for end in world.chains.ends.values()]
            if all(paused):
                break
            await asyncio.sleep(0.02)
        else:
            told.unseen += 1
            return
        told.seconds.append(round(time.monotonic() - began, 3))
        for _ in range(200):
            if checker.paused_after_s is not None:
                told.by_checker_s.append(checker.paused_after_s)
                return
            await asyncio.sleep(0.02)


__all__ = ["RISE", "SEPOLIA", "Told", "forged", "steal", "steal_refund", "theft"]
