"""How rows are sent: as arrays of a statement, or copied in.

What is sent next is spelled while Postgres works: the two are on processors of their own.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from engine import positions
from engine.errors import ConsistencyError
from engine.positions import Change, Held, Place
from engine.rows import BlockRows, Launched
from storage import copying, queries

if TYPE_CHECKING:
    from storage.postgres import Connection

T = TypeVar("T")
Columns = list[list[Any]]
_SQL = queries.load("write")

Piece: TypeAlias = bytes | Sequence[str] | None
"""Some rows of a copy, or a statement's columns; None: that was all of it."""

COPY_ROWS = 100
"""In one message of a copy: enough that a message costs nothing beside its rows."""

PIECES_AHEAD_MAX = 64
"""Spelled and not sent yet: some megabytes."""


@dataclass(frozen=True)
class Group:
    """What is written at once: blocks, the positions that they change as they are `held` before,
    and the tokens of both. Up to block `finalised` work is visible at once.

    What follows from these is made when the first statement needs it: in the time that Postgres
    takes for those before.
    """

    blocks: Sequence[BlockRows]
    held: Mapping[Place, Held] = field(default_factory=dict)
    launched: Mapping[bytes, Launched] = field(default_factory=dict)
    finalised: int = -1

    @cached_property
    def settled(self) -> tuple[Sequence[BlockRows], Sequence[Change]]:
        """(the blocks with the basis around each trade, what changes in positions)."""
        return positions.settled(self.blocks, self.held)

    @cached_property
    def counts(self) -> Mapping[bytes, tuple[int, int]]:
        """Token → (trades, holders) that it has more than before."""
        # Contracts of the market are no holders.
        found: dict[bytes, tuple[int, int]] = {}
        for change in self.settled[1]:
            _, token, who = change.place
            one = self.launched[token]
            joined = 0 if who in (one.launchpad, one.pair) else change.joined
            trades, holders = found.get(token, (0, 0))
            found[token] = trades + change.trades, holders + joined
        return found


@dataclass(frozen=True, slots=True)
class Statement:
    """`columns` may be empty, then nothing is sent. `complete`: every row must find its token,
    or be new.

    `keyed` statements take the chain's id before their columns.
    """

    name: str
    columns: Callable[[Group], Columns]
    complete: bool = False
    keyed: bool = True

    @property
    def sql(self) -> str:
        """Its text in `write.sql`."""
        return _SQL[self.name]

    def spelled(self, chain_id: int, group: Group) -> Iterator[Piece]:
        """What `send` takes: how many rows, then the columns."""
        columns = self.columns(group)
        if columns:
            yield str(len(columns[0])), *map(copying.array, columns)

    async def send(
        self, connection: "Connection", chain_id: int, pieces: AsyncIterator[Any]
    ) -> None:
        """Raises ConsistencyError when rows do not fit what is stored."""
        async for expected, *arrays in pieces:
            key = (chain_id,) if self.keyed else ()
            tag = await connection.execute(self.sql, *key, *arrays)
            written = tag.rsplit(" ", 1)[1]
            if self.complete and written != expected:
                raise ConsistencyError(
                    "inconsistent_history",
                    f"Expected {expected} {self.name} that fit what is stored, was {written}",
                )


@dataclass(frozen=True, slots=True)
class Copy:
    """New rows of table `name`, as `lines` spells them for a chain: one value for each of `fields`
    (`storage/copying.py`). One that is there already is an error.
    """

    name: str
    fields: str
    lines: Callable[[int, Group], Iterator[str]]

    def spelled(self, chain_id: int, group: Group) -> Iterator[Piece]:
        """What `send` takes: the text of some rows after another."""
        lines = self.lines(chain_id, group)
        while part := list(islice(lines, COPY_ROWS)):
            yield "\n".join([*part, ""]).encode()

    async def send(
        self, connection: "Connection", chain_id: int, pieces: AsyncIterator[Any]
    ) -> None:
        """Raises IntegrityConstraintViolationError."""
        del chain_id  # it is in the lines
        async for first in pieces:  # none: nothing to copy
            source = _chain(first, pieces)
            await connection.copy_to_table(self.name, source=source, columns=self.fields.split())


async def _chain(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


async def send_all(
    connection: "Connection",
    statements: Sequence[Statement | Copy],
    *,
    chain_id: int,
    group: Group,
) -> None:
    """One after another. Raises ConsistencyError when rows do not fit what is stored,
    IntegrityConstraintViolationError when one is there already.
    """
    spelled = ahead(_spelled(chain_id, group, statements))
    async with contextlib.aclosing(spelled) as pieces:
        for statement in statements:
            await statement.send(connection, chain_id, _until_none(pieces))


def _spelled(
    chain_id: int, group: Group, statements: Sequence[Statement | Copy]
) -> Iterator[Piece]:
    for statement in statements:
        yield from statement.spelled(chain_id, group)
        yield None


async def _until_none(pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    async for piece in pieces:
        if piece is None:
            return
        yield piece


async def ahead(made: Iterator[T]) -> AsyncGenerator[T]:
    """The same, up to PIECES_AHEAD_MAX of it made before they are asked for: in the time that
    whoever asks waits for something else. To be closed.
    """
    ready: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    room = asyncio.Semaphore(PIECES_AHEAD_MAX)

    async def make() -> None:
        try:
            for one in made:
                await room.acquire()
                ready.put_nowait((one,))
                await asyncio.sleep(0)  # who waits for it, or for Postgres, has its turn
        finally:
            ready.put_nowait(None)

    making = asyncio.create_task(make())
    try:
        while found := await ready.get():
            room.release()
            yield found[0]
        await making  # raises what ended it
    finally:
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
