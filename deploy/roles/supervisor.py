"""Looks after all other roles."""

from functools import partial

from actors.handles import ROLES
from actors.host import Context, Role
from actors.supervisor import Supervisor
from deploy import bridge_endpoints, bridge_slots
from deploy.adapters.log import log_of
from deploy.adapters.postgres import pool_of
from engine import placement
from engine.control import Wanted
from engine.settings import Settings
from storage.buckets import BucketStore
from storage.wanted import WantedStore


def slots(settings: Settings, wanted: Wanted) -> dict[str, str]:
    """Every place to fill and its role."""
    return {
        "recorder": "recorder",
        "listener": "listener",
        **placement.scaled(wanted, streams="stream_gateway" in ROLES),
        "keeper": "keeper",
        "auditor": "auditor",
        "points": "points",
        "analytics": "analytics",
        **bridge_slots.slots(settings),
    }


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    settings, log = context.settings, log_of(context)
    if bridge_slots.refusal(settings):
        log.warning("bridge_not_started", reason=bridge_slots.refusal(settings))
    elif bridge_endpoints.alone(settings):
        log.warning("bridge_trusts_one_endpoint", reason=bridge_endpoints.alone(settings))
    pool = await pool_of(settings, size=2)
    chain_id, actors = settings.rise.chain_id, settings.actors
    first = Wanted(actors.shards, actors.gateways, actors.stream_gateways)
    built = Supervisor(
        slots=partial(slots, settings),
        settings=actors,
        launcher=context.launcher,
        owners=BucketStore(pool, chain_id),
        wanted=WantedStore(pool, chain_id, first),
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)
