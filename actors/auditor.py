"""The auditor: compares memory with the contracts, all the time, a few calls a second.

Each look is at one buried block: a node's newest may answer a call from the next one's state.
Looks go in turn to what changed lately and to everything, page by page. A look, in order:
  1. the shards' states after the block, of the fork that they stand on;
  2. the contract's, by its lens at that block;
  3. the block must still be on the node's chain, and be the shards' own: else it is no look;
  4. a market that differs is looked at again at a later block; one that differs twice is
     halted: from here on it answers `market_halted`, and nothing of it is sold as true.
A halted market is served again when its bucket is taken anew (the shard ends, or moves) and
its recorded events add up: the auditor looks at it again then.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from actors.ports import Calls, Log
from engine.buckets import bucket_of
from engine.control import Directory, Drain, Halt, MarketStates, StatesOf, StatusWanted
from engine.errors import RiseCurveError
from engine.messages import BlockHeader
from engine.settings import ChainSettings

BURIED = 2
PAGE = 100
CALL_TIMEOUT_S = 5.0
REFRESH_EVERY = 200
"""Looks after which the list of all tokens is read again."""

SUSPECTS_MAX = 1_000

State = tuple[Any, ...]


class Heads(Protocol):
    """`chain.source`, as far as it is used."""

    async def head(self) -> BlockHeader: ...
    async def headers_at(self, numbers: Sequence[int]) -> list[BlockHeader]: ...


class Contracts(Protocol):
    """The truth: a state row of each token after `block`, in order, as in `MarketStates`."""

    async def __call__(
        self, *, version: int, tokens: Sequence[bytes], block: int
    ) -> Sequence[State]: ...


class Launches(Protocol):
    """`storage.events`, as far as it is used."""

    async def launches(self) -> dict[bytes, tuple[int, int]]: ...


class Auditor:
    """Plain class; `handlers` is its whole behaviour."""

    def __init__(
        self,
        *,
        chain: ChainSettings,
        looks_per_s: float,
        heads: Heads,
        contracts: Contracts,
        launches: Launches,
        calls: Calls,
        log: Log,
    ) -> None:
        self._chain = chain
        self._pause_s = 1.0 / looks_per_s
        self._heads = heads
        self._contracts = contracts
        self._launches = launches
        self._calls = calls
        self._log = log
        self._directory = Directory(0, (), ())
        self._versions: dict[bytes, int] = {}
        self._order: list[bytes] = []
        self._at = 0
        self._looks = 0
        self._suspects: dict[bytes, int] = {}
        self._troubled = False
        self._counts = {"audited": 0, "drift": 0, "halted": 0, "discarded": 0, "block": -1}
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: self._route,
            StatusWanted: lambda _: {**self._counts, "suspects": len(self._suspects)},
            Drain: lambda _: None,
        }

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
                self._troubled = False
            except RiseCurveError as error:
                if not self._troubled:
                    self._log.warning("auditor_trouble", error=str(error))
                self._troubled = True
            await asyncio.sleep(self._pause_s)

    async def look(self) -> None:
        """One page at one block. Raises TransientError: the node, a shard or the store is away."""
        if self._looks % REFRESH_EVERY == 0:
            await self._refresh()
        self._looks += 1
        number = (await self._heads.head()).number - BURIED
        (header,) = await self._heads.headers_at([max(number, 0)])
        pages = await self._pages(header)
        found = {row[0]: tuple(row[1:]) for page in pages for row in page.states}
        if not found:
            return
        truths = await self._truths(found, header.number)
        (again,) = await self._heads.headers_at([header.number])
        if again.hash != header.hash or any(page.block_hash != header.hash for page in pages):
            self._counts["discarded"] += 1
            return
        self._counts["audited"] += len(found)
        self._counts["block"] = header.number
        await self._judge(found, truths, header.number)

    # -------------------------------------------------------------------- private

    def _route(self, directory: Directory) -> None:
        if directory.version > self._directory.version:
            self._directory = directory

    async def _refresh(self) -> None:
        launches = await self._launches.launches()
        self._versions = {token: version for token, (version, _) in launches.items()}
        self._order = sorted(self._versions)

    async def _pages(self, header: BlockHeader) -> list[MarketStates]:
        owners = {owner.bucket: owner.owner for owner in self._directory.owners}
        by_shard: dict[str, list[bytes]] = defaultdict(list)
        if self._looks % 2:
            by_shard |= {one.name: [] for one in self._directory.named("shard")}
        for token in self._wanted():
            owner = owners.get(bucket_of(token))
            if owner is not None:
                by_shard[owner].append(token)
        pages = []
        for name, tokens in by_shard.items():
            changed = PAGE if self._looks % 2 else 0
            question = StatesOf(header.number, tuple(tokens), changed)
            page = await self._calls.ask(name, question, timeout_s=CALL_TIMEOUT_S)
            assert isinstance(page, MarketStates)
            pages.append(page)
        return pages

    def _wanted(self) -> list[bytes]:
        suspects = list(self._suspects)[:PAGE]
        if self._looks % 2 or not self._order:
            return suspects
        page = self._order[self._at : self._at + PAGE]
        self._at = self._at + PAGE if self._at + PAGE < len(self._order) else 0
        return list(dict.fromkeys(suspects + page))

    async def _truths(self, found: Mapping[bytes, State], block: int) -> dict[bytes, State]:
        newest = self._chain.launchpad.version
        by_version: dict[int, list[bytes]] = defaultdict(list)
        for token in found:
            by_version[self._versions.get(token, newest)].append(token)
        truths: dict[bytes, State] = {}
        for version, tokens in by_version.items():
            rows = await self._contracts(version=version, tokens=tokens, block=block)
            truths |= dict(zip(tokens, rows, strict=True))
        return truths

    async def _judge(
        self, found: Mapping[bytes, State], truths: Mapping[bytes, State], block: int
    ) -> None:
        for token, state in found.items():
            if state == truths[token]:
                self._suspects.pop(token, None)
                continue
            first = self._suspects.setdefault(token, block)
            if len(self._suspects) > SUSPECTS_MAX:
                self._suspects.pop(next(iter(self._suspects)))
            if block > first:
                self._suspects.pop(token, None)
                await self._halt(token, f"At block {block} memory {state}, chain {truths[token]}")

    async def _halt(self, token: bytes, reason: str) -> None:
        self._counts["drift"] += 1
        self._log.error("market_drifted", token=token.hex(), reason=reason)
        owners = {owner.bucket: owner.owner for owner in self._directory.owners}
        name = owners.get(bucket_of(token), "")
        if await self._calls.ask(name, Halt(token, reason), timeout_s=CALL_TIMEOUT_S):
            self._counts["halted"] += 1
