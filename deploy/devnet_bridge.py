"""The bridge between the two local chains: a vault on each, with keys that everybody knows.

Nothing of a chain is in a vault's code, so both have the same address and each can be told of
the other before the other is there.
"""

from collections.abc import Callable
from typing import Any

from eth_account import Account

from chain.rpc import JsonRpc
from chain.vault_deployer import VaultConfig, deploy_vault

# anvil's accounts 1 to 4: public and worthless, refused in production wherever a key is given.
ATTESTOR_KEYS = (
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)
GUARDIAN_KEY = "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"
THRESHOLD = 2
LIQUIDITY_WEI = 1_000 * 10**18
LIMIT_WEI = 500 * 10**18
MINIMUM_WEI = 10**15
FEE_BPS = 10
DELAY_S = 60
"""The least that a vault takes: who tries a change on the devnet does not wait a day."""


def config(owner_key: str) -> VaultConfig:
    """The same on both chains. The owner provides the liquidity."""
    owner = _address(owner_key)
    return VaultConfig(
        owner=owner,
        signers=tuple(_address(key) for key in ATTESTOR_KEYS),
        threshold=THRESHOLD,
        guardians=(_address(GUARDIAN_KEY),),
        liquidity_providers=(owner,),
        limit_wei=LIMIT_WEI,
        minimum_wei=MINIMUM_WEI,
        fee_bps=FEE_BPS,
        delay_s=DELAY_S,
    )


async def open_vault(
    rpc: JsonRpc, *, chain_id: int, peer_chain_id: int, owner_key: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """One end, with its peer and its liquidity; the registry's `vault`."""
    chosen = config(owner_key)
    return await deploy_vault(
        rpc,
        chain_id=chain_id,
        private_key=owner_key,
        config=chosen,
        peer=(peer_chain_id, chosen.planned().address),
        liquidity_wei=LIQUIDITY_WEI,
        progress=say,
    )


def _address(key: str) -> bytes:
    return bytes.fromhex(Account.from_key(key).address[2:])
