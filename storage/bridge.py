"""What the vaults said, in Postgres: fed like the recorder, by any number of relayers at once.

A chain's cursor is one row for all relayers; each batch is one transaction under its lock.
The cases of a batch, in the order of the code:
  1. what it follows is not recorded, or above the cursor: nothing, the answer is the cursor;
  2. a block at or below the cursor: the same one is passed over, another one ends the batch;
  3. a new block: its events, what they change of requests, and the cursor;
  4. a reorganisation: everything above the ancestor is taken back, requests too;
  5. finality: the marker moves, and requests that waited for it are looked at.
So two relayers that are fed the same write it once, and one that stood still and goes on
changes nothing that is newer than what it knows.
"""

from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from engine import codec
from engine.bridge.events import Cancelled, Deposited, Queued, Refunded, Released
from engine.errors import ConsistencyError
from engine.limits import MAX_REORG_DEPTH
from engine.messages import (
    Block,
    BlockHeader,
    ChainEvent,
    FeedBatch,
    FeedPosition,
    Finalised,
    Reorg,
)
from storage import postgres, queries, records

if TYPE_CHECKING:
    from storage.postgres import Connection, Pool

SQL = queries.load("bridge")
BLOCKS_KEPT = 2 * MAX_REORG_DEPTH
_TRANSFERS = (Deposited, Released, Queued, Cancelled, Refunded)
_PAID = (Released, Refunded)


class BridgeEvents:
    """Both chains' vaults. All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def position(self, chain_id: int) -> FeedPosition:
        """The last block recorded; number -1 and a zero hash when there is none."""
        async with postgres.session(self._pool) as connection:
            return records.position(await connection.fetchrow(SQL["position"], chain_id))

    async def trail(self, chain_id: int, limit: int) -> list[FeedPosition]:
        """The newest recorded blocks, newest first."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(SQL["trail"], chain_id, limit)
        return [records.position(row) for row in rows]

    async def feed(self, batch: FeedBatch) -> FeedPosition:
        """Where the consumer stands after it, see the cases above. Repeatable.

        Raises ConsistencyError and changes nothing: `reorg_too_deep` below what is final,
        `lost_log` where a vault's own numbering has a hole, `inconsistent_history`.
        """
        try:
            async with postgres.transaction(self._pool) as connection:
                return await _Feeding(connection, batch.chain_id).take(batch)
        except asyncpg.IntegrityConstraintViolationError as error:
            text = f"Expected rows that fit, was {error}"
            raise ConsistencyError("inconsistent_history", text) from error


class _Feeding:
    def __init__(self, connection: "Connection", chain_id: int) -> None:
        self._connection = connection
        self._chain_id = chain_id
        self._cursor = records.NO_POSITION
        self._finalised = -1
        # New blocks, written together before anything else looks at them.
        self._headers: list[BlockHeader] = []
        self._seqs: dict[bytes, int] = {}

    async def take(self, batch: FeedBatch) -> FeedPosition:
        row = await self._row("lock_cursor")
        self._cursor, self._finalised = records.position(row), row["finalised_number"]
        if not batch.messages or not await self._recorded(batch.after):
            return self._cursor
        at = batch.after
        for message in batch.messages:
            if isinstance(message, Block):
                at = FeedPosition(message.header.number, message.header.hash)
                if at.number > self._cursor.number:
                    await self._write(message, at)
                elif not await self._recorded(at):
                    at = self._cursor
                    break
            elif isinstance(message, Reorg):
                at = FeedPosition(message.ancestor_number, message.ancestor_hash)
                await self._rewind(at)
            elif isinstance(message, Finalised):
                await self._finalise(min(message.number, self._cursor.number))
        await self._flush()
        return at

    async def _recorded(self, position: FeedPosition) -> bool:
        if position == self._cursor:
            return True
        if position.number > self._cursor.number:
            return False
        await self._flush()
        found = await self._value("block_hash", position.number)
        return bool(found == position.hash)

    # ---------------------------------------------------------------- new blocks

    async def _write(self, block: Block, position: FeedPosition) -> None:
        header = block.header
        if header.number == self._cursor.number + 1 and header.parent_hash != self._cursor.hash:
            text = f"Expected the child of {self._cursor}, was {header}"
            raise ConsistencyError("inconsistent_history", text)
        self._headers.append(header)
        for event in block.events:
            await self._event(event)
        self._cursor = position

    async def _flush(self) -> None:
        if not self._headers:
            return
        columns = zip(
            *((one.number, one.hash, one.parent_hash, one.timestamp) for one in self._headers),
            strict=True,
        )
        await self._run("insert_blocks", *map(list, columns))
        last = self._headers[-1]
        await self._run("prune_blocks", last.number - BLOCKS_KEPT)
        await self._run("move_cursor", last.number, last.hash, last.timestamp)
        self._headers.clear()

    async def _event(self, event: ChainEvent) -> None:
        at, event_seq = event.at, getattr(event, "event_seq", 0)
        last = self._seqs.get(at.emitter)
        if last is None:
            last = await self._value("event_seq", at.emitter)
        if event_seq != last + 1:
            text = f"Expected event {last + 1} of 0x{at.emitter.hex()}, was {event_seq}"
            raise ConsistencyError("lost_log", text)
        self._seqs[at.emitter] = event_seq
        transfer = event if isinstance(event, _TRANSFERS) else None
        values = codec.encode(event)
        del values["at"]
        block = (at.block_number, at.block_hash, at.block_time, at.tx_index, at.log_index)
        place = (at.tx_hash, at.position, at.version, *block, at.emitter)
        what = (type(event).__name__, event_seq, transfer.id if transfer else None)
        await self._run("insert_event", *place, *what, orjson.dumps(values).decode())
        if isinstance(event, Deposited):
            await self._deposited(event)
        if isinstance(event, _PAID):
            await self._plain("paid", event.id, type(event).__name__, at.tx_hash)
        if transfer is not None:
            await self._plain("wake", [transfer.id])

    async def _deposited(self, event: Deposited) -> None:
        message, version = event.message, event.at.version
        money = (message.recipient, message.amount, message.fee)
        numbers = (message.nonce, message.deadline, event.at.tx_hash)
        common = (event.id, message.target_chain, *money, *numbers)
        key = (version, event.depositor)
        met = await self._run("meet_request", *key, *common, event.ref)
        if met.endswith(" 0"):
            await self._plain("insert_user", event.depositor)
            await self._run("insert_deposit", *key, *common)

    # ---------------------------------------------------------------- taken back

    async def _rewind(self, ancestor: FeedPosition) -> None:
        if ancestor.number >= self._cursor.number:
            return
        if ancestor.number < self._finalised:
            text = f"Expected a reorg down to {self._finalised} at most, was {ancestor.number}"
            raise ConsistencyError("reorg_too_deep", text)
        await self._flush()
        self._seqs.clear()
        time = 0
        if ancestor != records.NO_POSITION:
            row = await self._row("ancestor", ancestor.number)
            if row is None or row["hash"] != ancestor.hash:
                text = f"Expected a recorded block, was {ancestor}"
                raise ConsistencyError("reorg_unknown_ancestor", text)
            time = row["block_time"]
        await self._take_back(ancestor.number)
        await self._run("move_cursor", ancestor.number, ancestor.hash, time)
        self._cursor = ancestor

    async def _take_back(self, ancestor: int) -> None:
        rows = await self._connection.fetch(SQL["events_above"], self._chain_id, ancestor)
        touched = [row["message_id"] for row in rows]
        deposits = [row["message_id"] for row in rows if row["kind"] == "Deposited"]
        await self._run("delete_events", ancestor)
        await self._run("delete_blocks", ancestor)
        await self._plain("unpaid", touched, [row["tx_hash"] for row in rows])
        await self._plain("forget_deposits", deposits)
        await self._plain("delete_deposits", deposits)
        await self._plain("wake", touched)

    async def _finalise(self, number: int) -> None:
        await self._flush()
        if not await self._value("finalise", number):
            return
        rows = await self._connection.fetch(
            SQL["finalised_messages"], self._chain_id, self._finalised, number
        )
        await self._plain("wake", [row["message_id"] for row in rows])
        self._finalised = number

    # ---------------------------------------------------------------- statements

    async def _run(self, query: str, *arguments: Any) -> str:
        return str(await self._connection.execute(SQL[query], self._chain_id, *arguments))

    async def _plain(self, query: str, *arguments: Any) -> None:
        await self._connection.execute(SQL[query], *arguments)

    async def _row(self, query: str, *arguments: Any) -> Any:
        return await self._connection.fetchrow(SQL[query], self._chain_id, *arguments)

    async def _value(self, query: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(SQL[query], self._chain_id, *arguments)
