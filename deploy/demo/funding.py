"""Gives the demo's wallets ETH: plain transfers from the local chain's first account."""

import asyncio
from collections.abc import Sequence

from eth_account import Account

from chain.rpc import JsonRpc
from deploy.devnet import DEVNET_KEY
from deploy.process import StartError

TRANSFER_GAS = 21_000
WAIT_S = 30.0


async def fund(rpc: JsonRpc, chain_id: int, *, addresses: Sequence[str], amount_wei: int) -> None:
    """Send `amount_wei` to each and wait until the last is mined. Raises StartError."""
    sender = Account.from_key(DEVNET_KEY)
    nonce = int(await rpc.call("eth_getTransactionCount", [sender.address, "pending"]), 16)
    price = 2 * int(await rpc.call("eth_gasPrice", []), 16)
    last = ""
    for offset, address in enumerate(addresses):
        signed = sender.sign_transaction(
            {
                "to": address,
                "value": amount_wei,
                "nonce": nonce + offset,
                "gas": TRANSFER_GAS,
                "maxFeePerGas": price,
                "maxPriorityFeePerGas": min(price, 10**9),
                "chainId": chain_id,
                "type": 2,
            }
        )
        raw = signed.raw_transaction.to_0x_hex()
        last = str(await rpc.call("eth_sendRawTransaction", [raw]))
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while await rpc.call("eth_getTransactionReceipt", [last]) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise StartError("The local chain did not mine the demo's funding in 30 s.")
        await asyncio.sleep(0.1)
