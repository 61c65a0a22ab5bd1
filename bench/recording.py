"""`python -m bench.recording`: the real recorder writes a block a second, for `rest_reads`.

Blocks are synthetic and hold so many trades of tokens that the bench launched itself; the
analytics role's figures are brought up to date beside it, as they are in a running system.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from dataclasses import dataclass, field, replace
from typing import Any

from actors.recorder import GROUP, Recorder
from bench.history import CHAIN_ID, LAST_BLOCK, LAST_HASH, POSITION
from engine.control import Feed
from engine.errors import RiseCurveError
from engine.messages import BlockHeader, FeedBatch, Finalised
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


async def record(url: str, trades_per_s: int) -> None:
    """Until SIGTERM; then one line of JSON: trades, blocks, and how long a block took."""
    os.nice(5)  # as its role does
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
    scenario = Living(number=LAST_BLOCK)
    scenario._parent = LAST_HASH
    for number in range(TOKENS):
        scenario.launch(f"bench {number}")
    traders = Traders(scenario, tuple(f"trader {number}" for number in range(WALLETS)))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    figures = asyncio.create_task(_figures(url, ended))
    took, position, trades, began = [], POSITION, 0, time.monotonic()
    while not ended.is_set():
        if took:  # the first block holds the launches
            traders.trade(trades_per_s)
            trades += trades_per_s
        block = scenario.seal()
        started = time.monotonic()
        final = Finalised(CHAIN_ID, block.header.number - FINAL_BEHIND)
        batch = FeedBatch(CHAIN_ID, position, (block, final), block.header.number)
        position = await recorder.handlers[Feed](Feed(GROUP, batch))
        took.append(time.monotonic() - started)
        if len(took) == 1:
            print("recording", flush=True)
        pause_s = began + len(took) - time.monotonic()
        if pause_s > 0:
            await _wait(ended, pause_s)
    await figures
    spent_s = time.monotonic() - began
    line: dict[str, Any] = {"trades_per_s": round(trades / spent_s), "blocks": len(took)}
    ordered = sorted(took)
    line |= {f"block_ms_p{n}": round(ordered[len(ordered) * n // 100] * 1e3) for n in (50, 99)}
    print(json.dumps(line), flush=True)


async def _figures(url: str, ended: asyncio.Event) -> None:
    analytics = Analytics(await postgres.connect(url, size=1), CHAIN_ID)
    while not ended.is_set():
        try:
            await analytics.turn(creators=False)
        except RiseCurveError as error:
            print(f"analytics: {error}", flush=True)
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
