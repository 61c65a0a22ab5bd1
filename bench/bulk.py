"""Buys in bulk on a local chain: anvil signs for its own accounts, so that sending costs little."""

import itertools
from collections.abc import Sequence

from chain import transactions
from chain.rpc import JsonRpc

VALUE_WEI = 10**13
GAS = 400_000
GAS_PRICE = 10**11
FOREVER = 2**60


class Bulk:
    """`await send(500)`: so many buys of all tokens in turn, by the chain's own accounts."""

    def __init__(self, rpc: JsonRpc, *, launchpad: str, tokens: Sequence[str]) -> None:
        self._rpc = rpc
        self._launchpad = launchpad
        self._tokens = itertools.cycle(bytes.fromhex(token[2:]) for token in tokens)
        self._nonces: dict[str, int] = {}

    async def send(self, count: int) -> None:
        """In one round trip; they wait for the next block. Raises RpcError."""
        if not self._nonces:
            # The first account is the deployer's and pays for the bench's wallets.
            for account in (await self._rpc.call("eth_accounts", []))[1:]:
                found = await self._rpc.call("eth_getTransactionCount", [account, "pending"])
                self._nonces[account] = int(found, 16)
        senders = itertools.islice(itertools.cycle(self._nonces), count)
        await self._rpc.batch([("eth_sendTransaction", [self._buy(one)]) for one in senders])

    def _buy(self, sender: str) -> dict[str, str]:
        nonce = self._nonces[sender]
        self._nonces[sender] = nonce + 1
        data = transactions.buy(
            token=next(self._tokens),
            min_tokens=0,
            recipient=bytes.fromhex(sender[2:]),
            deadline=FOREVER,
        )
        return {
            "from": sender,
            "to": self._launchpad,
            "value": hex(VALUE_WEI),
            "gas": hex(GAS),
            "gasPrice": hex(GAS_PRICE),
            "nonce": hex(nonce),
            "data": "0x" + data.hex(),
        }
