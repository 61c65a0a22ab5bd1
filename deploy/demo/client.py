"""A user of the doors: REST with a wallet that signs. Knows the public API and its node."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from chain.rpc import JsonRpc

REQUEST_TIMEOUT_S = 30.0
RESYNC_PAUSE_S = 1.5


class ApiError(Exception):
    """An answer with `success: false`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.args[2]}"


class Client:
    """One wallet at one gateway. Close it with `close`."""

    def __init__(self, base_url: str, account: LocalAccount, chain_id: int) -> None:
        self.base_url = base_url
        self.account = account
        self.chain_id = chain_id
        self.nonce = 0
        self._token = ""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        self._session = aiohttp.ClientSession(base_url, timeout=timeout)

    @property
    def address(self) -> str:
        """EIP-55."""
        return str(self.account.address)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, **query: str) -> Any:
        """`data` of the answer. Raises ApiError."""
        async with self._session.get(path, params=query, headers=self._headers()) as response:
            return _data(response.status, await response.json())

    async def post(self, path: str, **body: Any) -> Any:
        """`data` of the answer. Raises ApiError."""
        async with self._session.post(path, json=body, headers=self._headers()) as response:
            return _data(response.status, await response.json())

    async def login(self) -> None:
        """Sign-In with Ethereum (EIP-4361)."""
        nonce = (await self.post("/api/auth/nonce"))["nonce"]
        config = await self.get("/api/config")
        message = _siwe(self.address, self.chain_id, public_url=config["publicUrl"], nonce=nonce)
        signed = self.account.sign_message(encode_defunct(text=message))
        answer = await self.post(
            "/api/auth/connect",
            walletAddress=self.address,
            message=message,
            signature=signed.signature.to_0x_hex(),
        )
        self._token = answer["token"]

    async def send(self, transaction: dict[str, str]) -> dict[str, Any]:
        """Sign and submit; waits until it is mined. The nonce is ours to count."""
        wanted = ("to", "data", "value", "chainId", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
        fields: dict[str, Any] = {name: transaction[name] for name in wanted}
        signed = self.account.sign_transaction(fields | {"nonce": self.nonce, "type": 2})
        state = await self.post(
            "/api/trading/submit", rawTransaction=signed.raw_transaction.to_0x_hex()
        )
        self.nonce += 1
        while state["status"] == "PENDING":
            await asyncio.sleep(0.2)
            state = await self.get(f"/api/trading/tx/{state['txHash']}")
        return dict(state)

    async def resync(self, rpc: JsonRpc) -> None:
        """After a failed `send`: whether it was mined is unknown, so ask the wallet's node."""
        await asyncio.sleep(RESYNC_PAUSE_S)
        self.nonce = int(await rpc.call("eth_getTransactionCount", [self.address, "pending"]), 16)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def new_account() -> LocalAccount:
    """A fresh random key: the demo's chain knows no secret worth keeping."""
    account: LocalAccount = Account.create()
    return account


def _data(status: int, body: Any) -> Any:
    if not body.get("success"):
        error = body.get("error", {})
        raise ApiError(status, str(error.get("code")), str(error.get("message")))
    return body["data"]


def _siwe(address: str, chain_id: int, *, public_url: str, nonce: str) -> str:
    now = datetime.now(UTC).replace(microsecond=0)
    domain = public_url.split("://", 1)[-1].split("/", 1)[0]
    return "\n".join(
        (
            f"{domain} wants you to sign in with your Ethereum account:",
            address,
            "",
            "Trade on risecurve.",
            "",
            f"URI: {public_url}",
            "Version: 1",
            f"Chain ID: {chain_id}",
            f"Nonce: {nonce}",
            f"Issued At: {now.isoformat().replace('+00:00', 'Z')}",
            f"Expiration Time: {(now + timedelta(minutes=5)).isoformat().replace('+00:00', 'Z')}",
        )
    )
