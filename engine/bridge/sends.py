"""One nonce of the relayer's account: what is true of it, and what to do about it.

A nonce belongs to one request for ever. Each time it is offered to the network the hash is
kept, for any of them may be the one that is mined, also one that was replaced. The cases:
  1. one of ours was mined and the nonce is used up: settled once its block is final, until then
     looked at again, for a reorganisation may free the nonce;
  2. the nonce is used up in a final block and none of ours was mined: somebody else with the
     same key used it, and nothing of ours will ever happen under it;
  3. used up, but not finally: wait for one of these;
  4. free and never offered, or offered and forgotten by the node: offer (again);
  5. free and offered for longer than a while: offer with at least 10 % more of both fees, up
     to the cap; at the cap the last offer stands.
What is seen must be read in this order: the nonces first, then the receipts. Otherwise one
that is mined in between would look like case 2.
"""

from dataclasses import dataclass
from enum import StrEnum

from engine.bridge.requests import Key

FILL = "fill"
BPS = 10_000
FEE_STEP_BPS = 1_250
"""Nodes ask for 10 % more of both fees before they replace a transaction."""


class Outcome(StrEnum):
    """How a nonce ended."""

    SUCCEEDED = "succeeded"
    REVERTED = "reverted"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei a gas."""

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A signed transaction of this nonce; written down before it is sent."""

    tx_hash: bytes
    fees: Fees


@dataclass(frozen=True, slots=True)
class Send:
    """What a nonce is for. `offers` in the order they were made, `waited_s` since the last.
    `request` is None for one that only fills a hole, `kind` an `Action` or "fill"; `mined_block`
    was seen last."""

    chain_id: int
    sender: bytes
    nonce: int
    request: Key | None
    kind: str
    to: bytes
    data: bytes
    gas: int
    offers: tuple[Offer, ...] = ()
    waited_s: float = 0.0
    mined_block: int | None = None


@dataclass(frozen=True, slots=True)
class MinedOffer:
    """Which of the offers a block holds."""

    tx_hash: bytes
    succeeded: bool
    block_number: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What the chain says: the account's next nonce at the head and at the final block, the
    final block's number, and the mined one of ours. `known`: the node has the last offer."""

    nonce: int
    final_nonce: int
    final_number: int
    mined: MinedOffer | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Settle:
    """Cases 1 and 2, final."""

    outcome: Outcome
    tx_hash: bytes | None
    block_number: int | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Cases 1 and 3 before they are final, and an offer that is young."""


@dataclass(frozen=True, slots=True)
class Make:
    """Cases 4 and 5: sign with these fees, write the hash down, send."""

    fees: Fees


Next = Settle | Wait | Make


def judge(send: Send, sight: Sight, *, fees: Fees, cap_wei: int, patience_s: float) -> Next:
    """The case that fits. `fees` is what the node asks for now, `cap_wei` the most a gas."""
    if sight.mined is not None:
        # A receipt under a nonce that is free: one of both is older, or a lie.
        used = sight.nonce > send.nonce
        return _ended(sight.mined, sight.final_number) if used else Wait()
    if sight.final_nonce > send.nonce:
        return Settle(Outcome.ELSEWHERE, None, None)
    if sight.nonce > send.nonce:
        return Wait()
    if not send.offers:
        return Make(_capped(fees, cap_wei))
    last = send.offers[-1].fees
    if send.waited_s >= patience_s:
        return Make(raised(last, fees, cap_wei))
    return Wait() if sight.known else Make(last)


def _ended(mined: MinedOffer, final_number: int) -> Next:
    if mined.block_number > final_number:
        return Wait()
    outcome = Outcome.SUCCEEDED if mined.succeeded else Outcome.REVERTED
    return Settle(outcome, mined.tx_hash, mined.block_number)


def raised(last: Fees, present: Fees, cap_wei: int) -> Fees:
    """A step above `last` in both, or what is asked for now where that is more; at the cap,
    or where the cap leaves no full step in both, `last` itself.
    """
    stepped = Fees(_step(last.max_fee), _step(last.priority_fee))
    wanted = Fees(
        max(stepped.max_fee, present.max_fee), max(stepped.priority_fee, present.priority_fee)
    )
    offered = _capped(wanted, cap_wei)
    if offered.max_fee < stepped.max_fee or offered.priority_fee < stepped.priority_fee:
        return last
    return offered


def _step(fee: int) -> int:
    return max(-(-fee * (BPS + FEE_STEP_BPS) // BPS), fee + 1)


def _capped(fees: Fees, cap_wei: int) -> Fees:
    max_fee = min(fees.max_fee, cap_wei)
    return Fees(max_fee, min(fees.priority_fee, max_fee))
