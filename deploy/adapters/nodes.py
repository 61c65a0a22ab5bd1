"""Chains' nodes, from the settings."""

from collections.abc import Sequence
from typing import Any

from chain.failover import Endpoint, FailoverRpc
from engine.settings import ChainSettings, Settings


def nodes_of(settings: Settings, log: Any) -> FailoverRpc:
    """RISE's nodes."""
    return nodes_of_chain(settings.rise, log)


def nodes_of_chain(chain: ChainSettings, log: Any) -> FailoverRpc:
    """A chain's nodes."""
    endpoints = [Endpoint(chain.rpc_url, chain.ws_url)]
    if chain.rpc_url_2:
        endpoints.append(Endpoint(chain.rpc_url_2, chain.ws_url_2))
    return nodes_at(endpoints, chain, log)


def nodes_at(endpoints: Sequence[Endpoint], chain: ChainSettings, log: Any) -> FailoverRpc:
    """Some of a chain's nodes, the preferred first."""
    return FailoverRpc(endpoints, timeout_s=chain.rpc_timeout_s, on_switch=log.warning)
