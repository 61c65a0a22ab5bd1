"""What an attestor need not remember any more: attestations that are over, out of a long journal.

Of those that are not among the newest and were attested some time ago, a few are looked at in a
turn, in turns all of them:
  1. its block is not the chain's any more: something final was taken back, and that is told;
  2. `engine.bridge.attesting.is_over` says whether it may go;
  3. once many may go, the journal is written without them; until then nothing is.
A halted attestor forgets nothing: its journal is what people look at.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from actors.bridge_ports import ChainEvidence, Entry, Memory
from engine.bridge import attesting
from engine.bridge.control import RELEASE
from engine.bridge.messages import Fate
from engine.limits import ATTESTATIONS_KEPT, ATTESTATIONS_OVER

LOOKED_MAX = 16
"""Attestations looked at in one turn: some calls of the node for each."""

Name = tuple[str, bytes]


class Forgetting:
    """Plain class; `turn` is its work. `gone` is told of a block that was taken back."""

    def __init__(
        self,
        *,
        evidence: Mapping[int, ChainEvidence],
        memory: Memory,
        gone: Callable[[str], object],
        after_s: float,
    ) -> None:
        self._evidence = evidence
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
        (there,) = (one for chain, one in self._evidence.items() if chain != entry.chain_id)
        final = (await here.final()).number
        (found,) = await here.hashes([entry.block_number])
        if found != entry.block_hash:
            place = f"Block {entry.block_number} of chain {entry.chain_id}"
            self._gone(f"{place} was attested and is gone")
            return False
        fate, refunded = Fate.NONE, False
        if entry.kind == RELEASE:
            fate = await there.fate(entry.id, final=True)
        else:
            refunded = (await there.deposit(entry.id)).refunded
        depth = final - entry.block_number
        return attesting.is_over(entry.kind, depth=depth, fate=fate, refunded=refunded)


def _name(entry: Entry) -> Name:
    return entry.kind, entry.id
