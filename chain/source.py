"""Blocks and logs of one chain over HTTP, all of it repeatable.

Logs are read in two ways, for two purposes:
  - `block_logs`: *all* logs of a block, by its hash. Only so can a log's position in its
    transaction be told, and the answer be checked: indices without a hole, none missing
    where the header's bloom says there are some. Else the receipts are read.
  - `range_logs`: by topic over many blocks. It only tells where to look.
Every failure is a TransientError("stale_chain"): a later try may succeed.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from chain.decode import TOPICS, RawLog, raw_log
from chain.rpc import METHOD_NOT_FOUND, JsonRpc, RpcError
from engine.errors import TransientError
from engine.limits import BACKFILL_RANGE, MAX_REORG_DEPTH
from engine.messages import BlockHeader
from engine.settings import ChainSettings

BATCH_MAX = 100
"""Calls in one round trip; what public nodes commonly allow."""

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class ChainSource:
    """One chain through one node. `receipts_read` counts blocks whose logs were incomplete."""

    def __init__(self, rpc: JsonRpc, chain: ChainSettings) -> None:
        self._rpc = rpc
        self._chain = chain
        self._range = BACKFILL_RANGE
        self._batch = BATCH_MAX
        self._tag_refused = False
        self._no_block_receipts = False
        self._has_logs: OrderedDict[bytes, bool] = OrderedDict()
        self.receipts_read = 0

    # -------------------------------------------------------------------- headers

    async def head(self) -> BlockHeader:
        """The node's newest sealed block."""
        return self._expected(await self._call("eth_getBlockByNumber", ["latest", False]))

    async def header(self, block: int | bytes) -> BlockHeader | None:
        """By number or hash. None: the node does not have it (yet)."""
        json = await self._call(*_block_call(block))
        return None if json is None else self.header_of(json)

    async def headers(self, first: int, last: int) -> list[BlockHeader]:
        """`first` to `last`, in order."""
        return await self.headers_at(range(first, last + 1))

    async def headers_at(self, numbers: Sequence[int]) -> list[BlockHeader]:
        """Of these numbers, in order."""
        found = await self._many([_block_call(number) for number in numbers])
        return [self._expected(json) for json in found]

    async def finalised(self) -> int:
        """The finalised number, -1 if none: the node's tag, or head less the depth."""
        if self._chain.finality_mode == "tag" and not self._tag_refused:
            try:
                json = await self._rpc.call("eth_getBlockByNumber", ["finalized", False])
                if json is not None:
                    return self.header_of(json).number
            except RpcError:
                self._tag_refused = True
        return max((await self.head()).number - self._chain.finality_depth, -1)

    def header_of(self, json: Mapping[str, Any]) -> BlockHeader:
        """A header of a block or a newHeads frame; TransientError if it is none."""
        try:
            header = BlockHeader(
                chain_id=self._chain.chain_id,
                number=int(json["number"], 16),
                hash=bytes.fromhex(json["hash"][2:]),
                parent_hash=bytes.fromhex(json["parentHash"][2:]),
                timestamp=int(json["timestamp"], 16),
            )
            bloom = int(json.get("logsBloom") or "0x0", 16)
        except _MALFORMED as error:
            raise TransientError("stale_chain", f"Expected a header: {error!r}") from error
        self._has_logs[header.hash] = bloom != 0
        while len(self._has_logs) > MAX_REORG_DEPTH:
            self._has_logs.popitem(last=False)
        return header

    # ----------------------------------------------------------------------- logs

    async def block_logs(self, header: BlockHeader) -> list[RawLog]:
        """All logs of this block, foreign ones too, in order and complete."""
        json = await self._call("eth_getLogs", [_at_hash(header.hash)])
        return await self._complete(header, json)

    async def blocks_logs(self, headers: Sequence[BlockHeader]) -> list[list[RawLog]]:
        """`block_logs` of each, in few round trips."""
        found = await self._many([("eth_getLogs", [_at_hash(one.hash)]) for one in headers])
        pairs = zip(headers, found, strict=True)
        return [await self._complete(header, json) for header, json in pairs]

    async def header_and_logs(self, block_hash: bytes) -> tuple[BlockHeader, list[RawLog]] | None:
        """Both in one round trip. None: the node does not have the block (yet)."""
        calls = [_block_call(block_hash), ("eth_getLogs", [_at_hash(block_hash)])]
        try:
            json, logs = await self._rpc.batch(calls)
        except RpcError as error:
            if "unknown block" in error.message.lower() or "not found" in error.message.lower():
                return None
            raise _refused(error) from error
        if json is None:
            return None
        header = self.header_of(json)
        return header, await self._complete(header, logs)

    async def receipt_logs(self, header: BlockHeader) -> list[RawLog]:
        """All logs of this block from its receipts: another index of the node."""
        self.receipts_read += 1
        receipts = await self._receipts(header)
        logs = [log for receipt in receipts for log in _receipt_logs(receipt, header)]
        return sorted(logs, key=lambda log: log.log_index)

    async def range_logs(self, first: int, last: int) -> list[RawLog]:
        """Logs of our topics in `first` to `last`, of any address, in order."""
        logs: list[RawLog] = []
        while first <= last:
            upto = min(last, first + self._range - 1)
            try:
                found = await self._rpc.call("eth_getLogs", [_in_range(first, upto)])
            except RpcError as error:
                if self._range == 1:
                    raise _refused(error) from error
                self._range = max(1, min(self._range, upto - first + 1) // 2)
                continue
            except TransientError:
                self._range = max(1, self._range // 2)
                raise
            logs.extend(_raw_logs(found))
            first = upto + 1
            self._range = min(BACKFILL_RANGE, self._range * 2)
        return logs

    def log_of(self, json: Mapping[str, Any]) -> RawLog:
        """A log of a logs frame; TransientError if it is none."""
        (log,) = _raw_logs([json])
        return log

    # -------------------------------------------------------------------- private

    async def _complete(self, header: BlockHeader, json: Any) -> list[RawLog]:
        by_index = {log.log_index: log for log in _raw_logs(json)}
        logs = [by_index[index] for index in sorted(by_index)]
        if any(log.block_hash != header.hash for log in logs):
            raise TransientError("stale_chain", f"Expected logs of block {header.number} only")
        promised = self._has_logs.get(header.hash, False)
        whole = logs[-1].log_index == len(logs) - 1 if logs else not promised
        if whole:
            return logs
        logs = await self.receipt_logs(header)
        if promised and not logs:
            raise TransientError("stale_chain", f"Expected logs in block {header.number}")
        return logs

    async def _receipts(self, header: BlockHeader) -> list[Any]:
        block = "0x" + header.hash.hex()
        if not self._no_block_receipts:
            try:
                found = await self._rpc.call("eth_getBlockReceipts", [block])
                return list(_present(found))
            except RpcError as error:
                if error.code != METHOD_NOT_FOUND:
                    raise _refused(error) from error
                self._no_block_receipts = True
        json = _present(await self._call("eth_getBlockByHash", [block, False]))
        calls = [("eth_getTransactionReceipt", [one]) for one in json["transactions"]]
        return await self._many(calls)

    async def _call(self, method: str, params: Sequence[Any]) -> Any:
        try:
            return await self._rpc.call(method, params)
        except RpcError as error:
            raise _refused(error) from error

    async def _many(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        results: list[Any] = []
        while len(results) < len(calls):
            chunk = calls[len(results) : len(results) + self._batch]
            try:
                results.extend(await self._rpc.batch(chunk))
            except RpcError as error:
                # Either the node takes no batch of this size, or one call in it fails.
                if len(chunk) == 1:
                    raise _refused(error) from error
                self._batch = max(1, len(chunk) // 2)
            else:
                self._batch = min(BATCH_MAX, self._batch * 2)
        return results

    def _expected(self, json: Any) -> BlockHeader:
        return self.header_of(_present(json))


def _block_call(block: int | bytes) -> tuple[str, list[Any]]:
    if isinstance(block, bytes):
        return "eth_getBlockByHash", ["0x" + block.hex(), False]
    return "eth_getBlockByNumber", [hex(block), False]


def _at_hash(block_hash: bytes) -> dict[str, Any]:
    return {"blockHash": "0x" + block_hash.hex()}


def _in_range(first: int, last: int) -> dict[str, Any]:
    return {"fromBlock": hex(first), "toBlock": hex(last), "topics": [list(TOPICS)]}


def _present(json: Any) -> Any:
    if json is None:
        raise TransientError("stale_chain", "Expected a block, was none: not there yet")
    return json


def _raw_logs(json: Any) -> list[RawLog]:
    try:
        return [raw_log(one) for one in json]
    except _MALFORMED as error:
        raise TransientError("stale_chain", f"Expected logs: {error!r}") from error


def _receipt_logs(receipt: Any, header: BlockHeader) -> list[RawLog]:
    try:
        block_hash = bytes.fromhex(receipt["blockHash"][2:])
        logs = _raw_logs(receipt["logs"])
    except _MALFORMED as error:
        raise TransientError("stale_chain", f"Expected a receipt: {error!r}") from error
    if block_hash != header.hash:
        raise TransientError("stale_chain", f"Expected receipts of block {header.number} only")
    return logs


def _refused(error: RpcError) -> TransientError:
    return TransientError("stale_chain", f"The node refused: {error}")
