"""What one chain's node says about a vault, read so that it can be signed on: final state, and
events out of blocks that were proven, never out of an answer that merely names them.
"""

from collections.abc import Sequence

from chain.source import ChainSource
from chain.vault_logs import VaultDecoder
from chain.vault_view import DepositRecord, Signers, VaultView
from engine.bridge.attesting import Found
from engine.bridge.events import Cancelled, Deposited
from engine.bridge.messages import Fate
from engine.errors import TransientError
from engine.messages import BlockHeader


class ChainEvidence:
    """One chain. Trouble is TransientError("stale_chain"), and nothing is known then."""

    def __init__(self, source: ChainSource, decoder: VaultDecoder, view: VaultView) -> None:
        self._source = source
        self._decoder = decoder
        self._view = view

    async def chain_id(self) -> int:
        """As the node has it."""
        return await self._source.chain_id()

    async def final(self) -> BlockHeader:
        """The block that the node's own tag calls final."""
        return await self._source.finalised_header()

    async def event(
        self, kind: type[Deposited] | type[Cancelled], message_id: bytes, *, block_number: int
    ) -> Found:
        """The event of `kind` about this message in this block of the canonical chain."""
        final = await self.final()
        nothing = Found(None, block_number, b"", final.number)
        if block_number > final.number:
            return nothing
        header = await self._source.header(block_number)
        if header is None:
            raise TransientError("stale_chain", f"Expected block {block_number}, was none")
        logs = await self._source.block_logs(header)
        events = self._decoder.decode(logs, block_time=header.timestamp)
        again = await self._source.header(block_number)
        if again is None or again.hash != header.hash:
            raise TransientError("stale_chain", f"Expected block {block_number} to stay")
        for event in events:
            if isinstance(event, kind) and event.id == message_id:
                return Found(event.message, block_number, header.hash, final.number)
        return Found(None, block_number, header.hash, final.number)

    async def deposit(self, message_id: bytes) -> DepositRecord:
        """The record in the final state."""
        return await self._view.deposit(message_id, (await self.final()).number)

    async def refunded(self, message_id: bytes) -> bool:
        """Whether it was refunded, at the head."""
        return (await self._view.deposit(message_id)).refunded

    async def fate(self, message_id: bytes, *, final: bool) -> Fate:
        """In the final state, or at the head."""
        return await self._view.fate(message_id, (await self.final()).number if final else "latest")

    async def signers(self) -> Signers:
        """In the final state."""
        return await self._view.signers((await self.final()).number)

    async def time(self) -> int:
        """Of the head, unix seconds."""
        return (await self._source.head()).timestamp

    async def hashes(self, numbers: Sequence[int]) -> list[bytes]:
        """Of the canonical blocks with these numbers."""
        return [header.hash for header in await self._source.headers_at(numbers)]
