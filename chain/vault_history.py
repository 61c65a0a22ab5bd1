"""One deposit out of a vault's logs, by the id of its message."""

from chain.decode import raw_log
from chain.rpc import Rpc, RpcError
from chain.vault_logs import TOPIC_OF, VaultDecoder
from engine.bridge.events import Deposited
from engine.bridge.messages import Message
from engine.errors import TransientError
from engine.limits import BACKFILL_RANGE


class VaultHistory:
    """One vault's. A node that refuses a long range is asked range by range, newest first."""

    def __init__(self, rpc: Rpc, decoder: VaultDecoder, *, vault: bytes, first_block: int) -> None:
        self._rpc = rpc
        self._decoder = decoder
        self._vault = vault
        self._first_block = first_block

    async def message(self, message_id: bytes) -> Message | None:
        """What was deposited under this id; None: no log of it. TransientError."""
        try:
            return await self._within(message_id, self._first_block, None)
        except RpcError:
            return await self._by_ranges(message_id)

    async def _by_ranges(self, message_id: bytes) -> Message | None:
        try:
            last = await self._head()
            while last >= self._first_block:
                first = max(self._first_block, last - BACKFILL_RANGE + 1)
                found = await self._within(message_id, first, last)
                if found is not None:
                    return found
                last = first - 1
        except RpcError as error:
            raise TransientError("stale_chain", f"The node refused: {error}") from error
        return None

    async def _head(self) -> int:
        found = await self._rpc.call("eth_blockNumber")
        try:
            return int(found, 16)
        except (TypeError, ValueError) as error:
            raise TransientError("stale_chain", f"Expected a number: {error!r}") from error

    async def _within(self, message_id: bytes, first: int, last: int | None) -> Message | None:
        query = {
            "address": "0x" + self._vault.hex(),
            "fromBlock": hex(first),
            "toBlock": "latest" if last is None else hex(last),
            "topics": ["0x" + TOPIC_OF["Deposited"].hex(), "0x" + message_id.hex()],
        }
        found = await self._rpc.call("eth_getLogs", [query])
        try:
            logs = [raw_log(one) for one in found]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TransientError("stale_chain", f"Expected logs: {error!r}") from error
        for event in self._decoder.decode(logs, block_time=0):
            if isinstance(event, Deposited) and event.id == message_id:
                return event.message
        return None
