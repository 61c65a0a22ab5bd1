"""A deployed launchpad for tests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from chain import abi
from chain.deployer import deploy
from chain.rpc import JsonRpc
from tests.support.evm import Chain, Contract
from tests.support.servers import Anvil


@dataclass(frozen=True)
class Stage:
    """The launchpad with its surroundings. `owner` may change its parameters."""

    chain: Chain
    pad: Contract
    lens: Contract
    factory: Contract
    weth: Contract
    owner: bytes

    def token(self, address: bytes) -> Contract:
        return Contract(self.chain, abi.load("LaunchToken"), address)


def build(anvil: Anvil, chain: Chain, *, salt: bytes) -> Stage:
    """Deploy a set of contracts of its own for `salt`."""
    owner = chain.account("owner")
    entry = deploy_blocking(anvil, private_key=anvil.keys()[0], owner=owner, salt=salt)

    def at(name: str, address: str) -> Contract:
        return Contract(chain, abi.load(name), bytes.fromhex(address[2:]))

    launchpad = entry["launchpads"][0]
    return Stage(
        chain=chain,
        pad=at("Launchpad", launchpad["address"]),
        lens=at("LaunchpadLens", launchpad["lens"]),
        factory=at("UniswapV2Factory", entry["factory"]),
        weth=at("WETH9", entry["weth"]),
        owner=owner,
    )


def deploy_blocking(anvil: Anvil, **options: Any) -> dict[str, Any]:
    """`deploy` from a test without an event loop."""

    async def work() -> dict[str, Any]:
        rpc = JsonRpc(anvil.rpc_url, timeout_s=30)
        try:
            return await deploy(rpc, **{"chain_id": anvil.chain_id} | options)
        finally:
            await rpc.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work()).result(timeout=60)
