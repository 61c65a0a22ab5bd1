"""`risecurve replay --from-zero`: everything rebuilt from the chain, held against what runs.

In order, on a system that goes on trading:
  1. the recorder's cursor and a digest of every table, of one instant;
  2. the hash of every market's state at that block, from the shards' memory;
  3. the chain is read from its first block to that one: each block whose bloom may hold
     something of ours, proven by its receipts; its events go through a recorder of their own
     into scratch tables, and through `engine.market` into states;
  4. hashes of states and digests of tables are compared; rows that differ are named.
"""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.ports import Calls
from actors.recorder import GROUP, Recorder
from chain.decode import TOPIC_OF, Decoder, RawLog
from chain.rpc import JsonRpc
from chain.source import ChainSource
from engine import snapshot
from engine.control import Directory, Feed, MarketHashes, StateHashes
from engine.errors import ConsistencyError, RiseCurveError
from engine.market import Market, apply
from engine.messages import Block, BlockHeader, FeedBatch, FeedPosition, MarketEvent
from engine.settings import ChainSettings
from storage import compare, postgres
from storage.events import EventStore

READ_BATCH = 100
ADDRESSES_MAX = 2_000
WRITE_BATCH = 50
ATTEMPTS = 20
PAUSE_S = 0.25
TIMEOUT_S = 600.0
_TOPICS = tuple(TOPIC_OF.values())

Say = Callable[[str], None]


@dataclass(slots=True)
class Replayed:
    """What differs is empty where memory, history and chain agree."""

    block: int
    markets: int = 0
    events: int = 0
    rows: int = 0
    different: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Instant:
    position: FeedPosition
    tables: dict[str, compare.Digest]
    kept: compare.Kept
    hashes: dict[bytes, bytes]


async def replay(
    *, calls: Calls, directory: Directory, chain: ChainSettings, database_url: str, say: Say
) -> Replayed:
    """Rebuild and compare. Raises TransientError: node, store or shards are away, or the chain
    was reorganised meanwhile."""
    rpc = JsonRpc(chain.rpc_url, timeout_s=30.0)
    pool = await postgres.connect(database_url, size=2, timeout_s=TIMEOUT_S)
    schema = f"scratch_replay_{os.getpid()}"
    try:
        instant = await _instant(pool, calls=calls, directory=directory, chain=chain)
        say(f"at block {instant.position.number}: {len(instant.hashes)} markets in memory")
        async with _scratch(pool, database_url, schema) as scratch:
            done = Replayed(instant.position.number)
            markets = await _played(rpc, chain, scratch, upto=instant.position, done=done, say=say)
            _compare_memory(done, markets, instant.hashes)
            async with postgres.session(scratch) as connection:
                rebuilt = await compare.digests(
                    connection, chain.chain_id, schema=schema, kept=instant.kept
                )
            for table, digest in rebuilt.items():
                done.rows += digest.rows
                if instant.tables[table] != digest:
                    lines = await compare.differing(
                        pool,
                        chain.chain_id,
                        table=table,
                        schemas=("public", schema),
                        kept=instant.kept,
                    )
                    held = instant.tables[table].rows
                    sizes = f"{table}: {held} rows, the chain makes {digest.rows}"
                    done.different.append("\n    ".join([sizes, *lines]))
            return done
    finally:
        await pool.close()
        await rpc.close()


# ---------------------------------------------------------------------- what runs


async def _instant(
    pool: "postgres.Pool", *, calls: Calls, directory: Directory, chain: ChainSettings
) -> _Instant:
    async with (
        postgres.session(pool) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        row = await connection.fetchrow(
            "SELECT block_number, block_hash FROM cursors"
            " WHERE chain_id = $1 AND name = 'recorder'",
            chain.chain_id,
        )
        if row is None or row["block_number"] < 0:
            raise ConsistencyError("nothing_recorded", "Expected a recorded block, was none")
        position = FeedPosition(row["block_number"], row["block_hash"])
        hashing = asyncio.create_task(_hashes(calls, directory, position))
        kept = await compare.kept(connection, chain.chain_id)
        tables = await compare.digests(connection, chain.chain_id, schema="public", kept=kept)
    return _Instant(position, tables, kept, await hashing)


async def _hashes(calls: Calls, directory: Directory, position: FeedPosition) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for one in directory.named("shard"):
        page = await _page(calls, one.name, position)
        doubled = found.keys() & dict(page.hashes).keys()
        if doubled:
            raise ConsistencyError("two_owners", f"Expected one owner of {doubled}")
        found |= dict(page.hashes)
    return found


async def _page(calls: Calls, name: str, position: FeedPosition) -> MarketHashes:
    # A shard may stand a block behind the recorder for a moment, or on another fork.
    for attempt in range(ATTEMPTS):
        with contextlib.suppress(RiseCurveError):
            page = await calls.ask(name, StateHashes(position.number), timeout_s=10.0)
            assert isinstance(page, MarketHashes)
            if page.block_hash in (b"", position.hash):
                return page
        await asyncio.sleep(PAUSE_S * (attempt < ATTEMPTS - 1))
    text = f"Expected {name} to stand on recorded block {position.number}"
    raise ConsistencyError("outside_window", text)


# ------------------------------------------------------------------------ rebuilding


@contextlib.asynccontextmanager
async def _scratch(
    pool: "postgres.Pool", database_url: str, schema: str
) -> AsyncIterator["postgres.Pool"]:
    await pool.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    await pool.execute(f"CREATE SCHEMA {schema}")
    scratch = await postgres.connect(database_url, size=2, timeout_s=TIMEOUT_S, schema=schema)
    try:
        await postgres.migrate(scratch)
        yield scratch
    finally:
        scratch.terminate()
        await pool.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def _compare_memory(
    done: Replayed, markets: dict[bytes, Market], hashes: dict[bytes, bytes]
) -> None:
    done.markets = len(markets)
    for token in sorted(markets.keys() | hashes.keys()):
        ours = snapshot.hash_of(markets[token]) if token in markets else None
        if hashes.get(token) != ours:
            done.different.append(f"0x{token.hex()}: memory differs from the chain")


async def _played(
    rpc: JsonRpc,
    chain: ChainSettings,
    scratch: "postgres.Pool",
    *,
    upto: FeedPosition,
    done: Replayed,
    say: Say,
) -> dict[bytes, Market]:
    recorder = Recorder(
        name="replay",
        chain=chain,
        history=EventStore(scratch, chain.chain_id),
        receipts=_NoReceipts(),
        calls=_NoCalls(),
        log=_Spoken(say),
    )
    await recorder.start()
    position = FeedPosition(-1, bytes(32))
    markets: OrderedDict[bytes, Market] = OrderedDict()
    async for blocks in _blocks(rpc, chain, upto, say=say):
        for start in range(0, len(blocks), WRITE_BATCH):
            part = tuple(blocks[start : start + WRITE_BATCH])
            batch = FeedBatch(chain.chain_id, position, part, upto.number)
            position = await recorder.handlers[Feed](Feed(GROUP, batch))
        for event in (event for block in blocks for event in block.events):
            done.events += 1
            if isinstance(event, MarketEvent):
                markets[event.token], _ = apply(markets.get(event.token), event)
    if position != upto:
        raise ConsistencyError("reorganised", f"Expected to end at {upto}, was {position}")
    return markets


async def _blocks(
    rpc: JsonRpc, chain: ChainSettings, upto: FeedPosition, *, say: Say
) -> AsyncIterator[list[Block]]:
    source, decoder = ChainSource(rpc, chain), Decoder(chain)
    pads = [pad.address for pad in chain.launchpads]
    for first in range(chain.first_block, upto.number + 1, READ_BATCH):
        last = min(first + READ_BATCH - 1, upto.number)
        headers = await source.headers(first, last)
        # Launches first: what they made may have moved in blocks of this very batch.
        launches = [one for one in headers if _may_hold(source, one, pads)]
        logs = await _logs(source, launches)
        for found in logs.values():
            decoder.learn(found)
        ours = [*decoder.tokens, *decoder.pairs]
        rest = [one for one in headers if one.hash not in logs]
        logs |= await _logs(source, [one for one in rest if _may_hold(source, one, ours)])
        held = [one for one in headers if one.hash in logs or one.number == upto.number]
        yield [
            Block(one, decoder.decode(logs.get(one.hash, []), block_time=one.timestamp))
            for one in held
        ]
        if (last - chain.first_block) % (READ_BATCH * 50) < READ_BATCH:
            say(f"read to block {last} of {upto.number}")


def _may_hold(source: ChainSource, header: BlockHeader, addresses: Sequence[bytes]) -> bool:
    if len(addresses) > ADDRESSES_MAX:
        addresses = _TOPICS  # among so many one is in nearly every bloom: topics alone decide
    return source.ours_in_bloom(header, addresses, _TOPICS) is not False


async def _logs(source: ChainSource, headers: list[BlockHeader]) -> dict[bytes, list[RawLog]]:
    found = await source.blocks_logs(headers)
    return dict(zip((one.hash for one in headers), found, strict=True))


class _Spoken:
    # Standard output is for the answer: only what went wrong is said, with the progress.
    def __init__(self, say: Say) -> None:
        self._say = say

    def debug(self, event: str, **_: Any) -> None: ...
    def info(self, event: str, **_: Any) -> None: ...

    def warning(self, event: str, **fields: Any) -> None:
        self._say(f"{event} {fields}")

    error = warning


class _NoReceipts:
    async def receipt(self, tx_hash: bytes) -> Any:
        return None

    async def revert_reason(self, tx_hash: bytes) -> str:
        return ""


class _NoCalls:
    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        raise ConsistencyError("nobody", "Expected nobody to be asked")
