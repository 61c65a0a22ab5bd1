"""The two local chains, and which contracts each chain's settings are made from.

A chain without an RPC URL is a local anvil, with the contracts deployed on it and its
registry kept in the data folder; a chain with one is a network, whose registry is the
DEPLOYMENTS_FILE or stands in the clone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chain.deployer import deploy
from chain.rpc import JsonRpc
from deploy import datadir, devnet_bridge, registry
from deploy.embedded import Embedded
from deploy.environment import Environment
from deploy.settings import rise_urls, sepolia_urls

Say = Callable[[str], None]


# The first account of every anvil: public and worthless. PRIVATE_KEY refuses it in production,
# and it is used on local chains only.
DEVNET_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a chain's node is; `local` when it is ours. `bridged_to` is the other local chain."""

    chain_id: int
    rpc_url: str
    ws_url: str
    local: bool
    bridged_to: int | None = None


@dataclass(frozen=True, slots=True)
class Chains:
    """RISE, and Sepolia where there is one."""

    rise: Chain
    sepolia: Chain | None


def start(environment: Environment, embedded: Embedded, say: Say) -> Chains:
    """Start an anvil for each chain without a URL. From the main thread."""
    rise_id, sepolia_id = environment.rise_chain_id, environment.sepolia_chain_id
    rise_url, sepolia_url = rise_urls(environment), sepolia_urls(environment)
    local = not rise_url[0]
    if local:
        say("two local chains start: RISE and Sepolia")
        rise = Chain(rise_id, *embedded.start_anvil(rise_id), local=True)
    else:
        rise = Chain(rise_id, *rise_url, local=False)
    if sepolia_url[0]:
        return Chains(rise, Chain(sepolia_id, *sepolia_url, local=False))
    if local:
        node = embedded.start_anvil(sepolia_id)
        sepolia = Chain(sepolia_id, *node, local=True, bridged_to=rise_id)
        return Chains(replace(rise, bridged_to=sepolia_id), sepolia)
    return Chains(rise, None)


async def registry_of(
    chain: Chain, *, environment: Environment, data_dir: Path, say: Say
) -> registry.Entry:
    """The chain's registry, contracts deployed first where the chain is local.

    Raises StartError when a network has no registry, or the data folder belongs to another
    chain.
    """
    if chain.local:
        entry = await _deployed(chain, data_dir, say)
    else:
        rise = chain.chain_id == environment.rise_chain_id
        given = environment.deployments_file if rise else ""
        file = Path(given) if given else registry.path(datadir.clone_root(), chain.chain_id)
        entry = registry.read(file, chain_id=chain.chain_id)
    datadir.bind_chain(data_dir, chain_id=chain.chain_id, genesis_hash=entry.genesis_hash)
    return entry


async def _deployed(chain: Chain, data_dir: Path, say: Say) -> registry.Entry:
    # Addresses follow from the arguments: a second start finds everything there.
    rpc = JsonRpc(chain.rpc_url, timeout_s=30.0)
    try:
        say(f"contracts are deployed on chain {chain.chain_id}")
        file = registry.path(data_dir, chain.chain_id)
        document = await deploy(
            rpc, chain_id=chain.chain_id, private_key=DEVNET_KEY, older=registry.older(file)
        )
        if chain.bridged_to is not None:
            document["vault"] = await devnet_bridge.open_vault(
                rpc,
                chain_id=chain.chain_id,
                peer_chain_id=chain.bridged_to,
                owner_key=DEVNET_KEY,
                say=lambda line: None,
            )
    finally:
        await rpc.close()
    return registry.write(file, document)
