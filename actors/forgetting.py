"""What an attestor need not remember any more: attestations that are over, out of a long journal.

Of those that are not among the newest and were attested some time ago, a few are looked at in a
turn, in turns all of them:
  1. its block is not the chain's any more, by as many endpoints as that takes: something final
     was taken back, and that is told; by fewer it stays;
  2. `engine.bridge.attesting.is_over` says whether it may go, by the word of every endpoint that
     answers, and of no fewer than that: what fewer confirm stays, and who is silent is told;
  3. once many may go, the journal is written without them; until then nothing is.
A halted attestor forgets nothing: its journal is what people look at.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from actors.bridge_ports import ChainEvidence, Entry, Memory
from actors.saying import Saying
from engine.bridge import agreement, attesting
from engine.bridge.agreement import Standing
from engine.bridge.control import RELEASE
from engine.bridge.messages import Fate
from engine.errors import RiseCurveError
from engine.limits import ATTESTATIONS_KEPT, ATTESTATIONS_OVER

LOOKED_MAX = 16
"""Attestations looked at in one turn: some calls of the node for each."""

DOUBTED, SILENT = "attestor_endpoints_disagree", "attestor_cannot_forget"
Name = tuple[str, bytes]
Said = TypeVar("Said")


class Forgetting:
    """Plain class; `turn` is its work. `evidence` and `halting` are the attestor's, by chain;
    `gone` is told of a block that was taken back, `saying` of one that is doubted and of endpoints
    that do not answer.
    """

    def __init__(
        self,
        *,
        evidence: Mapping[int, Sequence[ChainEvidence]],
        halting: Mapping[int, int],
        memory: Memory,
        gone: Callable[[str], object],
        saying: Saying,
        after_s: float,
    ) -> None:
        self._evidence = evidence
        self._halting = halting
        self._memory = memory
        self._gone = gone
        self._saying = saying
        self._after_s = after_s
        self._over: set[Name] = set()
        self._next = 0

    async def turn(self, now: float) -> frozenset[Name]:
        """Look at a few; those that were forgotten now. Raises OSError where the journal could not
        be written; an endpoint without an answer raises nothing.
        """
        entries = self._memory.entries
        spare = len(entries) - ATTESTATIONS_KEPT
        if spare <= 0 or self._memory.halted() is not None:
            return frozenset()
        old = [one for one in entries[:spare] if one.time < now - self._after_s]
        await self._look(self._of_turn([one for one in old if _name(one) not in self._over]))
        # While they were looked at it may have been halted.
        if len(self._over) < ATTESTATIONS_OVER or self._memory.halted() is not None:
            return frozenset()
        self._memory.forget(self._over)
        forgotten, self._over = frozenset(self._over), set()
        return forgotten

    # -------------------------------------------------------------------- private

    def _of_turn(self, waiting: Sequence[Entry]) -> Sequence[Entry]:
        # Those that do not end are passed over, and looked at again after all others.
        start = self._next if self._next < len(waiting) else 0
        chosen = waiting[start : start + LOOKED_MAX]
        self._next = start + len(chosen)
        return chosen

    async def _look(self, entries: Sequence[Entry]) -> None:
        over = await asyncio.gather(*map(self._is_over, entries))
        ended = {_name(one) for one, is_over in zip(entries, over, strict=True) if is_over}
        self._over |= ended
        self._next -= len(ended)

    async def _is_over(self, entry: Entry) -> bool:
        here, number = entry.chain_id, entry.block_number
        (there,) = self._evidence.keys() - {here}
        blocks = await self._each(here, lambda end: _block(end, number))
        found = [None if one is None else one[0] for one in blocks]
        if not self._stands(entry, found):
            return False
        ends = await self._each(there, lambda end: _ended(end, entry))
        finals = [one[1] for one in blocks if one is not None]
        said = [one for one in ends if one is not None]
        if len(finals) < self._halting[here] or len(said) < self._halting[there]:
            return False
        return all(
            attesting.is_over(entry.kind, depth=min(finals) - number, fate=fate, refunded=refunded)
            for fate, refunded in said
        )

    def _stands(self, entry: Entry, found: Sequence[bytes | None]) -> bool:
        chain_id, number = entry.chain_id, entry.block_number
        standing = agreement.standing(entry.block_hash, found, self._halting[chain_id])
        reason = f"Block {number} of chain {chain_id} was attested and is gone"
        if standing is Standing.GONE:
            self._gone(reason)
        elif standing is Standing.DOUBTED:
            at = next(at for at, one in enumerate(found) if one not in (None, entry.block_hash))
            self._saying.wrong(
                DOUBTED,
                (chain_id, number),
                as_error=True,
                reason=f"{reason} by endpoint {at} alone",
            )
        else:
            self._saying.over(DOUBTED, (chain_id, number))
        return standing is Standing.STANDS

    async def _each(
        self, chain_id: int, ask: Callable[[ChainEvidence], Awaitable[Said]]
    ) -> list[Said | None]:
        async def one(at: int, end: ChainEvidence) -> Said | None:
            try:
                said = await ask(end)
            except RiseCurveError as error:
                self._saying.wrong(
                    SILENT, (chain_id, at), chain_id=chain_id, endpoint=at, error=str(error)
                )
                return None
            self._saying.over(SILENT, (chain_id, at))
            return said

        return await asyncio.gather(*(one(*pair) for pair in enumerate(self._evidence[chain_id])))


async def _block(end: ChainEvidence, number: int) -> tuple[bytes, int]:
    # (the hash of this block, the number of the final one)
    (found,), final = await asyncio.gather(end.hashes([number]), end.final())
    return found, final.number


async def _ended(end: ChainEvidence, entry: Entry) -> tuple[Fate, bool]:
    # (the target's fate of a release, the source's refund of a refund), in the final state
    if entry.kind == RELEASE:
        return await end.fate(entry.id, final=True), False
    return Fate.NONE, (await end.deposit(entry.id)).refunded


def _name(entry: Entry) -> Name:
    return entry.kind, entry.id
