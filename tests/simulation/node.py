"""A node over a `SimChain` that answers JSON-RPC, pushes frames, and lies on demand.

Its headers are always true: a node that forges them is another chain. Everything else may
be wrong, by the mode in `lie`, at the places in `where`, with probability `share`:
drop, repeat, reorder logs; delay: they come late; error: it refuses; lag: it answers as a
node some blocks behind; false_head: it pushes heads of blocks that were taken back.
"""

import asyncio
import copy
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain.rpc import RpcError
from engine.errors import TransientError
from tests.simulation.chain import SimBlock, SimChain, Tx
from tests.simulation.wire import Json, hexed

PUSHED, RANGES, AT_HASH, RECEIPTS = "pushed", "ranges", "at_hash", "receipts"
EVERYWHERE = frozenset({PUSHED, RANGES, AT_HASH, RECEIPTS})
CALL_S = 0.002
LATE_S = 1.5
FINAL_BELOW = 12
"""Blocks: what is deeper than that is final, and deeper than any reorg within the bound."""


@dataclass(frozen=True)
class Frame:
    kind: str
    payload: Json
    received_ns: int


@dataclass
class Faults:
    lie: str = ""
    where: frozenset[str] = EVERYWHERE
    share: float = 0.5
    lag: int = 0
    cut_share: float = 0.0
    half_open: bool = False
    told: Counter[str] = field(default_factory=Counter)


class SimNode:
    """`chain.rpc.Rpc` and the stream factory. `shreds`: speaks them; else hashless logs."""

    def __init__(self, chain: SimChain, dice: random.Random, *, shreds: bool) -> None:
        self.chain = chain
        self.faults = Faults()
        self.shreds = shreds
        self._random = dice
        self._streams: list[SimStream] = []
        self._final = -1
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_getBlockByNumber": self._by_number,
            "eth_getBlockByHash": self._by_hash,
            "eth_getLogs": self._get_logs,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_blockNumber": lambda: hex(self._seen.number),
        }

    # ------------------------------------------------------------------------ what happens

    def preview(self, txs: Sequence[Tx]) -> SimBlock:
        """Show what the next block may hold; a copy of it, which is not on the chain."""
        chain = copy.copy(self.chain)
        chain.blocks = list(self.chain.blocks)
        block = chain.seal(list(txs))
        first = 0
        for index, receipt in enumerate(block.receipts):
            if self.shreds:
                self._push("shred", _shred(block, index, first))
            else:
                for log in receipt["logs"]:
                    self._push("log", log | {"blockHash": None})
            first += len(receipt["logs"])
        return block

    def sealed(self, blocks: Sequence[SimBlock]) -> None:
        """Push the heads, and the logs, of blocks that are new on the chain."""
        for block in blocks:
            if self._lies("false_head", PUSHED) and self.chain.orphans:
                self._push("head", self._random.choice(self.chain.orphans).header)
            self._push("head", block.header)
            for log in self._logs(block.json_logs, PUSHED):
                self._push("log", log, late=self._lies("delay", PUSHED))
        if self._random.random() < self.faults.cut_share:
            self.cut()

    def reorged(self, blocks: Sequence[SimBlock]) -> None:
        """As RISE and anvil do it: nothing but heads."""
        for block in blocks:
            self._push("head", block.header)

    def cut(self) -> None:
        """Every connection ends."""
        self.faults.told["cut"] += 1
        for stream in list(self._streams):
            stream.queue.put_nowait(None)

    # ------------------------------------------------------------------------------ `Rpc`

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any:
        await asyncio.sleep(CALL_S)
        if self.faults.half_open:
            await asyncio.sleep(2.0)
            raise TransientError("stale_chain", "no answer in time")
        if self._lies("error", AT_HASH):
            raise RpcError(-32005, "injected")
        found = self._methods.get(method)
        if found is None:
            raise RpcError(-32601, "Method not found")
        return copy.deepcopy(found(*params))

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [await self.call(method, params) for method, params in calls]

    async def close(self) -> None: ...

    def note_finalised(self, number: int) -> None: ...

    def stream(self) -> "SimStream":
        return SimStream(self, self._streams)

    # ---------------------------------------------------------------------------- private

    @property
    def _seen(self) -> SimBlock:
        if self.faults.lag:
            self.faults.told["lag"] += 1
        return self.chain.blocks[max(len(self.chain.blocks) - 1 - self.faults.lag, 0)]

    def _lies(self, kind: str, place: str) -> bool:
        faults = self.faults
        lies = faults.lie == kind and place in faults.where
        told = lies and self._random.random() < faults.share
        faults.told[kind] += told
        return told

    def _logs(self, logs: list[Json], place: str) -> list[Json]:
        if not logs:
            return logs
        made = list(logs)
        if self._lies("drop", place):
            del made[self._random.randrange(len(made)) if self._random.random() < 0.5 else -1]
        if self._lies("repeat", place):
            made += self._random.choices(made, k=2) if made else []
        if self._lies("reorder", place):
            self._random.shuffle(made)
        return made

    def _by_number(self, block: str, _full: bool) -> Json | None:
        seen = self._seen.number
        if block == "finalized":
            self._final = max(self._final, self.chain.tip.number - FINAL_BELOW)
            number = self._final
        else:
            number = seen if block == "latest" else int(block, 16)
        if number < 0 or number > seen or number >= len(self.chain.blocks):
            return None
        return self.chain.blocks[number].header

    def _by_hash(self, block_hash: str, _full: bool) -> Json | None:
        found = self._block(block_hash)
        return found.header if found else None

    def _block(self, block_hash: str) -> SimBlock | None:
        found = self.chain.by_hash(block_hash)
        return found if found and found.number <= self._seen.number else None

    def _get_logs(self, query: Json) -> list[Json]:
        if "blockHash" in query:
            block = self._block(query["blockHash"])
            if block is None:
                raise RpcError(-32000, "unknown block")
            if self._lies("delay", AT_HASH):
                return []
            return self._logs(block.json_logs, AT_HASH)
        first, last = (int(query[name], 16) for name in ("fromBlock", "toBlock"))
        blocks = self.chain.blocks[first : min(last, self._seen.number) + 1]
        if self._lies("delay", RANGES):
            return []
        return self._logs([log for block in blocks for log in block.json_logs], RANGES)

    def _block_receipts(self, block_hash: str) -> list[Json]:
        block = self._block(block_hash)
        if block is None:
            raise RpcError(-32000, "unknown block")
        if self._lies("delay", RECEIPTS) or self._lies("drop", RECEIPTS):
            return block.receipts[:-1]
        if self._lies("reorder", RECEIPTS):
            return block.receipts[::-1]
        return block.receipts

    def _push(self, kind: str, payload: Json, *, late: bool = False) -> None:
        if self.faults.half_open:
            return
        loop = asyncio.get_running_loop()
        frame = Frame(kind, copy.deepcopy(payload), int(loop.time() * 1e9))
        for stream in self._streams:
            if late:
                loop.call_later(LATE_S, stream.queue.put_nowait, frame)
            else:
                stream.queue.put_nowait(frame)


class SimStream:
    """One connection; its queue ends with None."""

    def __init__(self, node: SimNode, streams: "list[SimStream]") -> None:
        self._node = node
        self._streams = streams
        self.queue: asyncio.Queue[Frame | None] = asyncio.Queue()

    async def frames(self) -> AsyncIterator[Frame]:
        await asyncio.sleep(CALL_S)
        if self._node.faults.half_open:
            raise TransientError("stale_chain", "no answer in time")
        self._streams.append(self)
        return self._drain()

    def refuse_shreds(self, reason: str) -> None:
        raise AssertionError(f"Expected shreds that can be read: {reason}")

    async def close(self) -> None:
        if self in self._streams:
            self._streams.remove(self)

    async def _drain(self) -> AsyncIterator[Frame]:
        while (frame := await self.queue.get()) is not None:
            yield frame
        raise TransientError("stale_chain", "cut")


def _shred(block: SimBlock, index: int, first: int) -> Json:
    receipt = block.receipts[index]
    logs = [{name: log[name] for name in ("address", "topics", "data")} for log in receipt["logs"]]
    transaction = {"hash": receipt["transactionHash"], "signer": hexed(bytes(20)), "type": "0x2"}
    told = {"type": "0x2", "status": "0x1", "cumulativeGasUsed": "0x1", "logs": logs}
    return {
        "blockNumber": block.number,
        "shredIdx": index,
        "blockTimestamp": block.time,
        "startingLogIndex": first,
        "transactions": [{"transaction": transaction, "receipt": told}],
    }
