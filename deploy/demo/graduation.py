"""Tokens through graduation: wallets that buy curves out, and a stranger on the pools.

The keeper does the graduating, nothing here does. The stranger swaps through Uniswap's own
router and never meets the API, so what is seen of it came from the chain alone.
"""

import asyncio
import random
import time

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from chain.rpc import JsonRpc, RpcError
from deploy.demo.client import ApiError, Client
from deploy.demo.tally import Tally
from engine import text
from engine.errors import TransientError
from engine.settings import ChainSettings

ETH = 10**18
BITE_WEI = 2 * ETH
PATIENCE_S = 0.1
SWAPS = 6
SWAP_GAS = 400_000
DEADLINE_S = 600
RECEIPT_WAIT_S = 30.0

_BUY = keccak(b"swapExactETHForTokens(uint256,address[],address,uint256)")[:4]
_SELL = keccak(b"swapExactTokensForETH(uint256,uint256,address[],address,uint256)")[:4]
_APPROVE = keccak(b"approve(address,uint256)")[:4]
_BALANCE = keccak(b"balanceOf(address)")[:4]


async def buy_out(client: Client, token: str, tally: Tally) -> None:
    """Buy `token` until its curve is sold out. Its trades count like anybody's."""
    while tally.markets[token].phase == "curve" and not tally.complete:
        if not tally.ticket():
            await asyncio.sleep(PATIENCE_S)
            continue
        try:
            amount = text.units(BITE_WEI)
            answer = await client.post(
                "/api/trading/buy", tokenAddress=token, ethAmount=amount, slippage="50"
            )
            state = await client.send(answer["transaction"])
        except (ApiError, OSError, TimeoutError) as error:
            tally.not_traded()
            if getattr(error, "code", "") != "market_graduating":
                tally.errors.append(f"buying out: {error}")
            await asyncio.sleep(PATIENCE_S)
            continue
        if state["status"] == "CONFIRMED":
            tally.traded(str(state["txHash"]))
        else:
            tally.not_traded(reverted=True)


class Stranger:
    """Buys and sells on the pools of graduated tokens through the router, `SWAPS` times each."""

    def __init__(self, chain: ChainSettings, rpc: JsonRpc, tally: Tally, *, seed: int) -> None:
        self._chain = chain
        self._rpc = rpc
        self._tally = tally
        self._random = random.Random(seed)
        self._account: LocalAccount = Account.create()
        self._nonce = 0

    @property
    def address(self) -> str:
        """EIP-55."""
        return str(self._account.address)

    async def run(self, tokens: list[str]) -> None:
        """Wait for each token's pool, then swap on it."""
        await asyncio.gather(*(self._graduated(token) for token in tokens))
        for token in tokens:
            raw = bytes.fromhex(token[2:])
            await self._send(raw, _APPROVE + encode(["address", "uint256"], [self._router, 2**255]))
        for number in range(SWAPS):
            for token in tokens:
                raw = bytes.fromhex(token[2:])
                try:
                    await (self._sell(raw) if number % 2 else self._buy(raw))
                except (RpcError, TransientError) as error:
                    self._tally.errors.append(f"stranger: {error}")
                await asyncio.sleep(self._random.uniform(0, 0.5))

    @property
    def _router(self) -> bytes:
        return self._chain.router

    async def _graduated(self, token: str) -> None:
        while self._tally.markets[token].phase != "graduated":  # noqa: ASYNC110
            await asyncio.sleep(PATIENCE_S)

    async def _buy(self, token: bytes) -> None:
        path, deadline = [self._chain.weth, token], int(time.time()) + DEADLINE_S
        arguments = [1, path, self._me, deadline]
        data = _BUY + encode(["uint256", "address[]", "address", "uint256"], arguments)
        value = self._random.randrange(10**12, 10**16)
        self._swapped(await self._send(self._router, data, value=value))

    async def _sell(self, token: bytes) -> None:
        held = await self._balance(token)
        if not held:
            return
        path, deadline = [token, self._chain.weth], int(time.time()) + DEADLINE_S
        amount = self._random.randrange(max(held // 4, 1), held + 1)
        arguments = [amount, 1, path, self._me, deadline]
        kinds = ["uint256", "uint256", "address[]", "address", "uint256"]
        self._swapped(await self._send(self._router, _SELL + encode(kinds, arguments)))

    def _swapped(self, tx_hash: str | None) -> None:
        if tx_hash is not None:
            self._tally.foreign_hashes.append(tx_hash)

    @property
    def _me(self) -> bytes:
        return bytes.fromhex(self._account.address[2:])

    async def _balance(self, token: bytes) -> int:
        data = _BALANCE + encode(["address"], [self._me])
        call = {"to": text.hex_of(token), "data": text.hex_of(data)}
        return int(await self._rpc.call("eth_call", [call, "latest"]), 16)

    async def _send(self, to: bytes, data: bytes, *, value: int = 0) -> str | None:
        # The hash of a transaction that succeeded; None of one that was mined as a revert.
        price = 2 * int(await self._rpc.call("eth_gasPrice", []), 16)
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain.chain_id,
                "nonce": self._nonce,
                "to": to,
                "value": value,
                "data": data,
                "gas": SWAP_GAS,
                "maxFeePerGas": price,
                "maxPriorityFeePerGas": min(price, 10**9),
            }
        )
        raw = signed.raw_transaction.to_0x_hex()
        tx_hash = str(await self._rpc.call("eth_sendRawTransaction", [raw]))
        self._nonce += 1
        async with asyncio.timeout(RECEIPT_WAIT_S):
            while True:
                receipt = await self._rpc.call("eth_getTransactionReceipt", [tx_hash])
                if receipt is not None:
                    return tx_hash if int(receipt["status"], 16) else None
                await asyncio.sleep(PATIENCE_S)
