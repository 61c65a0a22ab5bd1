"""Blocks and logs of one chain over HTTP, all of it repeatable.

Logs are read in two ways, for two purposes:
  - `block_logs`: *all* logs of a block, by its hash. Only so can a log's position in its
    transaction be told, and the answer be checked (below).
  - `range_logs`: by topic over many blocks. It only tells where to look.
Every failure is a TransientError("stale_chain"): a later try may succeed.

A block that by its bloom may hold one of our topics is *proven*: its receipts must make the
header's receipts root, and stand in the order that it holds. So no log of ours is lost or
moved, whatever a node tells. The transactions' hashes are believed, but where the header came
with a list of them (over HTTP; a pushed one has none) it must be theirs. Any other block, and
every block where receipts cannot be proven (a header without the root, an unknown kind;
said once), is taken in one of four cases, looked at in this order:
  1. whole: indices without a hole, and the bloom of the logs is the header's;
  2. the header came without a bloom, or with an empty one that its logs deny: it is read by
     hash, once, and 1 is tried again;
  3. no header has ever had a bloom, and there are logs: indices alone count; said once;
  4. else the receipts, another index of the node, are read and must be whole themselves.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from chain.bloom import any_of, bloom_of, may_hold
from chain.decode import TOPICS, LogPlace, RawLog, log_place, raw_log
from chain.receipts import STEP, Places, digest_of, in_order, root_steps
from chain.receipts import encoded as receipt_bytes
from chain.rpc import METHOD_NOT_FOUND, Rpc, RpcError
from chain.shreds import Shred, ShredOrder, ShredReader
from engine.errors import TransientError
from engine.limits import BACKFILL_RANGE, MAX_REORG_DEPTH
from engine.messages import BlockHeader
from engine.settings import ChainSettings

BATCH_MAX = 100
"""Calls in one round trip; what public nodes commonly allow."""

PROOFS_AT_ONCE = 8
"""Blocks whose receipts are fetched side by side: a busy one's are a megabyte."""

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class ChainSource:
    """One chain through one node, or several that answer as one.

    `proven` counts blocks taken by their receipts root, `receipts_read` those whose logs were
    not whole and were read from receipts, `bloom_mismatches` answers that were not what the
    header's bloom says; `bloomless` and `unproven` are why these are not looked at.
    `topics` are those that `range_logs` looks for and blocks are proven for. With `tag_only`
    nothing counts as final that the node itself does not call so.
    """

    def __init__(
        self,
        rpc: Rpc,
        chain: ChainSettings,
        *,
        topics: Sequence[str] = TOPICS,
        tag_only: bool = False,
        warn: Callable[..., None] | None = None,
    ) -> None:
        self._rpc = rpc
        self._chain = chain
        self._topics = list(topics)
        self._topic_hashes = tuple(bytes.fromhex(topic[2:]) for topic in topics)
        self._tag_only = tag_only
        self._warn = warn
        self._range = BACKFILL_RANGE
        self._batch = BATCH_MAX
        self._tag_refused = False
        self._no_block_receipts = False
        self._shreds = ShredReader()
        self._blooms: OrderedDict[bytes, int | None] = OrderedDict()
        self._bloom_seen = False
        self._empty_believed = True
        self._roots: dict[bytes, bytes] = {}
        self._transactions: dict[bytes, bytes] = {}
        self.bloomless = ""
        self.unproven = ""
        self.proven = 0
        self.receipts_read = 0
        self.bloom_mismatches = 0

    def status(self) -> dict[str, Any]:
        """Counters."""
        return {
            "receipts_read": self.receipts_read,
            "bloom_mismatches": self.bloom_mismatches,
            "bloomless": self.bloomless,
            "proven": self.proven,
            "unproven": self.unproven,
        }

    async def chain_id(self) -> int:
        """Which chain the node says that it is of."""
        found = await self._call("eth_chainId", [])
        try:
            return int(found, 16)
        except (TypeError, ValueError) as error:
            raise TransientError("stale_chain", f"Expected a chain id, was {found!r}") from error

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
        if self._tag_only:
            return self._final((await self.finalised_header()).number)
        if self._chain.finality_mode == "tag" and not self._tag_refused:
            try:
                json = await self._rpc.call("eth_getBlockByNumber", ["finalized", False])
                if json is not None:
                    return self._final(self.header_of(json).number)
            except RpcError:
                self._tag_refused = True
        return self._final((await self.head()).number - self._chain.finality_depth)

    async def finalised_header(self) -> BlockHeader:
        """The block of the node's own `finalized` tag. TransientError where it has none."""
        return self._expected(await self._call("eth_getBlockByNumber", ["finalized", False]))

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
            if header.number < 0 or header.timestamp < 0:
                raise ValueError(f"Expected numbers from 0 on, was {header}")
            bloom = int(json["logsBloom"], 16) if json.get("logsBloom") else None
            root = bytes.fromhex((json.get("receiptsRoot") or "0x")[2:])
        except _MALFORMED as error:
            raise TransientError("stale_chain", f"Expected a header: {error!r}") from error
        self._bloom_seen |= bool(bloom)
        self._blooms[header.hash] = bloom or self._blooms.get(header.hash) or bloom
        if any(root):
            self._roots[header.hash] = root
        self._note_transactions(header, json.get("transactions"))
        while len(self._blooms) > MAX_REORG_DEPTH:
            oldest, _ = self._blooms.popitem(last=False)
            self._roots.pop(oldest, None)
            self._transactions.pop(oldest, None)
        return header

    def ours_in_bloom(
        self, header: BlockHeader, addresses: Collection[bytes], topics: Collection[bytes]
    ) -> bool | None:
        """Whether the block may hold such a log, of any of both; None: its bloom is unknown."""
        bloom = self._blooms.get(header.hash)
        if bloom is None or not self._bloom_seen:
            return None
        return may_hold(bloom, addresses, topics)

    # ----------------------------------------------------------------------- logs

    async def block_logs(self, header: BlockHeader) -> list[RawLog]:
        """All logs of this block, foreign ones too, in order and complete."""
        logs = await self._proven(header)
        if logs is not None:
            return logs
        json = await self._call("eth_getLogs", [_at_hash(header.hash)])
        return await self._complete(header, json)

    async def blocks_logs(self, headers: Sequence[BlockHeader]) -> list[list[RawLog]]:
        """`block_logs` of each, side by side or in few round trips."""
        found: dict[bytes, list[RawLog] | None] = {}
        for at in range(0, len(headers), PROOFS_AT_ONCE):
            chunk = headers[at : at + PROOFS_AT_ONCE]
            proofs = await asyncio.gather(*(self._proven(one) for one in chunk))
            found.update(zip((one.hash for one in chunk), proofs, strict=True))
        rest = [one for one in headers if found[one.hash] is None]
        json = await self._many([("eth_getLogs", [_at_hash(one.hash)]) for one in rest])
        for header, logs in zip(rest, json, strict=True):
            found[header.hash] = await self._complete(header, logs)
        return [found[one.hash] or [] for one in headers]

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
        proven = await self._proven(header)
        return header, await self._complete(header, logs) if proven is None else proven

    async def receipt_logs(self, header: BlockHeader) -> list[RawLog]:
        """All logs of this block from its receipts, complete: another index of the node."""
        logs = await self._read_receipts(header)
        if not await self._whole(header, logs):
            raise TransientError("stale_chain", f"Expected all receipts of block {header.number}")
        return logs

    async def reread(self, header: BlockHeader) -> tuple[list[RawLog], list[RawLog]]:
        """The block's logs by its hash, and by its receipts, both as the node tells them.

        For comparison: neither is checked but for being of this block.
        """
        json = await self._call("eth_getLogs", [_at_hash(header.hash)])
        return _in_order(header, json), await self._read_receipts(header)

    async def range_logs(self, first: int, last: int) -> list[RawLog]:
        """Logs of our topics in `first` to `last`, of any address, in order."""
        logs: list[RawLog] = []
        while first <= last:
            upto = min(last, first + self._range - 1)
            try:
                found = await self._rpc.call("eth_getLogs", [self._in_range(first, upto)])
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

    def place_of(self, json: Mapping[str, Any]) -> LogPlace:
        """Where the log of a logs frame stands; TransientError if that is not to be read."""
        try:
            return log_place(json)
        except _MALFORMED as error:
            raise TransientError("stale_chain", f"Expected a log: {error!r}") from error

    def shred_of(self, json: Mapping[str, Any]) -> Shred:
        """A shred of a shreds frame; TransientError if it is none that we know."""
        return self._shreds.read(json)

    def shred_order(self) -> ShredOrder:
        """What tells gaps between the shreds of one connection."""
        return ShredOrder()

    # -------------------------------------------------------------------- private

    def _final(self, number: int) -> int:
        self._rpc.note_finalised(number)
        return max(number, -1)

    async def _proven(self, header: BlockHeader) -> list[RawLog] | None:
        root, bloom = self._roots.get(header.hash), self._blooms.get(header.hash)
        if self.unproven or not root:
            return None
        if not bloom or not any_of(bloom, self._topic_hashes):
            return None
        places = Places(header.number, header.hash)
        receipts = await self._receipts(header)
        logs, found, reason, misplaced = await self._with_root(receipts, header, places)
        if found == root:
            # Of a known kind, so there is no excuse.
            if misplaced:
                message = f"Expected receipts of block {header.number} in place: {misplaced}"
                raise TransientError("stale_chain", message)
            known = self._transactions.get(header.hash)
            if known is not None and known != places.transactions:
                message = f"Expected receipts of the transactions of block {header.number}"
                raise TransientError("stale_chain", message)
            self.proven += 1
            return logs
        reason = reason or "another root than the header's"
        await self._must_be_strange(header, logs, reason)
        return None

    async def _with_root(
        self, receipts: Sequence[Any], header: BlockHeader, places: Places
    ) -> tuple[list[RawLog], bytes | None, str, str]:
        # (the logs, the root, why there is none, what stands elsewhere). A busy block takes tens
        # of milliseconds: others have the loop in between. The root is made of the logs as they
        # were decoded.
        logs: list[RawLog] = []
        encoded: list[bytes] = []
        reason = misplaced = ""
        try:
            receipts = in_order(receipts)
        except _MALFORMED as error:
            reason = repr(error)
        for at, receipt in enumerate(receipts, 1):
            mine = _receipt_logs(receipt, header)
            logs += mine
            try:
                encoded.append(receipt_bytes(receipt, mine))
            except _MALFORMED as error:
                reason = reason or repr(error)
            try:
                places.take(receipt, mine)
            except _MALFORMED as error:
                misplaced = misplaced or repr(error)
            if at % STEP == 0:
                await asyncio.sleep(0)
        logs.sort(key=lambda log: log.log_index)
        return logs, None if reason else await _root(encoded), reason, misplaced

    def _note_transactions(self, header: BlockHeader, told: Any) -> None:
        # A pushed head has none, or an empty list; with whole transactions we never ask for it.
        if told and isinstance(told, list) and header.hash in self._roots:
            try:
                self._transactions[header.hash] = digest_of(told)
            except TypeError:
                return

    async def _must_be_strange(
        self, header: BlockHeader, logs: Sequence[RawLog], reason: str
    ) -> None:
        # Receipts of an unknown kind, or a lie? Where a proof ever held, or where the two
        # indexes differ, it is a lie.
        json = await self._call("eth_getLogs", [_at_hash(header.hash)])
        if self.proven or _in_order(header, json) != logs or not await self._whole(header, logs):
            message = f"Expected all receipts of block {header.number}: {reason}"
            raise TransientError("stale_chain", message)
        self.unproven = f"Block {header.number}: {reason}"
        if self._warn is not None:
            self._warn("node_receipts_unproven", block=header.number, reason=reason)

    async def _complete(self, header: BlockHeader, json: Any) -> list[RawLog]:
        logs = _in_order(header, json)
        return logs if await self._whole(header, logs) else await self.receipt_logs(header)

    async def _whole(self, header: BlockHeader, logs: Sequence[RawLog]) -> bool:
        if logs and logs[-1].log_index != len(logs) - 1:
            return False
        found = bloom_of(logs)
        bloom = self._blooms.get(header.hash)
        if bloom is None or (bloom == 0 and (found or not self._empty_believed)):
            bloom = await self._bloom_again(header, bloom)
        if bloom == found:
            return True
        if not bloom and not self._bloom_seen:
            self._say_bloomless(header)
            return True
        self.bloom_mismatches += 1
        return False

    async def _bloom_again(self, header: BlockHeader, before: int | None) -> int | None:
        if self.bloomless and not self._bloom_seen:
            return before
        if await self.header(header.hash) is None:
            raise TransientError("stale_chain", f"Expected block {header.number}, was none")
        bloom = self._blooms.get(header.hash)
        # Some nodes push heads whose blooms are always empty: no longer taken at their word.
        self._empty_believed &= not (before == 0 and bloom)
        return bloom

    def _say_bloomless(self, header: BlockHeader) -> None:
        if not self.bloomless:
            self.bloomless = f"Block {header.number} has logs and no bloom"
            if self._warn is not None:
                self._warn("node_without_blooms", block=header.number)

    async def _read_receipts(self, header: BlockHeader) -> list[RawLog]:
        self.receipts_read += 1
        return self._logs_of(await self._receipts(header), header)

    def _logs_of(self, receipts: Sequence[Any], header: BlockHeader) -> list[RawLog]:
        logs = [log for receipt in receipts for log in _receipt_logs(receipt, header)]
        return sorted(logs, key=lambda log: log.log_index)

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
        self._note_transactions(header, json["transactions"])
        calls = [("eth_getTransactionReceipt", [one]) for one in json["transactions"]]
        return await self._many(calls)

    def _in_range(self, first: int, last: int) -> dict[str, Any]:
        return {"fromBlock": hex(first), "toBlock": hex(last), "topics": [self._topics]}

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


def _present(json: Any) -> Any:
    if json is None:
        raise TransientError("stale_chain", "Expected a block, was none: not there yet")
    return json


def _raw_logs(json: Any) -> list[RawLog]:
    try:
        return [raw_log(one) for one in json]
    except _MALFORMED as error:
        raise TransientError("stale_chain", f"Expected logs: {error!r}") from error


def _in_order(header: BlockHeader, json: Any) -> list[RawLog]:
    by_index = {log.log_index: log for log in _raw_logs(json)}
    logs = [by_index[index] for index in sorted(by_index)]
    if any(log.block_hash != header.hash for log in logs):
        raise TransientError("stale_chain", f"Expected logs of block {header.number} only")
    return logs


async def _root(encoded: Sequence[bytes]) -> bytes:
    steps = root_steps(encoded)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bytes(end.value)
        await asyncio.sleep(0)


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
