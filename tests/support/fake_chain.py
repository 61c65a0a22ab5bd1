"""A chain without a node: source, stream and decoder over blocks made by a `Scenario`."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chain.shreds import ShredOrder
from engine.errors import TransientError
from engine.messages import Block, BlockHeader, ChainEvent
from tests.support.scenario import CHAIN_ID

GENESIS = Block(BlockHeader(CHAIN_ID, 0, bytes(32), b"\xee" * 32, 1_700_000_000), ())


@dataclass(frozen=True)
class FakeLog:
    """A log is its event; None: somebody else's."""

    block_number: int
    block_hash: bytes | None
    tx_hash: bytes
    log_index: int
    event: ChainEvent | None


@dataclass(frozen=True)
class FakeFrame:
    kind: str
    payload: dict[str, Any]
    received_ns: int


@dataclass(frozen=True)
class FakeShred:
    block_number: int
    index: int
    timestamp: int
    logs: tuple[FakeLog, ...]


class FakeDecoder:
    def __init__(self) -> None:
        self.learnt = 0

    def ours(self, log: FakeLog) -> bool:
        return log.event is not None

    def learn(self, logs: Iterable[FakeLog]) -> None:
        self.learnt += len(list(logs))

    def decode(self, logs: Sequence[FakeLog], *, block_time: int) -> tuple[ChainEvent, ...]:
        return tuple(log.event for log in logs if log.event is not None)


def logs_of(block: Block) -> list[FakeLog]:
    """The logs of a block's events."""
    header = block.header
    return [
        FakeLog(header.number, header.hash, e.at.tx_hash, e.at.log_index, e) for e in block.events
    ]


class FakeChain:
    """`blocks` is what the node has; the switches say how it misbehaves."""

    def __init__(self) -> None:
        self.blocks: list[Block] = [GENESIS]
        self.away = False
        self.frozen = False
        self.sockets_refused = False
        self.hidden: set[tuple[int, int]] = set()
        """(block, log index) that logs leave out and receipts have."""
        self.lost: set[tuple[int, int]] = set()
        """The same, missing in receipts too."""
        self.not_yet: dict[int, int] = {}
        """Block number to how many reads of it still find nothing."""
        self.final = -1
        self.range_calls: list[tuple[int, int]] = []
        self.calls_now = 0
        self.calls_most = 0
        self.streams: list[FakeStream] = []
        self.shreds_refused: list[str] = []

    # ----------------------------------------------------------------- what tests do

    def add(self, block: Block, *, push: str = "head", at_ns: int = 1) -> None:
        """Seal a block; `push` names the frames that tell of it: head, logs, all or none."""
        self.blocks.append(block)
        if push in ("logs", "all"):
            for log in logs_of(block):
                self.push("log", {"log": log}, at_ns)
        if push in ("head", "all"):
            self.push("head", {"header": block.header}, at_ns + 1)

    def replace(self, depth: int, blocks: Sequence[Block], *, push: bool = True) -> None:
        """Reorganise: the newest `depth` blocks are gone, `blocks` stand in their place."""
        del self.blocks[len(self.blocks) - depth :]
        for block in blocks:
            self.blocks.append(block)
        if push:
            for block in blocks:
                self.push("head", {"header": block.header})

    def preview(self, block: Block, *, shreds: bool = True, first: int = 0) -> None:
        """Show a block that will be sealed, one transaction a shred, or as logs without a hash."""
        by_tx: dict[bytes, list[FakeLog]] = {}
        for log in logs_of(block):
            assert log.event is not None
            at = replace(log.event.at, block_hash=None)
            event = replace(log.event, at=at)
            by_tx.setdefault(log.tx_hash, []).append(replace(log, block_hash=None, event=event))
        for index, logs in enumerate(by_tx.values(), first):
            if shreds:
                shred = FakeShred(block.header.number, index, block.header.timestamp, tuple(logs))
                self.push("shred", {"shred": shred}, 3)
            else:
                for log in logs:
                    self.push("log", {"log": log}, 3)

    def push(self, kind: str, payload: dict[str, Any], at_ns: int = 1) -> None:
        for stream in self.streams:
            stream.queue.put_nowait(FakeFrame(kind, payload, at_ns))

    def cut(self) -> None:
        for stream in list(self.streams):
            stream.queue.put_nowait(None)

    def stream(self) -> "FakeStream":
        return FakeStream(self)

    # ------------------------------------------------------------------- the source

    async def head(self) -> BlockHeader:
        await self._call()
        return self.blocks[-1].header

    async def header(self, block: int | bytes) -> BlockHeader | None:
        await self._call()
        found = self._find(block)
        return found.header if found else None

    async def headers(self, first: int, last: int) -> list[BlockHeader]:
        return await self.headers_at(range(first, last + 1))

    async def headers_at(self, numbers: Sequence[int]) -> list[BlockHeader]:
        await self._call()
        found = [self._find(number) for number in numbers]
        if None in found:
            raise TransientError("stale_chain", "not found")
        return [block.header for block in found if block]

    async def finalised(self) -> int:
        await self._call()
        return self.final

    async def block_logs(self, header: BlockHeader) -> list[FakeLog]:
        await self._call()
        return self._logs(header, self.hidden | self.lost)

    async def blocks_logs(self, headers: Sequence[BlockHeader]) -> list[list[FakeLog]]:
        return [await self.block_logs(header) for header in headers]

    async def header_and_logs(self, block_hash: bytes) -> tuple[BlockHeader, list[FakeLog]] | None:
        header = await self.header(block_hash)
        return None if header is None else (header, await self.block_logs(header))

    async def receipt_logs(self, header: BlockHeader) -> list[FakeLog]:
        await self._call()
        return self._logs(header, self.lost)

    async def range_logs(self, first: int, last: int) -> list[FakeLog]:
        await self._call()
        self.range_calls.append((first, last))
        return [log for block in self.blocks[first : last + 1] for log in logs_of(block)]

    def header_of(self, json: Mapping[str, Any]) -> BlockHeader:
        header: BlockHeader = json["header"]
        return header

    def log_of(self, json: Mapping[str, Any]) -> FakeLog:
        log: FakeLog = json["log"]
        return log

    def place_of(self, json: Mapping[str, Any]) -> FakeLog:
        log: FakeLog = json["log"]
        return log

    def shred_of(self, json: Mapping[str, Any]) -> "FakeShred":
        shred: FakeShred | None = json["shred"]
        if shred is None:
            raise TransientError("stale_chain", "Expected a shred as we know it")
        return shred

    def shred_order(self) -> ShredOrder:
        return ShredOrder()

    async def _call(self) -> None:
        self.calls_now += 1
        self.calls_most = max(self.calls_most, self.calls_now)
        try:
            await asyncio.sleep(0)
            while self.frozen:
                await asyncio.sleep(0.01)
            if self.away:
                raise TransientError("stale_chain", "away")
        finally:
            self.calls_now -= 1

    def _find(self, block: int | bytes) -> Block | None:
        for found in self.blocks:
            if block in (found.header.number, found.header.hash):
                waiting = self.not_yet.get(found.header.number, 0)
                self.not_yet[found.header.number] = waiting - 1
                return None if waiting > 0 else found
        return None

    def _logs(self, header: BlockHeader, missing: set[tuple[int, int]]) -> list[FakeLog]:
        block = next((b for b in self.blocks if b.header.hash == header.hash), None)
        if block is None:
            raise TransientError("stale_chain", "unknown block")
        return [one for one in logs_of(block) if (header.number, one.log_index) not in missing]


class FakeStream:
    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain
        self.queue: asyncio.Queue[FakeFrame | None] = asyncio.Queue()

    async def frames(self) -> AsyncIterator[FakeFrame]:
        if self._chain.sockets_refused:
            raise TransientError("stale_chain", "refused")
        self._chain.streams.append(self)
        return self._frames()

    def refuse_shreds(self, reason: str) -> None:
        self._chain.shreds_refused.append(reason)

    async def close(self) -> None:
        if self in self._chain.streams:
            self._chain.streams.remove(self)

    async def _frames(self) -> AsyncIterator[FakeFrame]:
        while (frame := await self.queue.get()) is not None:
            yield frame
        raise TransientError("stale_chain", "cut")
