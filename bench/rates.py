"""Part "rates": trades a second through the real recorder into a real Postgres, and through a
shard's group in memory.

Both get blocks of 500 trades that are made before the clock runs, each trade with its transfer,
as a chain has them. The recorder takes blocks in batches as the listener sends them when it
catches up; the database is durable. The group has all buckets and checks each trade against the
curve's twin. Each alternation is one measurement; the figure is the median.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from actors import collecting
from actors.recorder import GROUP, Recorder
from bench.blocks import Trading
from bench.processes import BenchError
from bench.quotes import Effort, Tell
from bench.results import Results
from deploy.embedded import Embedded
from engine.control import Feed
from engine.group import Group
from engine.limits import BUCKETS
from engine.messages import Block, FeedBatch, FeedPosition, MarketEvent
from storage import postgres
from storage.events import EventStore
from tests.support import chain_settings
from tests.support.fake_roles import Calls, Log
from tests.support.scenario import CHAIN_ID, Scenario

TRADES_A_BLOCK = 500
BLOCKS = 10
"""Of one measurement."""

REORG_DEPTH = 64


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    collecting.seldom()  # as in an actor's process
    with tempfile.TemporaryDirectory(prefix="risecurve-bench-") as folder:
        Path(folder).chmod(0o755)  # Postgres runs as somebody else
        with Embedded(Path(folder)) as embedded:
            tell("Postgres comes up")
            url = embedded.start_postgres()
            recorded = asyncio.run(record_rates(url, effort.alternations, tell=tell))
    tell("a group applies")
    applied = apply_rates(effort.alternations)
    results.figures |= {
        "record_trades_per_s": median(recorded),
        "apply_events_per_s": median(applied),
    }
    found = {"record_trades_per_s": recorded, "apply_events_per_s": applied}
    results.runs.append({"part": "rates", "found": found})
    results.parts.append("rates")


async def record_rates(url: str, turns: int, *, tell: Tell, blocks: int = BLOCKS) -> list[float]:
    """Trades a second of each turn, into an empty database."""
    pool = await postgres.connect(url, size=4)
    await postgres.migrate(pool)
    store = EventStore(pool, CHAIN_ID)
    recorder = recorder_of(store)
    try:
        await recorder.start()
        trading = Trading(Scenario())
        position = await recorded(recorder, await store.position(), [trading.launches()])
        rates = []
        for turn in range(turns):
            tell(f"alternation {turn + 1} of {turns}: the recorder")
            made = [trading.next(TRADES_A_BLOCK) for _ in range(blocks)]
            collecting.settle()
            began = time.perf_counter()
            position = await recorded(recorder, position, made)
            rates.append(blocks * TRADES_A_BLOCK / (time.perf_counter() - began))
    finally:
        await pool.close()
    return rates


def recorder_of(store: EventStore) -> Recorder:
    """The real one, not started; it is fed by hand."""
    return Recorder(
        name="bench",
        chain=chain_settings.settings(),
        history=store,
        receipts=None,  # type: ignore[arg-type]  (nothing is settled)
        calls=Calls(),  # type: ignore[arg-type]
        log=Log(),
    )


async def recorded(
    recorder: Recorder, position: FeedPosition, blocks: Sequence[Block]
) -> FeedPosition:
    """The position behind them. Raises BenchError if they were not taken."""
    last = blocks[-1].header
    batch = FeedBatch(CHAIN_ID, position, tuple(blocks), last.number)
    reached: FeedPosition = await recorder.handlers[Feed](Feed(GROUP, batch))
    if reached != FeedPosition(last.number, last.hash):
        raise BenchError(f"Expected the batch to be recorded, was {reached}")
    return reached


def apply_rates(turns: int, *, blocks: int = BLOCKS) -> list[float]:
    """Trades a second of processor time of each turn, a block a batch. It waits for nothing, so
    its processor time is its time on a machine that does nothing else."""
    group = Group("bench", dict.fromkeys(range(BUCKETS), 1), REORG_DEPTH)
    trading = Trading(Scenario())
    _applied(group, [trading.launches()])
    rates = []
    for _ in range(turns):
        made = [_for_shards(trading.next(TRADES_A_BLOCK)) for _ in range(blocks)]
        collecting.settle()
        began = time.process_time()
        applied = _applied(group, made)
        rates.append(applied / (time.process_time() - began))
        if applied != blocks * TRADES_A_BLOCK:
            raise BenchError(f"Expected {blocks * TRADES_A_BLOCK} trades, was {applied}")
    return rates


def _for_shards(block: Block) -> Block:
    # The listener sends a shard what concerns markets; transfers are the recorder's.
    return replace(block, events=tuple(e for e in block.events if isinstance(e, MarketEvent)))


def _applied(group: Group, blocks: Sequence[Block]) -> int:
    applied = 0
    for block in blocks:
        batch = FeedBatch(CHAIN_ID, group.position, (block,), block.header.number)
        changes, _ = group.apply(batch)
        applied += sum(len(change.effects) for change in changes)
    return applied
