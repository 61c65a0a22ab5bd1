"""Opens the pools of sold-out markets."""

from actors.host import Context, Role
from actors.keeper import Keeper
from chain import transactions
from chain.payer import Payer
from chain.sender import Node
from deploy import logs
from deploy.adapters.log import log_of
from deploy.adapters.nodes import nodes_of
from deploy.adapters.postgres import pool_of
from storage.events import EventStore

KEEPER_WAIT_BLOCKS = 3.0
"""Then its transaction is offered again for more."""


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    settings, log = context.settings, log_of(context)
    logs.hide(settings.keeper.private_key)
    rise = settings.rise
    node = Node(nodes_of(settings, log), rise)
    payer = None
    if settings.keeper.private_key:
        payer = Payer(
            node,
            private_key=settings.keeper.private_key,
            chain_id=rise.chain_id,
            wait_s=KEEPER_WAIT_BLOCKS * rise.block_time_s,
        )
    built = Keeper(
        chain=rise,
        store=EventStore(await pool_of(settings, size=1), rise.chain_id),
        node=node,
        payer=payer,
        graduate=lambda token: transactions.graduate(token=token),
        log=log,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)
