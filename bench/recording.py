"""`python -m bench.recording`: the real recorder writes a block a second, for `rest_reads`.

Blocks are synthetic and hold so many trades of tokens that the bench launched itself; the
analytics role's figures are brought up to date beside it, as they are in a running system.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from actors import collecting
from actors.recorder import GROUP, Recorder
from bench.blocks import minted
from bench.history import CHAIN_ID
from deploy.roles import RECORDER_NICE
from engine.control import Feed
from engine.errors import RiseCurveError, TransientError
from engine.messages import (
    BlockHeader,
    FeedBatch,
    FeedPosition,
    Finalised,
)
from engine.settings import ActorSettings
from storage import postgres
from storage.analytics import Analytics
from storage.events import EventStore
from tests.support import chain_settings
from tests.support.fake_roles import Calls, Log
from tests.support.history import Traders
from tests.support.scenario import Scenario

TOKENS = 200
WALLETS = 500
FINAL_BEHIND = 10


@dataclass
class Living(Scenario):
    """A scenario that goes on from the filled history, a block a second of wall time."""

    _time: int = field(default_factory=lambda: int(time.time()))

    def _header(self) -> BlockHeader:
        header = super()._header()
        return replace(header, timestamp=max(self._time, int(time.time())))


def names(block: int) -> list[str]:
    """Of the tokens that a recording from this block on launches."""
    return [f"bench {block} {number}" for number in range(TOKENS)]


async def record(url: str, trades_per_s: int) -> None:
    """Prints the block it goes on from, when the launches are recorded; until SIGTERM. Then one
    line of JSON: trades, blocks, and how long a block took.
    """
    os.nice(RECORDER_NICE)
    pool = await postgres.connect(url, size=4)
    recorder = Recorder(
        name="bench",
        chain=chain_settings.settings(),
        history=EventStore(pool, CHAIN_ID),
        receipts=None,  # type: ignore[arg-type]
        calls=Calls(),  # type: ignore[arg-type]
        log=Log(),
    )
    await recorder.start()
    position = await EventStore(pool, CHAIN_ID).position()
    scenario = Living(number=position.number, event_seq=TOKENS * position.number)
    scenario._parent = position.hash
    for name in names(position.number):
        scenario.launch(name)
    traders = Traders(scenario, tuple(f"trader {number}" for number in range(WALLETS)))
    first, ended = position.number, asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    figures = asyncio.create_task(_figures(url, ended))
    settling = asyncio.create_task(collecting.keep_settling())
    took, trades, began = [], 0, time.monotonic()
    while not ended.is_set():
        if took:  # the first block holds the launches
            traders.trade(trades_per_s)
            trades += trades_per_s
        block = minted(scenario.seal())
        started = time.monotonic()
        final = Finalised(CHAIN_ID, block.header.number - FINAL_BEHIND)
        batch = FeedBatch(CHAIN_ID, position, (block, final), block.header.number)
        position = await _fed(recorder, batch, ended)
        took.append(time.monotonic() - started)
        if len(took) == 1:
            print(first, flush=True)
        pause_s = began + len(took) - time.monotonic()
        if pause_s > 0:
            await _wait(ended, pause_s)
    settling.cancel()
    await figures
    spent_s = time.monotonic() - began
    line: dict[str, Any] = {"trades_per_s": round(trades / spent_s), "blocks": len(took)}
    ordered = sorted(took)
    line |= {f"block_ms_p{n}": round(ordered[len(ordered) * n // 100] * 1e3) for n in (50, 99)}
    print(json.dumps(line), flush=True)


async def _fed(recorder: Recorder, batch: FeedBatch, ended: asyncio.Event) -> FeedPosition:
    # As the listener does: what the store did not take is sent again.
    while True:
        try:
            place: FeedPosition = await recorder.handlers[Feed](Feed(GROUP, batch))
            return place
        except TransientError as error:
            print(f"recorder: {error}", file=sys.stderr, flush=True)
            if ended.is_set():
                raise
            await asyncio.sleep(0.5)


async def _figures(url: str, ended: asyncio.Event) -> None:
    analytics = Analytics(await postgres.connect(url, size=1), CHAIN_ID)
    while not ended.is_set():
        try:
            await analytics.turn(creators=False)
        except RiseCurveError as error:
            print(f"analytics: {error}", file=sys.stderr, flush=True)
        await _wait(ended, ActorSettings().analytics_interval_s)


async def _wait(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return


def main() -> None:
    """Arguments: the database's URL, trades a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("trades_per_s", type=int)
    asked = parser.parse_args()
    asyncio.run(record(asked.url, asked.trades_per_s))


if __name__ == "__main__":
    main()
