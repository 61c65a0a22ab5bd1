"""An attestor: one key, in a process of its own, that signs what it has seen to be final.

It believes nobody: the relayer's message and hint are looked up on its own endpoints, and none
of these alone where there are several. Asked to attest, in order:
  1. halted, or an endpoint doubts what was attested: declined, whatever is asked;
  2. evidence is read from every endpoint; `engine.bridge.agreement` says what is believed, and
     `engine.bridge.attesting` judges it;
  3. the journal knows another block for the same event: finality broke, halt;
  4. the attestation goes into the journal, on the disk;
  5. only then it is signed.
It goes on looking at the blocks of what it attested lately. A block that is not the chain's any
more means that something final was taken back: it halts, for good, until an operator has
looked (ARCHITECTURE, "When something is halted"). By the word of one endpoint of several it only
signs nothing for as long as that one says so. Whatever fails, nothing is signed. What is over it
forgets (`actors.forgetting`); where nothing ends, it signs nothing new at ATTESTATIONS_MAX.
Whether it signs at all is `stopped` of its status, by looks at its endpoints though nobody asks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.bridge_ports import ChainEvidence, Entry, Key, Memory, VaultCodec
from actors.forgetting import Forgetting
from actors.ports import Log
from actors.saying import Saying
from engine.bridge import agreement, attesting
from engine.bridge.agreement import Answer, Believed, Standing, Word
from engine.bridge.attesting import DISAGREEMENT, TROUBLE
from engine.bridge.control import RELEASE, Attest, Attested, Declined
from engine.bridge.events import Cancelled, Deposited
from engine.bridge.standstill import Standstill
from engine.control import Directory, Drain, StatusWanted
from engine.errors import ConsistencyError, RiseCurveError
from engine.limits import ATTESTATIONS_MAX

HALTED, FULL = "halted", "full"
WATCH_S = 3_600
"""Attested blocks are looked at for so long: by then what is final there is final anywhere."""

WATCH_EVERY_S = 5.0
WATCH_MAX = 64
"""Blocks of a chain that are looked at in one turn, so that many small deposits cost the node
little: the newest each time, which fall with any below them, and the others part by part."""

DIFFERING_MAX = 256
DIFFERING_S = 600.0
"""Messages that the endpoints told differently, so many and for so long: one that is given up is
asked for no more."""

AT_ONCE_MAX = 16
"""Messages that are looked up side by side; more wait."""


class Attestor:
    """Plain class; `handlers` is its whole behaviour, `run` watches what it attested. `vaults`
    are the two ends, chain id to address; `evidence` has each chain's endpoints, no two of them
    one provider's; `quorum` says how many must agree, 0: `agreement.quorum_of` does; `entry`
    makes a journal's entry."""

    def __init__(
        self,
        *,
        key: Key,
        vaults: Mapping[int, bytes],
        evidence: Mapping[int, Sequence[ChainEvidence]],
        memory: Memory,
        entry: Callable[..., Any],
        digests: VaultCodec,
        log: Log,
        quorum: int = 0,
        watch_every_s: float = WATCH_EVERY_S,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._vaults = vaults
        self._evidence = evidence
        self._memory = memory
        self._entry = entry
        self._digests = digests
        self._log = log
        self._saying = Saying(log)
        self._quorums = {
            chain_id: agreement.quorum_of(quorum, len(ends)) for chain_id, ends in evidence.items()
        }
        self._halting = {
            chain_id: agreement.halting_of(self._quorums[chain_id], len(ends))
            for chain_id, ends in evidence.items()
        }
        self._doubts: dict[tuple[int, int], str] = {}
        self._differing: dict[bytes, tuple[str, float]] = {}
        self._disagreed = 0
        self._watch_every_s = watch_every_s
        self._wall_clock = wall_clock
        self._clock = clock
        self._standstill = Standstill()
        self._said_halted = False
        self._attested = 0
        self._declined: dict[str, int] = {}
        self._watched = 0
        self._turn = 0
        self._forgetting = Forgetting(
            evidence=evidence,
            halting=self._halting,
            memory=memory,
            gone=self._halt,
            saying=Saying(log, clock=clock),
            after_s=WATCH_S,
        )
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)
        self._journal: dict[tuple[str, bytes], Entry] = {
            (one.kind, one.id): one for one in memory.entries
        }
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Attest: self.attest,
            Directory: lambda _: None,
            StatusWanted: self._status,
            Drain: lambda _: None,
        }

    async def run(self) -> None:
        """Watch, look and forget until cancelled; none of them waits for another to go well."""
        while True:
            await self._turned(self.watch(), "attestor_cannot_watch")
            await self._turned(self.look(), "attestor_cannot_look")
            await self._turned(self.forget(), "attestor_cannot_forget")
            await asyncio.sleep(self._watch_every_s)

    async def attest(self, message: Attest) -> Attested | Declined:
        """The signature, or why there is none."""
        try:
            async with self._at_once:
                answer = await self._attest(message)
        except (RiseCurveError, OSError) as error:
            answer = Declined(TROUBLE, str(error))
        if isinstance(answer, Declined):
            self._declined[answer.code] = self._declined.get(answer.code, 0) + 1
        self._note(message.message.id, answer)
        return answer

    async def watch(self) -> None:
        """Look once at blocks of what was attested lately (WATCH_MAX); halt where one is gone.
        Raises TransientError where no endpoint of a chain says; the other one is looked at first.
        """
        troubles: list[RiseCurveError] = []
        since = self._wall_clock() - WATCH_S
        blocks: dict[int, dict[int, bytes]] = {}
        for entry in self._memory.entries:
            if entry.time >= since:
                blocks.setdefault(entry.chain_id, {})[entry.block_number] = entry.block_hash
        self._watched = sum(len(one) for one in blocks.values())
        for chain_id, hashes in blocks.items():
            doubted = {number for one, number in self._doubts if one == chain_id} & hashes.keys()
            numbers = sorted({*_of_turn(sorted(hashes), self._turn), *doubted})
            try:
                said = await self._hashes(chain_id, numbers)
            except RiseCurveError as error:
                troubles.append(error)
                continue
            for at, number in enumerate(numbers):
                self._judge(
                    chain_id,
                    number,
                    hashes[number],
                    said=[None if one is None else one[at] for one in said],
                )
        # What is looked at no more is doubted no more.
        for place in self._doubts.keys() - {
            (chain_id, number) for chain_id, hashes in blocks.items() for number in hashes
        }:
            del self._doubts[place]
        self._turn += 1
        if troubles:
            raise troubles[0]

    async def look(self) -> None:
        """Ask every endpoint once for itself, and note whether anything would be signed."""
        found = await asyncio.gather(*map(self._unreached, self._evidence))
        code = DISAGREEMENT if self._doubts else next(filter(None, found), "")
        self._standstill = self._standstill.noted(code, self._clock())
        lasting = self._standstill.lasting
        if lasting:
            self._saying.wrong("attestor_stopped", as_error=True, code=lasting)
        elif self._saying.over("attestor_stopped"):
            self._log.info("attestor_goes_on")

    async def forget(self) -> int:
        """Take what is over out of a journal that grew long; how many entries were."""
        gone = await self._forgetting.turn(self._wall_clock())
        for name in gone:
            self._journal.pop(name, None)
        return len(gone)

    # -------------------------------------------------------------------- private

    async def _turned(self, turn: Awaitable[Any], trouble: str) -> None:
        try:
            await turn
            self._saying.over(trouble)
        except (RiseCurveError, OSError) as error:
            self._saying.wrong(trouble, error=str(error))

    async def _unreached(self, chain_id: int) -> str:
        answers = await self._each(chain_id, _of_itself)
        return agreement.unreached(answers, self._quorums[chain_id], chain_id=chain_id)

    async def _hashes(self, chain_id: int, numbers: list[int]) -> list[list[bytes] | None]:
        asked = [one.hashes(numbers) for one in self._evidence[chain_id]]
        said: list[list[bytes] | None] = []
        trouble: RiseCurveError | None = None
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, RiseCurveError):
                trouble = answer
            elif isinstance(answer, BaseException):
                raise answer
            said.append(None if isinstance(answer, RiseCurveError) else answer)
        if trouble is not None and not any(said):
            raise trouble
        return said

    def _judge(
        self, chain_id: int, number: int, attested: bytes, *, said: Sequence[bytes | None]
    ) -> None:
        found = agreement.standing(attested, said, self._halting[chain_id])
        reason = f"Block {number} of chain {chain_id} was attested and is gone"
        if found is Standing.GONE:
            self._halt(reason)
        elif found is Standing.DOUBTED:
            gone = next(at for at, one in enumerate(said) if one not in (None, attested))
            self._doubts[chain_id, number] = f"{reason} by endpoint {gone} alone"
            self._saying.wrong(
                "attestor_endpoints_disagree", (chain_id, number), as_error=True,
                reason=self._doubts[chain_id, number],
            )  # fmt: skip
        elif self._doubts.pop((chain_id, number), None) is not None:
            self._saying.over("attestor_endpoints_disagree", (chain_id, number))
            self._log.info("attestor_endpoints_agree", chain_id=chain_id, block=number)

    async def _attest(self, asked: Attest) -> Attested | Declined:
        stopped = self._stopped()
        if stopped is not None:
            return stopped
        message = asked.message
        if not attesting.ends_are_ours(message, self._vaults):
            return Declined(attesting.MISMATCH, "Expected a message between our vaults")
        releases = asked.kind == RELEASE
        ends = (message.source_chain, message.target_chain)
        chain_id, other = ends if releases else reversed(ends)
        answers, here = await asyncio.gather(
            self._each(chain_id, lambda one: _of_event(one, asked)),
            self._each(other, lambda one: _of_other(one, asked)),
        )
        there = agreement.believed(answers, self._quorums[chain_id], chain_id=chain_id)
        if isinstance(there, Declined):
            return there
        signers = agreement.permitted(
            asked.kind,
            message,
            self._key.address,
            there=there.word,
            here=here,
            quorum=self._quorums[other],
        )
        if isinstance(signers, Declined):
            return signers
        written = self._write_down(asked.kind, message.id, there, place=(chain_id, signers))
        if written is not None:
            return written
        digest = self._digests.release_digest if releases else self._digests.refund_digest
        signature = self._key.sign(digest(message, signers))
        self._attested += 1
        return Attested(self._key.address, signature, signers)

    async def _each(
        self, chain_id: int, ask: Callable[[ChainEvidence], Awaitable[Word]]
    ) -> list[Answer]:
        async def one(end: ChainEvidence) -> Answer:
            try:
                return await ask(end)
            except RiseCurveError as error:
                return Declined(TROUBLE, str(error))

        return list(await asyncio.gather(*(one(end) for end in self._evidence[chain_id])))

    def _stopped(self) -> Declined | None:
        halted = self._memory.halted()
        if halted is not None:
            return self._say_halted(halted)
        doubt = next(iter(self._doubts.values()), None)
        return None if doubt is None else Declined(DISAGREEMENT, doubt)

    def _note(self, message_id: bytes, answer: Attested | Declined) -> None:
        # Said once, whoever asks how often; the doubts of the watch say it themselves.
        if not isinstance(answer, Declined) or answer.code != DISAGREEMENT:
            if self._differing.pop(message_id, None) is not None:
                self._saying.over("attestor_endpoints_disagree", message_id)
                self._log.info("attestor_endpoints_agree", message=message_id.hex())
            return
        self._disagreed += 1
        if answer.reason in self._doubts.values():
            return
        if len(self._differing) < DIFFERING_MAX or message_id in self._differing:
            self._differing[message_id] = answer.reason, self._wall_clock()
        self._saying.wrong(
            "attestor_endpoints_disagree", message_id, as_error=True, reason=answer.reason
        )

    def _disagreement(self) -> str | None:
        since = self._wall_clock() - DIFFERING_S
        for message_id, (_, at) in list(self._differing.items()):
            if at < since:
                del self._differing[message_id]
        differing = (reason for reason, _ in self._differing.values())
        return next(iter([*self._doubts.values(), *differing]), None)

    def _write_down(
        self, kind: str, message_id: bytes, there: Believed, *, place: tuple[int, bytes]
    ) -> Declined | None:
        chain_id, signer_set = place
        event = there.word.event
        assert event is not None, "Expected a word about an event"
        before = self._journal.get((kind, message_id))
        if before is not None and before.block_hash != event.block_hash:
            reason = f"{kind} of {message_id.hex()} stood in block {before.block_hash.hex()}"
            if there.voices < self._halting[chain_id]:
                return Declined(DISAGREEMENT, f"{reason}, and one endpoint alone has another")
            self._halt(reason)
        # It may have been halted while the node was asked.
        stopped = self._stopped()
        if stopped is not None:
            return stopped
        if before is None:
            if self._is_full():
                text = f"Expected fewer than {ATTESTATIONS_MAX} attestations that are not over"
                return Declined(FULL, text)
            entry = self._entry(
                kind=kind,
                id=message_id,
                chain_id=chain_id,
                block_number=event.block_number,
                block_hash=event.block_hash,
                signer_set=signer_set,
                time=int(self._wall_clock()),
            )
            self._memory.append(entry)
            self._journal[kind, message_id] = entry
        return None

    def _is_full(self) -> bool:
        return len(self._memory.entries) >= ATTESTATIONS_MAX

    def _stopped_by(self) -> str:
        if self._memory.halted() is not None:
            return HALTED
        return FULL if self._is_full() else self._standstill.lasting

    def _halt(self, reason: str) -> None:
        self._memory.halt(reason, int(self._wall_clock()))
        if self._memory.halted() is None:
            # It could not be written: end, rather than sign on.
            raise ConsistencyError("halted", reason)
        self._say_halted(reason)

    def _say_halted(self, reason: str) -> Declined:
        if not self._said_halted:
            self._log.error("attestor_halted", reason=reason)
            self._said_halted = True
        return Declined(HALTED, reason)

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        return {
            "address": "0x" + self._key.address.hex(),
            "halted": self._memory.halted(),
            "stopped": self._stopped_by(),
            "attested": self._attested,
            "declined": dict(self._declined),
            "endpoints": {str(chain): len(ends) for chain, ends in self._evidence.items()},
            "quorum": {str(chain): quorum for chain, quorum in self._quorums.items()},
            "disagreed": self._disagreed,
            "disagreement": self._disagreement(),
            "watched_blocks": self._watched,
            "remembered": len(self._journal),
        }


def _of_turn(numbers: list[int], turn: int) -> list[int]:
    half = WATCH_MAX // 2
    newest, others = numbers[-half:], numbers[:-half]
    parts = -(-len(others) // half) or 1
    return others[turn % parts :: parts] + newest


async def _of_itself(end: ChainEvidence) -> Word:
    # Without a final block nothing of it can be believed either.
    chain_id, _ = await asyncio.gather(end.chain_id(), end.final())
    return Word(chain_id=chain_id)


async def _of_event(end: ChainEvidence, asked: Attest) -> Word:
    message = asked.message
    kind = Deposited if asked.kind == RELEASE else Cancelled
    chain_id, event = await asyncio.gather(
        end.chain_id(), end.event(kind, message.id, block_number=asked.block_number)
    )
    if event.block_number > event.final_number:
        return Word(chain_id=chain_id, event=event)
    if asked.kind == RELEASE:
        record, refunded = await asyncio.gather(end.deposit(message.id), end.refunded(message.id))
        return Word(
            chain_id=chain_id,
            event=event,
            depositor=record.depositor,
            amount=record.amount,
            refunded=record.refunded or refunded,
        )
    return Word(chain_id=chain_id, event=event, fate=await end.fate(message.id, final=True))


async def _of_other(end: ChainEvidence, asked: Attest) -> Word:
    message = asked.message
    chain_id, signers = await asyncio.gather(end.chain_id(), end.signers())
    word = Word(chain_id=chain_id, signers=signers.addresses, signer_set=signers.set_hash)
    if asked.kind == RELEASE:
        fate, time_ = await asyncio.gather(end.fate(message.id, final=False), end.time())
        return replace(word, fate=fate, time=time_)
    record, refunded = await asyncio.gather(end.deposit(message.id), end.refunded(message.id))
    return replace(
        word,
        depositor=record.depositor,
        amount=record.amount,
        refunded=record.refunded or refunded,
    )
