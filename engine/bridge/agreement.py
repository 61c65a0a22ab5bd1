"""When what several endpoints say of one chain may be signed on. Pure.

An attestor asks all its endpoints side by side. Of the chain where the event stands, in order:
  1. one is of another chain: disagreement;
  2. one has no answer, or is behind the event's block: it neither helps nor hinders;
  3. two that are left differ, in the block's hash, the event or the record: disagreement, since
     one of them lies or has seen a reorganisation, and nobody can tell which;
  4. fewer than the quorum are left: not yet;
  5. they are believed.
Of the other chain the quorum must permit it, each by its own word: the vault itself refuses what
it has paid, so a lie there can only hold a payment up.

A disagreement is no halt: nothing is signed, it is told, and it ends when they agree again. What
was attested and is gone by one endpoint alone is the same; gone by as many as `halting`, it is
final that broke, and a halt.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from engine.bridge import attesting
from engine.bridge.attesting import DISAGREEMENT, NOT_FINAL, TROUBLE, Evidence, Found
from engine.bridge.control import RELEASE, Declined
from engine.bridge.messages import Fate, Message

QUORUM_AT_FIRST = 2
"""Where nobody chose one and there are so many endpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What one endpoint says of its chain: of the source `depositor`, `amount` and `refunded`, of
    the target `fate` and `time`; `event` where it stands, `signers` and the hash of their set
    where the signature is for."""

    chain_id: int
    event: Found | None = None
    depositor: bytes = b""
    amount: int = 0
    refunded: bool = False
    fate: Fate = Fate.NONE
    time: int = 0
    signers: tuple[bytes, ...] = ()
    signer_set: bytes = b""


Answer = Word | Declined
"""`Declined`: the endpoint gave no word, and why."""


@dataclass(frozen=True, slots=True)
class Believed:
    """What the endpoints agree on, and how many they are."""

    word: Word
    voices: int


class Standing(Enum):
    """Of a block that was attested."""

    STANDS = "stands"
    DOUBTED = "doubted"
    GONE = "gone"


def quorum_of(chosen: int, endpoints: int) -> int:
    """How many endpoints of a chain must agree. `chosen` 0: nobody chose."""
    return chosen or min(QUORUM_AT_FIRST, endpoints)


def halting_of(quorum: int, endpoints: int) -> int:
    """How many must say that something final is gone before it is believed for good: never one
    alone where there is another to ask."""
    return max(quorum, min(QUORUM_AT_FIRST, endpoints))


def standing(attested: bytes, said: Iterable[bytes | None], halting: int) -> Standing:
    """Of a block with the hash `attested`, by what each endpoint has in its place; None: it did
    not say."""
    gone = sum(one is not None and one != attested for one in said)
    if gone >= halting:
        return Standing.GONE
    return Standing.DOUBTED if gone else Standing.STANDS


def believed(answers: Sequence[Answer], quorum: int, *, chain_id: int) -> Believed | Declined:
    """What is believed of the chain where the event stands, or why nothing is."""
    stranger = _stranger(answers, chain_id)
    if stranger is not None:
        return stranger
    known = [
        (at, one) for at, one in enumerate(answers) if isinstance(one, Word) and _is_known(one)
    ]
    for at, word in known[1:]:
        first, other = known[0]
        if _told(word) != _told(other):
            text = f"Endpoints {first} and {at} of chain {chain_id} differ"
            return Declined(DISAGREEMENT, f"{text}: {_shown(other)}, {_shown(word)}")
    if not known or len(known) < quorum:
        return _too_few(answers, quorum, len(known))
    # Each is asked for itself whether it was given back at its head: one that says so is enough.
    refunded = any(word.refunded for _, word in known)
    return Believed(replace(known[0][1], refunded=refunded), len(known))


def unreached(answers: Sequence[Answer], quorum: int, *, chain_id: int) -> str:
    """Why nothing at all is believed of a chain, by what its endpoints say of themselves: the code
    that is declined with, empty where enough are there."""
    if _stranger(answers, chain_id) is not None:
        return DISAGREEMENT
    there = sum(isinstance(one, Word) for one in answers)
    return TROUBLE if there < quorum else ""


def permitted(
    kind: str, message: Message, signer: bytes, *, there: Word, here: Sequence[Answer], quorum: int
) -> bytes | Declined:
    """The signer set that the signature is for, or why there is none. `there` is believed of the
    event's chain, `here` is what the endpoints of the other one say."""
    releases = kind == RELEASE
    stranger = _stranger(here, message.target_chain if releases else message.source_chain)
    if stranger is not None:
        return stranger
    refuse = attesting.refuse_release if releases else attesting.refuse_refund
    sets: Counter[bytes] = Counter()
    refusals = []
    for word in here:
        if isinstance(word, Declined):
            continue
        seen = _evidence(there, word) if releases else _evidence(word, there)
        refusal = refuse(message, signer, seen)
        if refusal is None:
            sets[word.signer_set] += 1
        else:
            refusals.append(refusal)
    for signer_set, voices in sets.most_common(1):
        if voices >= quorum:
            return signer_set
    return refusals[0] if refusals else _too_few(here, quorum, sets.total())


def trusted_alone(places: Sequence[Iterable[str]], chosen: int) -> Mapping[str, int]:
    """How many attestors would sign on the word of one endpoint alone, by endpoint. `places` are
    each attestor's endpoints of one chain, where one that two use has one name."""
    alone: Counter[str] = Counter()
    for own in map(set, places):
        if quorum_of(chosen, len(own)) == 1:
            alone.update(own)
    return alone


# ------------------------------------------------------------------------ parts


def _stranger(answers: Sequence[Answer], chain_id: int) -> Declined | None:
    for at, one in enumerate(answers):
        if isinstance(one, Word) and one.chain_id != chain_id:
            return Declined(
                DISAGREEMENT, f"Endpoint {at} is of chain {one.chain_id}, expected {chain_id}"
            )
    return None


def _event(word: Word) -> Found:
    assert word.event is not None, "Expected a word about an event"
    return word.event


def _is_known(word: Word) -> bool:
    return _event(word).block_number <= _event(word).final_number


def _told(word: Word) -> tuple[object, ...]:
    event = _event(word)
    return event.message, event.block_hash, word.depositor, word.amount, word.fate


def _shown(word: Word) -> str:
    event = _event(word)
    what = "the event" if event.message is not None else "no such event"
    return f"{what} in block {event.block_number} {event.block_hash.hex()[:16]}"


def _too_few(answers: Sequence[Answer], quorum: int, voices: int) -> Declined:
    for one in answers:
        if isinstance(one, Word) and one.event is not None and not _is_known(one):
            found, final = one.event.block_number, one.event.final_number
            return Declined(NOT_FINAL, f"Expected a block up to {final}, was {found}")
    why = next((f": {one.reason}" for one in answers if isinstance(one, Declined)), "")
    return Declined(TROUBLE, f"Expected the word of {quorum} endpoints, was of {voices}{why}")


def _evidence(source: Word, target: Word) -> Evidence:
    event = source.event or target.event
    assert event is not None, "Expected an event at one end"
    return Evidence(
        event=event,
        depositor=source.depositor,
        amount=source.amount,
        refunded=source.refunded,
        fate=target.fate,
        target_time=target.time,
        signers=source.signers or target.signers,
    )
