"""A deployed launchpad for tests."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import Any

from eth_abi.abi import encode

from chain import abi
from chain.deployer import LAUNCHPAD_TYPES, deploy
from chain.rpc import JsonRpc
from engine.messages import CurveNumbers, FeeNumbers
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
    router: Contract
    owner: bytes

    def token(self, address: bytes) -> Contract:
        return Contract(self.chain, abi.load("LaunchToken"), address)

    def pair(self, token: bytes) -> Contract:
        """The pair of `token` and WETH; its address is zero before it is made."""
        address = self.factory.call("getPair", token, self.weth.address)
        return Contract(self.chain, abi.load("UniswapV2Pair"), address)

    def salt_for(self, creator: bytes, *, token_first: bool, after: int = 0) -> int:
        """The first salt above `after` whose token stands below WETH, or above it."""
        salt = after + 1
        while True:
            token = self.pad.call("tokenAddress", creator, salt.to_bytes(32, "big"))
            if (token < self.weth.address) == token_first:
                return salt
            salt += 1


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
        router=at("UniswapV2Router02", entry["router"]),
        owner=owner,
    )


def version_1(
    stage: Stage, *, curves: Sequence[CurveNumbers], fees: FeeNumbers
) -> tuple[Contract, Contract]:
    """A launchpad of version 1 and its lens beside the newest, from the artifacts kept of it."""
    chain, exchange = stage.chain, [stage.factory.address, stage.weth.address]
    numbers = [astuple(curve) for curve in curves]
    arguments = encode(LAUNCHPAD_TYPES, [*exchange, stage.owner, astuple(fees), numbers])
    found = []
    for name, data in [("v1/Launchpad", arguments), ("v1/LaunchpadLens", b"")]:
        artifact = abi.load(name)
        place = chain.create(artifact, data, sender=stage.owner)
        found.append(Contract(chain, artifact, place))
    return found[0], found[1]


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
