"""Chain settings for tests that need no node, or name their own."""

from typing import Any

from engine.settings import ChainSettings, Deployment

LAUNCHPAD = bytes.fromhex("11" * 20)


def settings(**fields: Any) -> ChainSettings:
    """One launchpad of version 1 from block 1; everything can be replaced."""
    values: dict[str, Any] = {
        "chain_id": 11155931,
        "rpc_url": "http://127.0.0.1:1",
        "ws_url": "ws://127.0.0.1:1",
        "genesis_hash": bytes(32),
        "launchpads": (Deployment(address=LAUNCHPAD, lens=bytes(20), first_block=1, version=1),),
        "weth": bytes(20),
        "factory": bytes(20),
        "router": bytes(20),
    }
    return ChainSettings(**(values | fields))
