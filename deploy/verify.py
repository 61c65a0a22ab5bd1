"""`risecurve verify`: every market in memory against the contract, at one block.

Compared are phase, sold, raised and seq of each market of each shard, and that memory has
exactly the tokens that were recorded up to that block, each in one shard.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from actors.ports import Calls
from chain import lens
from chain.rpc import JsonRpc
from engine.control import Directory, MarketStates, StatesAt
from engine.errors import RiseCurveError
from engine.settings import ChainSettings

ATTEMPTS = 20
PAUSE_S = 0.25


@dataclass(slots=True)
class Verdict:
    """`mismatches` counts markets that differ, are missing, doubled or halted."""

    block: int
    markets: int = 0
    mismatches: int = 0
    details: list[str] = field(default_factory=list)

    def differ(self, detail: str) -> None:
        """One more mismatch; the first few are kept as text."""
        self.mismatches += 1
        if len(self.details) < 20:
            self.details.append(detail)


async def verify(
    *,
    calls: Calls,
    directory: Directory,
    rpc: JsonRpc,
    chain: ChainSettings,
    recorded: dict[bytes, tuple[int, int]],
    head: int,
) -> Verdict:
    """Compare at `head`, or a later block when the shards have moved on.

    `recorded` maps token to (launchpad version, created block). Raises TransientError when
    a shard stays silent.
    """
    pages = await _states(calls, [one.name for one in directory.named("shard")], head)
    verdict = Verdict(head)
    found: dict[bytes, tuple[object, ...]] = {}
    for page in pages:
        for token, reason in page.halted:
            verdict.differ(f"0x{token.hex()} is halted: {reason}")
        for token, *state in page.states:
            if token in found:
                verdict.differ(f"0x{token.hex()} is in two shards")
            found[token] = tuple(state)
    verdict.markets = len(found)
    expected = {token for token, (_, created) in recorded.items() if created <= head}
    for token in expected - found.keys():
        verdict.differ(f"0x{token.hex()} is not in memory")
    for pad in chain.launchpads:
        mine = sorted(t for t in found if recorded.get(t, (pad.version, 0))[0] == pad.version)
        truths = await lens.markets(
            rpc, pad.lens, launchpad=pad.address, tokens=mine, block=head, version=pad.version
        )
        for token, truth in zip(mine, truths, strict=True):
            expected_state = lens.state_row(truth)
            if found[token] != expected_state:
                verdict.differ(f"0x{token.hex()}: memory {found[token]}, contract {expected_state}")
    return verdict


async def _states(calls: Calls, shards: Iterable[str], block: int) -> list[MarketStates]:
    pages = []
    for name in shards:
        for attempt in range(ATTEMPTS):
            try:
                # A shard may stand a block behind the node for a moment, or be recovering.
                page = await calls.ask(name, StatesAt(block), timeout_s=10.0)
            except RiseCurveError:
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                assert isinstance(page, MarketStates)
                pages.append(page)
                break
    return pages
