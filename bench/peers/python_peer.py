"""What the Python peers share: markets of a file in memory, and how they are started.

Each prints `{"port": …}` when it listens, and ends when its standard input does.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from engine.market import Market
from engine.messages import AsOf, CurveNumbers, FeeNumbers

Markets = dict[bytes, tuple[Market, AsOf]]


def market_of(plain: dict[str, Any]) -> tuple[Market, AsOf]:
    """One of the file's markets, and the state that its answers name."""
    of = plain["asOf"]
    numbers = CurveNumbers(
        0,
        int(plain["virtualEth"]),
        int(plain["virtualTokens"]),
        int(plain["curveSupply"]),
        int(plain["poolSupply"]),
    )
    fees = FeeNumbers(
        plain["protocolBps"], plain["creatorBps"], plain["launchBps"], plain["launchBlocks"], 0, 0
    )
    market = Market(
        token=bytes.fromhex(plain["token"][2:]),
        creator=bytes(20),
        pair=bytes(20),
        launchpad=bytes(20),
        numbers=numbers,
        fees=fees,
        launch_block=plain["launchBlock"],
        phase=plain["phase"],
        sold=int(plain["sold"]),
        raised=int(plain["raised"]),
        seq=2,
        block=of["blockNumber"],
        log_index=of["logIndex"],
        launch_tx=None,
    )
    block_hash = None if of["blockHash"] is None else bytes.fromhex(of["blockHash"][2:])
    version = (of["version"][0], of["version"][1])
    as_of = AsOf(of["blockNumber"], block_hash, of["logIndex"], of["status"], version)
    return market, as_of


def markets_of(file: str) -> Markets:
    """All of a file, by address."""
    found = [market_of(one) for one in json.loads(Path(file).read_text())]
    return {market.token: (market, as_of) for market, as_of in found}


def run(serve: Callable[[], Awaitable[int]]) -> None:
    """Serve until standard input ends. `serve` answers with the port."""

    async def main() -> None:
        port = await serve()
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)

    uvloop.run(main())
