"""An attestor: one key, in a process of its own, that signs what it has seen to be final.

It believes nobody: the relayer's message and hint are looked up on its own node. Asked to
attest, in order:
  1. halted: declined, whatever is asked;
  2. evidence is read from the node, and judged by `engine.bridge.attesting`;
  3. the journal knows another block for the same event: finality broke, halt;
  4. the attestation goes into the journal, on the disk;
  5. only then it is signed.
It goes on looking at the blocks of what it attested lately. A block that is not the chain's any
more means that something final was taken back: it halts, for good, until an operator has
looked (ARCHITECTURE, "When something is halted"). Whatever fails, nothing is signed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from actors.bridge_ports import ChainEvidence, Entry, Key, Memory, Record, SignerSet, VaultCodec
from actors.ports import Log
from engine.bridge import attesting
from engine.bridge.attesting import Evidence, Found
from engine.bridge.control import RELEASE, Attest, Attested, Declined
from engine.bridge.events import Cancelled, Deposited
from engine.bridge.messages import Fate, Message
from engine.control import Directory, Drain, StatusWanted
from engine.errors import ConsistencyError, RiseCurveError

HALTED, TROUBLE = "halted", "trouble"
WATCH_S = 3_600
"""Attested blocks are looked at for so long: by then what is final there is final anywhere."""

WATCH_EVERY_S = 5.0
WATCH_MAX = 64
"""Blocks of a chain that are looked at in one turn, so that many small deposits cost the node
little: the newest each time, which fall with any below them, and the others part by part."""

AT_ONCE_MAX = 16
"""Messages that are looked up side by side; more wait."""


class Attestor:
    """Plain class; `handlers` is its whole behaviour, `run` watches what it attested. `vaults`
    are the two ends, chain id to address; `entry` makes a journal's entry."""

    def __init__(
        self,
        *,
        key: Key,
        vaults: Mapping[int, bytes],
        evidence: Mapping[int, ChainEvidence],
        memory: Memory,
        entry: Callable[..., Any],
        digests: VaultCodec,
        log: Log,
        watch_every_s: float = WATCH_EVERY_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._vaults = vaults
        self._evidence = evidence
        self._memory = memory
        self._entry = entry
        self._digests = digests
        self._log = log
        self._watch_every_s = watch_every_s
        self._wall_clock = wall_clock
        self._said_halted = False
        self._attested = 0
        self._declined: dict[str, int] = {}
        self._watched = 0
        self._turn = 0
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
        """Watch until cancelled."""
        while True:
            try:
                await self.watch()
            except RiseCurveError as error:
                self._log.warning("attestor_cannot_watch", error=str(error))
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
        return answer

    async def watch(self) -> None:
        """Look once at blocks of what was attested lately (WATCH_MAX); halt where one is gone."""
        since = self._wall_clock() - WATCH_S
        blocks: dict[int, dict[int, bytes]] = {}
        for entry in self._memory.entries:
            if entry.time >= since:
                blocks.setdefault(entry.chain_id, {})[entry.block_number] = entry.block_hash
        self._watched = sum(len(one) for one in blocks.values())
        for chain_id, hashes in blocks.items():
            numbers = _of_turn(sorted(hashes), self._turn)
            for number, found in zip(
                numbers, await self._evidence[chain_id].hashes(numbers), strict=True
            ):
                if found != hashes[number]:
                    self._halt(f"Block {number} of chain {chain_id} was attested and is gone")
        self._turn += 1

    # -------------------------------------------------------------------- private

    async def _attest(self, asked: Attest) -> Attested | Declined:
        halted = self._memory.halted()
        if halted is not None:
            return self._say_halted(halted)
        message = asked.message
        if not attesting.ends_are_ours(message, self._vaults):
            return Declined(attesting.MISMATCH, "Expected a message between our vaults")
        releases = asked.kind == RELEASE
        gather = self._for_release if releases else self._for_refund
        seen, signers, chain_id = await gather(message, asked.block_number)
        refuse = attesting.refuse_release if releases else attesting.refuse_refund
        refusal = refuse(message, self._key.address, seen)
        if refusal is not None:
            return refusal
        written = self._write_down(asked.kind, message.id, seen.event, place=(chain_id, signers))
        if written is not None:
            return written
        digest = self._digests.release_digest if releases else self._digests.refund_digest
        signature = self._key.sign(digest(message, signers))
        self._attested += 1
        return Attested(self._key.address, signature, signers)

    async def _for_release(self, message: Message, block: int) -> tuple[Evidence, bytes, int]:
        source = self._evidence[message.source_chain]
        target = self._evidence[message.target_chain]
        event = await source.event(Deposited, message.id, block_number=block)
        record, refunded, fate, time_, signers = await asyncio.gather(
            source.deposit(message.id),
            source.refunded(message.id),
            target.fate(message.id, final=False),
            target.time(),
            target.signers(),
        )
        seen = _evidence(event, record, refunded, fate=fate, time_=time_, signers=signers)
        return seen, signers.set_hash, message.source_chain

    async def _for_refund(self, message: Message, block: int) -> tuple[Evidence, bytes, int]:
        source = self._evidence[message.source_chain]
        target = self._evidence[message.target_chain]
        event = await target.event(Cancelled, message.id, block_number=block)
        record, refunded, fate, signers = await asyncio.gather(
            source.deposit(message.id),
            source.refunded(message.id),
            target.fate(message.id, final=True),
            source.signers(),
        )
        seen = _evidence(event, record, refunded, fate=fate, time_=0, signers=signers)
        return seen, signers.set_hash, message.target_chain

    def _write_down(
        self, kind: str, message_id: bytes, event: Found, *, place: tuple[int, bytes]
    ) -> Declined | None:
        chain_id, signer_set = place
        before = self._journal.get((kind, message_id))
        if before is not None and before.block_hash != event.block_hash:
            self._halt(f"{kind} of {message_id.hex()} stood in block {before.block_hash.hex()}")
        # It may have been halted while the node was asked.
        halted = self._memory.halted()
        if halted is not None:
            return self._say_halted(halted)
        if before is None:
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
            "attested": self._attested,
            "declined": dict(self._declined),
            "watched_blocks": self._watched,
        }


def _of_turn(numbers: list[int], turn: int) -> list[int]:
    half = WATCH_MAX // 2
    newest, others = numbers[-half:], numbers[:-half]
    parts = -(-len(others) // half) or 1
    return others[turn % parts :: parts] + newest


def _evidence(
    event: Found,
    record: Record,
    refunded: bool,
    *,
    fate: Fate,
    time_: int,
    signers: SignerSet,
) -> Evidence:
    return Evidence(
        event=event,
        depositor=record.depositor,
        amount=record.amount,
        refunded=record.refunded or refunded,
        fate=fate,
        target_time=time_,
        signers=signers.addresses,
    )
