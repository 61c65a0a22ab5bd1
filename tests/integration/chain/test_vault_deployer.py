"""Both ends of a bridge put on real nodes: from nothing, again, and what cannot be."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account

from chain import abi
from chain.rpc import JsonRpc
from chain.vault_deployer import VaultConfig, deploy_vault, set_peer
from deploy import devnet_bridge
from engine.errors import CallerError
from tests.support.evm import ETHER, Chain, Contract
from tests.support.servers import RISE, Anvil

SEPOLIA = 11155111
Work = Callable[[JsonRpc], Coroutine[Any, Any, Any]]


def on(anvil: Anvil, work: Work) -> Any:
    """`work` with a connection, from a test without a loop."""

    async def run() -> Any:
        rpc = JsonRpc(anvil.rpc_url, timeout_s=30)
        try:
            return await work(rpc)
        finally:
            await rpc.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result(timeout=100)


def nonce(anvil: Anvil) -> int:
    sender = Account.from_key(anvil.keys()[0]).address
    return int(anvil.rpc("eth_getTransactionCount", sender, "latest"), 16)


def config(anvil: Anvil) -> VaultConfig:
    return replace(devnet_bridge.config("0x" + anvil.keys()[0].hex()), fee_bps=11)


def deploying(anvil: Anvil, **options: Any) -> Work:
    chosen = {"chain_id": anvil.chain_id, "private_key": anvil.keys()[0], "config": config(anvil)}
    return lambda rpc: deploy_vault(rpc, **chosen | options)


def vault_at(chain: Chain, found: dict[str, Any]) -> Contract:
    return Contract(chain, abi.load("BridgeVault"), bytes.fromhex(found["address"][2:]))


def test_deploy_vault_dry_run_then_real_then_again_sends_only_once(
    anvil: Anvil, chain: Chain
) -> None:
    before = nonce(anvil)
    planned = on(anvil, deploying(anvil, dry_run=True))
    assert nonce(anvil) == before
    assert 2_000_000 < planned["gas"]["BridgeVault"] < 6_000_000
    peer = (SEPOLIA, bytes.fromhex(planned["address"][2:]))
    options = {"peer": peer, "liquidity_wei": 5 * ETHER}
    made = on(anvil, deploying(anvil, **options))
    assert nonce(anvil) == before + 3
    assert made["address"] == planned["address"]
    vault = vault_at(chain, made)
    assert vault.call("firstBlock") == made["firstBlock"]
    assert vault.call("peer") == peer
    assert vault.call("totals")["liquidity"] == 5 * ETHER
    assert on(anvil, deploying(anvil, **options)) == made
    assert nonce(anvil) == before + 3, "nothing is sent twice"
    on(anvil, deploying(anvil, peer=peer, liquidity_wei=7 * ETHER))
    assert vault.call("totals")["liquidity"] == 7 * ETHER
    with pytest.raises(CallerError, match="peer"):
        on(anvil, deploying(anvil, peer=(SEPOLIA, b"\1" * 20)))


def test_set_peer_is_sent_once_and_by_the_owner(anvil: Anvil, chain: Chain) -> None:
    changed = replace(config(anvil), fee_bps=12)
    found = on(anvil, deploying(anvil, config=changed))
    place = bytes.fromhex(found["address"][2:])
    assert vault_at(chain, found).call("peer")[0] == 0

    def setting(key: bytes, vault: bytes = place) -> Work:
        chosen = {"chain_id": anvil.chain_id, "private_key": key, "vault": vault}
        return lambda rpc: set_peer(rpc, **chosen, peer=(SEPOLIA, place))

    with pytest.raises(CallerError, match="refuses"):
        on(anvil, setting(anvil.keys()[5]))
    with pytest.raises(CallerError, match="vault"):
        on(anvil, setting(anvil.keys()[0], b"\1" * 20))
    assert on(anvil, setting(anvil.keys()[0]))
    assert not on(anvil, setting(anvil.keys()[0]))


def test_deploy_vault_that_cannot_be_sends_nothing(anvil: Anvil) -> None:
    before = nonce(anvil)
    with pytest.raises(CallerError, match="cannot be deployed"):
        on(anvil, deploying(anvil, config=replace(config(anvil), threshold=4)))
    with pytest.raises(CallerError, match="Expected chain 1"):
        on(anvil, deploying(anvil, chain_id=1))
    assert nonce(anvil) == before


def test_devnet_vaults_know_each_other_on_both_chains(
    make_anvil: Callable[..., Anvil],
) -> None:
    key = "0x" + Anvil.keys()[0].hex()
    ends = {RISE: SEPOLIA, SEPOLIA: RISE}
    found: dict[int, dict[str, Any]] = {}
    for chain_id, other in ends.items():
        node = make_anvil(chain_id, block_time=None)

        def work(rpc: JsonRpc, here: int = chain_id, there: int = other) -> Any:
            return devnet_bridge.open_vault(
                rpc, chain_id=here, peer_chain_id=there, owner_key=key, say=lambda line: None
            )

        found[chain_id] = on(node, work)
        chain = Chain(node.rpc_url)
        vault = vault_at(chain, found[chain_id])
        assert vault.call("peer") == (other, vault.address)
        assert vault.call("totals")["liquidity"] == devnet_bridge.LIQUIDITY_WEI
        assert chain.balance(vault.address) == devnet_bridge.LIQUIDITY_WEI
        chain.close()
    assert found[RISE]["address"] == found[SEPOLIA]["address"]
