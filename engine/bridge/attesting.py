"""Whether an attestor signs: what it found out by itself, against the rules. Pure.

The rules of a release, in order; the first that is broken is the answer:
  1. the message is between our two vaults, and its `Deposited` is in a block of the source's
     canonical chain, with every field as it is asked for;
  2. that block is final by the source's own tag;
  3. the source's state at its final block knows the deposit, of this amount, not refunded;
  4. the target has not released or cancelled it, and, unless it is queued, time is left;
  5. this key is among the target's signers, by its final state.
A refund: the same of `Cancelled` at the target, final; the source knows the deposit and has not
refunded it; this key is among the source's signers. That something did *not* happen is never
attested: a refund rests on an event like a release does.

An attestation may be forgotten once nobody can ask for it any more: its block is deep below what
is final, and the final state of the other chain has the end of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.bridge.control import RELEASE, Declined
from engine.bridge.messages import Fate, Message
from engine.limits import MAX_REORG_DEPTH

NOT_FINAL, UNKNOWN, MISMATCH, FATE = "not_final", "unknown", "mismatch", "fate"
NOT_A_SIGNER, EXPIRED = "not_a_signer", "expired"
TROUBLE, DISAGREEMENT = "trouble", "disagreement"
DEEP = MAX_REORG_DEPTH
"""Blocks below the final one: no node that lags or lies sees what is so old taken back."""


@dataclass(frozen=True, slots=True)
class Found:
    """The event as it stands in a block that was read by its number and proven. `message` None:
    it is not there. `final_number` is the chain's finalised block."""

    message: Message | None
    block_number: int
    block_hash: bytes
    final_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was read. `depositor` and `amount` are the source's record, zero where it has
    none; `fate` is the target's at its head for a release, at its final block for a refund."""

    event: Found
    depositor: bytes
    amount: int
    refunded: bool
    fate: Fate
    target_time: int
    signers: tuple[bytes, ...]


def ends_are_ours(message: Message, vaults: Mapping[int, bytes]) -> bool:
    """Whether the message is between the two vaults, chain id to address."""
    source, target = message.source_chain, message.target_chain
    known = vaults.get(source) == message.source_vault, vaults.get(target) == message.target_vault
    return source != target and all(known)


def refuse_release(message: Message, signer: bytes, seen: Evidence) -> Declined | None:
    """Why a release is not signed; None: it is."""
    refusal = _refuse_event(message, seen.event) or _refuse_record(message, seen)
    if refusal is not None:
        return refusal
    if seen.fate in (Fate.RELEASED, Fate.CANCELLED):
        return Declined(FATE, f"Expected no fate or a queue, was {seen.fate.name}")
    if seen.fate is Fate.NONE and seen.target_time > message.deadline:
        return Declined(EXPIRED, f"Expected time until {message.deadline}, was {seen.target_time}")
    return _refuse_signer(signer, seen.signers)


def refuse_refund(message: Message, signer: bytes, seen: Evidence) -> Declined | None:
    """Why a refund is not signed; None: it is."""
    refusal = _refuse_event(message, seen.event) or _refuse_record(message, seen)
    if refusal is not None:
        return refusal
    if seen.fate is not Fate.CANCELLED:
        return Declined(FATE, f"Expected a cancelled message, was {seen.fate.name}")
    return _refuse_signer(signer, seen.signers)


def is_over(kind: str, *, depth: int, fate: Fate, refunded: bool) -> bool:
    """Whether an attestation may be forgotten. Its event is `depth` blocks below the final one;
    `fate` is the target's for a release, `refunded` the source's for a refund, both in the final
    state: then rule 4, or that of a refund, refuses whoever asks again.
    """
    ended = fate in (Fate.RELEASED, Fate.CANCELLED) if kind == RELEASE else refunded
    return depth >= DEEP and ended


def _refuse_event(message: Message, event: Found) -> Declined | None:
    if event.block_number > event.final_number:
        text = f"Expected a block up to {event.final_number}, was {event.block_number}"
        return Declined(NOT_FINAL, text)
    if event.message is None:
        return Declined(UNKNOWN, f"Expected its event in block {event.block_number}, was none")
    if event.message != message:
        return Declined(MISMATCH, f"Expected {event.message}, was {message}")
    return None


def _refuse_record(message: Message, seen: Evidence) -> Declined | None:
    if seen.depositor != message.depositor or seen.amount != message.amount:
        return Declined(MISMATCH, f"Expected a deposit of {seen.amount} wei in the source's state")
    return Declined(FATE, "Expected a deposit that was not refunded") if seen.refunded else None


def _refuse_signer(signer: bytes, signers: tuple[bytes, ...]) -> Declined | None:
    if signer in signers:
        return None
    return Declined(NOT_A_SIGNER, f"Expected one of {len(signers)} signers, was 0x{signer.hex()}")
