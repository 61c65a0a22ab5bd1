"""Whether the bridge may take a new transfer: what its relayers say of themselves, judged. Pure.

A relayer says, every BRIDGE_BEAT_S, why nothing goes through, in this order:
  1. it is halted, or a chain's finality does not move;
  2. its last turn was too long ago;
  3. a vault was never asked who its signers are, or is of a kind that the doors cannot use;
  4. fewer attestors of a vault's signers are there and sign than must;
  5. a vault is paused.
The doors take requests while any relayer that was heard lately says that they go through; one
that is dead, stuck, or cut off from the store says nothing, and that closes them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.limits import BRIDGE_SILENT_S, BRIDGE_TURN_S_MAX


@dataclass(frozen=True, slots=True)
class Beat:
    """What a relayer said so long ago; `closed` is empty where transfers go through."""

    age_s: float
    closed: str
    paused: bool


@dataclass(frozen=True, slots=True)
class VaultSeen:
    """A vault as it was asked last: `threshold` of `signers` must sign. `fault`: why no new
    transfer may have it for an end, empty if one may."""

    chain_id: int
    signers: tuple[bytes, ...]
    threshold: int
    paused: bool
    fault: str = ""


def closed_because(
    relayer: str,
    *,
    turn_age_s: float,
    vaults: Sequence[VaultSeen | None],
    signing: Collection[bytes],
) -> str:
    """Cases 1 to 4; empty if none. `relayer` is case 1 in its own words, `signing` are addresses
    of attestors that answer and sign (`engine.bridge.standstill`).
    """
    if relayer:
        return relayer
    if turn_age_s > BRIDGE_TURN_S_MAX:
        return f"Expected a turn within {BRIDGE_TURN_S_MAX:.0f} s, was {turn_age_s:.0f} s ago"
    for vault in vaults:
        if vault is None:
            return "Expected both vaults to have been asked"
        if vault.fault:
            return vault.fault
        there = len(set(vault.signers) & set(signing))
        if there < vault.threshold:
            text = f"Expected {vault.threshold} attestors that sign for chain {vault.chain_id}"
            return f"{text}, was {there}"
    return ""


def unavailable_because(beats: Sequence[Beat]) -> str:
    """Why the doors take nothing, empty if they do. Paused vaults are not looked at."""
    heard = [one for one in beats if one.age_s <= BRIDGE_SILENT_S]
    if any(not one.closed for one in heard):
        return ""
    if heard:
        return min(heard, key=lambda one: one.age_s).closed
    return f"Expected a relayer to be heard within {BRIDGE_SILENT_S:.0f} s"


def is_available(beats: Sequence[Beat]) -> bool:
    """Whether a transfer that is asked for now goes through."""
    heard = [one for one in beats if one.age_s <= BRIDGE_SILENT_S]
    return any(not one.closed and not one.paused for one in heard)
