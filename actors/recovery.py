"""What start, failover, moving and scaling have in common: buckets from storage to memory.

1. load: the newest good snapshot of each bucket, not above the recorder's cursor;
2. replay: recorded events above each snapshot up to the cursor;
3. the caller follows the listener from that cursor.
Where nobody owns them the caller takes the buckets before the first step, so that whoever is
back too late is fenced; where another shard serves them, after the last one (`actors/shard.py`).
"""

import asyncio
from collections.abc import Mapping

from actors.ports import Log, RecordedEvents, Snapshot, Snapshots
from engine import snapshot
from engine.group import Group

REPLAYED_AT_ONCE = 200
"""Events between two turns of the loop: the shard may be serving others, about 5 ms."""


async def recover(
    *,
    name: str,
    incarnations: Mapping[int, int],
    reorg_depth: int,
    snapshots: Snapshots,
    events: RecordedEvents,
    log: Log,
) -> Group:
    """The group at the recorder's cursor. Raises TransientError when Postgres is away."""
    wanted = sorted(incarnations)
    position = await events.position()
    group = Group(name, dict(incarnations), reorg_depth)
    starts = await _restore(group, await snapshots.load(wanted), cursor=position.number, log=log)
    for start in sorted({starts.get(bucket, -1) for bucket in wanted}):
        share = [bucket for bucket in wanted if starts.get(bucket, -1) == start]
        async for chunk in events.market_events(
            share, after_block=start, upto_block=position.number
        ):
            for number, event in enumerate(chunk):
                group.replay(event, cursor=position.number)
                if number % REPLAYED_AT_ONCE == 0:
                    await asyncio.sleep(0)
    group.recovered(position, await events.trail(reorg_depth))
    for token, reason in group.halted.items():
        log.error("market_halted", token=token.hex(), reason=reason)
    return group


async def _restore(
    group: Group, stored: dict[int, list[Snapshot]], *, cursor: int, log: Log
) -> dict[int, int]:
    starts: dict[int, int] = {}
    for bucket, generations in stored.items():
        for one in generations:
            if one.block_number > cursor or one.schema != snapshot.SCHEMA:
                log.warning("snapshot_refused", bucket=bucket, block=one.block_number)
                continue
            try:
                markets = snapshot.from_bytes(one.payload)
            except (ValueError, KeyError, TypeError) as error:
                log.warning("snapshot_refused", bucket=bucket, error=str(error))
                continue
            for market in markets:
                group.restore(market, one.block_number)
            starts[bucket] = one.block_number
            break
        await asyncio.sleep(0)
    return starts
