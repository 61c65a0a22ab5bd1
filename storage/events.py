"""History in Postgres: what the recorder writes, and what recovery reads back.

One write is one transaction and has these cases, in the order of the code: fenced (another
incarnation holds the cursor), known already (at or below the cursor), new blocks (rows, then
the cursor). A crash at any point leaves the state before the write.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from engine import positions
from engine.errors import ConsistencyError
from engine.limits import MAX_REORG_DEPTH
from engine.messages import ChainEvent, CurveNumbers, FeedPosition, MarketEvent
from engine.rows import BlockRows, MarketRow, TransactionRecord
from storage import copying, postgres, queries, records, statements, write
from storage import rewind as rewinding
from storage.statements import Group

if TYPE_CHECKING:
    from storage.postgres import Connection, Pool

_SQL = queries.load("events")
_WRITE_SQL = queries.load("write")

RECORDER = "recorder"
# Rows in one statement: past it arrays grow without making a row cheaper.
WRITE_ROWS_MAX = 10_000
_LAST_INDEX = 2**31 - 1
# No reorganisation reaches deeper than the limit; twice that leaves a margin for a cursor that
# stands some way ahead of its ancestor.
BLOCKS_KEPT = 2 * MAX_REORG_DEPTH


class EventStore:
    """One chain's history. All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def claim(self, name: str = RECORDER) -> int:
        """A new incarnation of the cursor; from now on every older one is fenced."""
        return int(await self._value("claim", name))

    async def position(self, name: str = RECORDER) -> FeedPosition:
        """The last block recorded; number -1 and a zero hash when there is none."""
        async with postgres.session(self._pool) as connection:
            row = await connection.fetchrow(_SQL["position"], self._chain_id, name)
        return records.position(row)

    async def write(
        self,
        rows: Sequence[BlockRows],
        *,
        incarnation: int,
        position: FeedPosition,
        name: str = RECORDER,
    ) -> bool:
        """Records `rows` and moves the cursor to `position`, in one transaction.

        False: fenced, nothing was written. Blocks at or below the cursor are skipped, so the
        same call may be made again, also after a TransientError that left its outcome open.
        Raises ConsistencyError when the blocks do not follow the cursor's, or a row
        contradicts what is stored.
        """
        async with _consistent(), postgres.transaction(self._pool) as connection:
            cursor = await connection.fetchrow(
                _WRITE_SQL["lock_cursor"], self._chain_id, name, incarnation
            )
            if cursor is None:
                return False
            known = records.position(cursor)
            new = _following(known, rows, position)
            for group in _groups(new):
                await self._write_group(connection, group, cursor["finalised_number"])
            if position.number > known.number:
                time = new[-1].header.timestamp if new else 0
                place = (position.number, position.hash, time)
                await connection.execute(_WRITE_SQL["move_cursor"], self._chain_id, name, *place)
                oldest = position.number - BLOCKS_KEPT
                await connection.execute(_WRITE_SQL["prune_blocks"], self._chain_id, oldest)
        return True

    async def _write_group(
        self, connection: "Connection", blocks: Sequence[BlockRows], finalised: int
    ) -> None:
        group = await self._group(connection, blocks, finalised)
        await statements.send_all(
            connection, write.STATEMENTS, chain_id=self._chain_id, group=group
        )

    async def _group(
        self, connection: "Connection", blocks: Sequence[BlockRows], finalised: int
    ) -> Group:
        # Three look-ups a group, however many rows it has. The cursor's lock makes them the last
        # word: nobody else writes in between.
        async def found(query: str, *arguments: Any) -> list[asyncpg.Record]:
            return await connection.fetch(_WRITE_SQL[query], self._chain_id, *arguments)

        span = (blocks[0].header.number, blocks[-1].header.number)
        fresh = positions.unrecorded(blocks, records.recorded(await found("recorded", *span)))
        tokens = write.tokens_of(blocks)
        known = {}
        if tokens:
            known = {
                row["token_address"]: records.launched(row)
                for row in await found("launched", list(tokens))
            }
        places = positions.places_of(fresh)
        held = {}
        if places:
            columns = [list(column) for column in zip(*places, strict=True)]
            held = records.held(await found("held", *map(copying.array, columns)))
        return write.group_of(fresh, held, known, finalised=finalised)

    async def rewind(
        self, ancestor: FeedPosition, *, incarnation: int, name: str = RECORDER
    ) -> bool:
        """Takes back every block above `ancestor`; the cursor stands there afterwards.

        One transaction, repeatable, also after a TransientError that left its outcome open.
        False: fenced, nothing was changed. Raises ConsistencyError, and changes nothing:
        `reorg_too_deep` below what is final, `reorg_unknown_ancestor` for a block that is not
        the recorded one of its number.
        """
        async with _consistent(), postgres.transaction(self._pool) as connection:
            return await rewinding.rewind(
                connection, self._chain_id, ancestor, incarnation=incarnation, name=name
            )

    async def finalise(self, number: int, incarnation: int, name: str = RECORDER) -> bool:
        """Everything up to `number` is final: its outbox rows become visible. False: fenced."""
        async with postgres.transaction(self._pool) as connection:
            cursor = await connection.fetchrow(
                _WRITE_SQL["lock_cursor"], self._chain_id, name, incarnation
            )
            if cursor is None:
                return False
            before = cursor["finalised_number"]
            await connection.execute(_SQL["finalise"], self._chain_id, name, number, before)
        return True

    async def trail(self, limit: int) -> list[FeedPosition]:
        """The newest recorded blocks, newest first, at most `limit` (and BLOCKS_KEPT)."""
        return [records.position(row) for row in await self._fetch("trail", limit)]

    async def market_events(
        self, buckets: Sequence[int], *, after_block: int, upto_block: int, chunk: int = 5_000
    ) -> AsyncIterator[list[MarketEvent]]:
        """Recorded events of the buckets' markets in (`after_block`, `upto_block`], in order,
        in lists of at most `chunk`.
        """
        last = (after_block, _LAST_INDEX, _LAST_INDEX)
        while True:
            async with postgres.session(self._pool) as connection:
                rows = await connection.fetch(
                    _SQL["market_events"], self._chain_id, list(buckets), *last, upto_block, chunk
                )
            if rows:
                yield [records.market_event(row, self._chain_id) for row in rows]
            if len(rows) < chunk:
                return
            last = (rows[-1]["block_number"], rows[-1]["tx_index"], rows[-1]["log_index"])

    async def events_at(self, block: int) -> tuple[bytes | None, list[ChainEvent]]:
        """(the block's hash where something of it is recorded, its market events and transfers,
        as they were decoded).
        """
        rows = await self._fetch("events_at", block)
        moved = await self._fetch("transfers_at", block)
        found: list[ChainEvent] = [records.market_event(row, self._chain_id) for row in rows]
        found += [records.transfer(row, self._chain_id) for row in moved]
        hashes = [row["block_hash"] for row in (*rows, *moved)]
        return (hashes[0] if hashes else None), found

    async def known(
        self, addresses: Sequence[bytes]
    ) -> tuple[dict[bytes, int], dict[bytes, bytes]]:
        """(token → version of its launchpad, pair → token) of those that have one of these
        addresses.
        """
        rows = await self._fetch("known", list(addresses))
        tokens = {row["token_address"]: row["version"] for row in rows}
        return tokens, {row["pair"]: row["token_address"] for row in rows}

    async def graduations(self, tokens: Sequence[bytes]) -> dict[bytes, tuple[int, int, int]]:
        """Token → (block, transaction index, log index) of its graduation; else no key."""
        rows = await self._fetch("graduations", list(tokens))
        return {
            row["token_address"]: (row["block_number"], row["tx_index"], row["log_index"])
            for row in rows
        }

    async def tokens(self) -> dict[bytes, int]:
        """Token → version of its launchpad, hidden ones too."""
        rows = await self._fetch("tokens")
        return {row["token_address"]: row["version"] for row in rows}

    async def launches(self) -> dict[bytes, tuple[int, int]]:
        """Token → (version of its launchpad, block of its launch), hidden ones too."""
        rows = await self._fetch("launches")
        return {row["token_address"]: (row["version"], row["block_number"]) for row in rows}

    async def pairs(self) -> dict[bytes, bytes]:
        """Pair → its token, of every launchpad version."""
        rows = await self._fetch("pairs")
        return {row["pair"]: row["token_address"] for row in rows}

    async def graduating(self, limit: int) -> list[tuple[bytes, int]]:
        """(token, version of its launchpad) of sold-out markets without a pool."""
        rows = await self._fetch("graduating", limit)
        return [(row["token_address"], row["version"]) for row in rows]

    async def event_seqs(self) -> dict[bytes, int]:
        """Launchpad → the last `eventSeq` recorded of it."""
        rows = await self._fetch("event_seqs")
        return {row["emitter"]: row["event_seq"] for row in rows}

    async def token_curves(self, tokens: Sequence[bytes]) -> dict[bytes, CurveNumbers]:
        """Token → its curve; unknown tokens have no key."""
        rows = await self._fetch("token_curves", list(tokens))
        return {row["token_address"]: records.curve(row) for row in rows}

    async def last_markets(self, tokens: Sequence[bytes]) -> dict[bytes, MarketRow]:
        """Token → its recorded state; unknown tokens have no key."""
        rows = await self._fetch("last_markets", list(tokens))
        return {row["token_address"]: records.market(row) for row in rows}

    async def last_block_of(self, emitter: bytes) -> int:
        """The block of the last recorded event of a launchpad; -1 when there is none."""
        return int(await self._value("last_block_of", emitter))

    async def pending(self, limit: int) -> list[TransactionRecord]:
        """Transactions whose receipt is to be read, at most `limit`: mined ones first, then
        those that were `checked` longest ago.

        PENDING ones were submitted here and not seen in a block; CONFIRMED ones were, and
        lack only their gas.
        """
        return [records.transaction(row) for row in await self._fetch("pending", limit)]

    async def checked(self, tx_hashes: Sequence[bytes]) -> None:
        """These were looked at: `pending` names others first the next time."""
        if tx_hashes:
            await self._fetch("checked", list(tx_hashes))

    async def settle(
        self, tx_hash: bytes, *, status: str, reason: str | None, gas_fee: int | None
    ) -> None:
        """What the receipt said: `status` CONFIRMED or FAILED, `gas_fee` in wei. Repeatable."""
        await self._fetch("settle", tx_hash, status, reason, gas_fee)

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with postgres.session(self._pool) as connection:
            return await connection.fetch(_SQL[query], self._chain_id, *arguments)

    async def _value(self, query: str, *arguments: Any) -> Any:
        async with postgres.session(self._pool) as connection:
            return await connection.fetchval(_SQL[query], self._chain_id, *arguments)


@asynccontextmanager
async def _consistent() -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConsistencyError(
            "inconsistent_history", f"Expected rows that fit, was {error}"
        ) from error


def _following(
    known: FeedPosition, rows: Sequence[BlockRows], position: FeedPosition
) -> list[BlockRows]:
    hashes = {known.number: known.hash}
    for header in (block.header for block in rows):
        _check_hash(header.number, hashes.setdefault(header.number, header.hash), header.hash)
        _check_hash(
            header.number - 1, hashes.get(header.number - 1, header.parent_hash), header.parent_hash
        )
    _check_hash(position.number, hashes.get(position.number, position.hash), position.hash)
    return [block for block in rows if known.number < block.header.number <= position.number]


def _check_hash(number: int, expected: bytes, found: bytes) -> None:
    # The cursor of an empty history stands at -1 with a zero hash, which no block follows.
    if number >= 0 and expected != found:
        raise ConsistencyError(
            "inconsistent_history",
            f"Expected block {number} to be {expected.hex()}, was {found.hex()}",
        )


def _groups(blocks: Sequence[BlockRows]) -> Iterator[list[BlockRows]]:
    group: list[BlockRows] = []
    size = 0
    for block in blocks:
        group.append(block)
        size += len(block.events) + len(block.transactions) + len(block.transfers)
        if size >= WRITE_ROWS_MAX:
            yield group
            group, size = [], 0
    if group:
        yield group
