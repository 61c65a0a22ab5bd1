"""What the doors are handed of the bridge; apart, since there may be none."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from actors.host import Context
from chain import vault
from chain.sender import Node
from chain.vault_view import VaultView
from deploy import bridge_slots
from deploy.adapters.nodes import nodes_of_chain
from engine.bridge.control import Pause
from engine.settings import ChainSettings, Settings
from gateway.bridge_ports import BridgeEnd, BridgePorts
from storage import postgres
from storage.bridge_reads import BridgeReads
from storage.bridge_requests import BridgeRequests


class Requests(BridgeReads, BridgeRequests):
    """What is read and what is asked for, on one pool."""

    def __init__(self, pool: "postgres.Pool", settings: Settings) -> None:
        assert settings.sepolia is not None, "Expected a bridge"
        BridgeReads.__init__(self, pool, [settings.rise.chain_id, settings.sepolia.chain_id])
        BridgeRequests.__init__(self, pool)


def bridge_ports(context: Context, pool: "postgres.Pool", log: Any) -> BridgePorts | None:
    """None where no bridge is."""
    settings = context.settings
    if bridge_slots.absence(settings):
        return None
    assert settings.sepolia is not None, "Expected a bridge"

    async def pause(checker: str, timeout_s: float) -> Mapping[int, bool]:
        done: Mapping[int, bool] = await context.calls.ask(checker, Pause(), timeout_s=timeout_s)
        return done

    return BridgePorts(
        rise=_end(settings.rise, log),
        sepolia=_end(settings.sepolia, log),
        requests=Requests(pool, settings),
        deposit=vault.deposit,
        pause=pause,
        minimum_wei=settings.bridge.minimum_wei,
    )


def _end(chain: ChainSettings, log: Any) -> BridgeEnd:
    assert chain.vault is not None, "Expected a vault"
    node = Node(nodes_of_chain(chain, log), chain)
    view = VaultView(node, address=chain.vault.address)
    return BridgeEnd(
        chain=chain,
        vault=chain.vault.address,
        node=node,
        terms=partial(view.terms, chain.chain_id),
    )
