"""Follows the RISE chain from the recorder's cursor."""

from typing import Any

from actors.host import Context, Role
from actors.listener import ChainListener
from chain.decode import TOPICS, Decoder
from chain.source import ChainSource
from chain.stream import LiveStreams
from deploy.adapters.log import log_of
from deploy.adapters.nodes import nodes_of
from deploy.adapters.postgres import pool_of
from deploy.feeding import feeding
from storage.events import EventStore


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    settings, log = context.settings, log_of(context)
    pool = await pool_of(settings, size=2)
    store = EventStore(pool, settings.rise.chain_id)
    position = await store.position()  # before the tokens: one recorded in between is in both
    node = nodes_of(settings, log)
    source = ChainSource(node, settings.rise, warn=log.warning)
    streams = LiveStreams(lambda: node.ws_url, TOPICS, timeout_s=settings.rise.rpc_timeout_s)
    built = ChainListener(
        chain=settings.rise,
        source=source,
        stream_factory=streams,
        decoder=Decoder(settings.rise, await store.tokens(), await store.pairs()),
        log=log,
    )
    await built.start(position)

    def status() -> dict[str, Any]:
        return {
            "node": node.status(),
            "shreds_refused": streams.shreds_refused,
            **source.status(),
        }

    return feeding(built, context.calls, log, status=status, close=node.close)
