"""Owns buckets of markets."""

from actors.host import Context, Role
from actors.shard import TokenShard
from deploy.adapters.log import log_of
from deploy.adapters.postgres import pool_of
from deploy.adapters.redis import states_of, ticks_of
from storage.buckets import BucketStore
from storage.events import EventStore
from storage.snapshots import SnapshotStore


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=4)
    chain_id = settings.rise.chain_id
    built = TokenShard(
        name=context.name,
        chain=settings.rise,
        settings=settings.actors,
        buckets=BucketStore(pool, chain_id),
        snapshots=SnapshotStore(pool, chain_id),
        events=EventStore(pool, chain_id),
        ticks=ticks_of(settings),
        states=states_of(settings),
        calls=context.calls,
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log, owners=lambda: built.owners)
