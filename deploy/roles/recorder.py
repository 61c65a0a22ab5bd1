"""Writes history."""

import os

from actors.host import Context, Role
from actors.recorder import Recorder
from chain.sender import Node
from deploy.adapters.log import log_of
from deploy.adapters.nodes import nodes_of
from deploy.adapters.postgres import pool_of
from deploy.roles import RECORDER_NICE
from storage.events import EventStore


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=4)
    built = Recorder(
        name=context.name,
        chain=settings.rise,
        history=EventStore(pool, settings.rise.chain_id),
        receipts=Node(nodes_of(settings, log), settings.rise),
        calls=context.calls,
        log=log,
    )
    await built.start()
    return Role(handlers=built.handlers, run=built.run, log=log)
