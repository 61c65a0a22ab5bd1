"""What an attestor need not remember any more: attestations that are over, out of a long journal.

Of those that are not among the newest and were attested some time ago, a few are looked at in a
turn, in turns all of them:
  1. its block is not the chain's any more, by as many endpoints as that takes: something final
     was taken back, and that is told; by fewer it stays;
  2. `engine.bridge.attesting.is_over` says whether it may go, by the word of every endpoint;
  3. once many may go, the journal is written without them; until then nothing is.
A halted attestor forgets nothing: its journal is what people look at.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from actors.bridge_ports import ChainEvidence, Entry, Memory
from engine.bridge import agreement, attesting
from engine.bridge.agreement import Standing
from engine.bridge.control import RELEASE
from engine.bridge.messages import Fate
from engine.limits import ATTESTATIONS_KEPT, ATTESTATIONS_OVER

LOOKED_MAX = 16
"""Attestations looked at in one turn: some calls of the node for each."""

Name = tuple[str, bytes]


class Forgetting:
    """Plain class; `turn` is its work. `evidence` and `halting` are the attestor's, by chain;
    `gone` is told of a block that was taken back.
    """

    def __init__(
        self,
        *,
        evidence: Mapping[int, Sequence[ChainEvidence]],
        halting: Mapping[int, int],
        memory: Memory,
        gone: Callable[[str], object],
        after_s: float,
    ) -> None:
        self._evidence = evidence
        self._halting = halting
        self._memory = memory
        self._gone = gone
        self._after_s = after_s
        self._over: set[Name] = set()
        self._next = 0

    async def turn(self, now: float) -> frozenset[Name]:
        """Look at a few; those that were forgotten now. Raises TransientError, and OSError where
        the journal could not be written.
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
        here = self._evidence[entry.chain_id]
        (there,) = (ends for chain, ends in self._evidence.items() if chain != entry.chain_id)
        number = entry.block_number
        found = [one for (one,) in await asyncio.gather(*(end.hashes([number]) for end in here))]
        standing = agreement.standing(entry.block_hash, found, self._halting[entry.chain_id])
        if standing is Standing.GONE:
            self._gone(f"Block {number} of chain {entry.chain_id} was attested and is gone")
        if standing is not Standing.STANDS:
            return False
        final = min(await asyncio.gather(*(_final(end) for end in here)))
        ends = await asyncio.gather(*(_ended(end, entry) for end in there))
        return all(
            attesting.is_over(entry.kind, depth=final - number, fate=fate, refunded=refunded)
            for fate, refunded in ends
        )


async def _final(end: ChainEvidence) -> int:
    return (await end.final()).number


async def _ended(end: ChainEvidence, entry: Entry) -> tuple[Fate, bool]:
    # (the target's fate of a release, the source's refund of a refund), in the final state
    if entry.kind == RELEASE:
        return await end.fate(entry.id, final=True), False
    return Fate.NONE, (await end.deposit(entry.id)).refunded


def _name(entry: Entry) -> Name:
    return entry.kind, entry.id
