"""Calls that a node makes because a stranger wants it: bounded, so that none of them is dear.

Each has a gas cap and two seconds; all together have a budget of calls at once and a second,
apart from what serves trades. Past it a stranger is told to come again.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from eth_abi.abi import encode

from chain import abi
from chain.rpc import Rpc, RpcError
from engine.errors import TransientError

GAS_MAX = 3_000_000
"""A passkey's curve in Solidity takes 0.4M, deploying an account with it about 1M."""

TIMEOUT_S = 2.0
CALLS_AT_ONCE = 8
CALLS_PER_S = 50.0
"""Three for one login at most."""

_CHECK = ["address", "bytes32", "bytes", "address", "bytes"]


class Accounts(Protocol):
    """What a signature's check needs to know of accounts. All raise TransientError."""

    @property
    def chain_id(self) -> int: ...
    async def code(self, address: bytes) -> bytes: ...
    async def nonce(self, address: bytes) -> int: ...
    async def accepts(
        self,
        *,
        account: bytes,
        digest: bytes,
        signature: bytes,
        prepare: tuple[bytes, bytes] | None = None,
        code: bytes | None = None,
    ) -> bool: ...


class Strangers:
    """`Accounts` by a node. TransientError: `overloaded` past the budget, else as the node."""

    def __init__(
        self, rpc: Rpc, chain_id: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._under_way = 0
        self._tokens = CALLS_PER_S
        self._filled_at = clock()
        self.chain_id = chain_id

    async def code(self, address: bytes) -> bytes:
        """Runtime code; empty for a plain account."""
        return _bytes(await self._asked("eth_getCode", ["0x" + address.hex(), "latest"]))

    async def nonce(self, address: bytes) -> int:
        """Of the account's next transaction, those in blocks counted."""
        params = ["0x" + address.hex(), "latest"]
        return int.from_bytes(_bytes(await self._asked("eth_getTransactionCount", params)))

    async def accepts(
        self,
        *,
        account: bytes,
        digest: bytes,
        signature: bytes,
        prepare: tuple[bytes, bytes] | None = None,
        code: bytes | None = None,
    ) -> bool:
        """Whether the account says so by ERC-1271, as it is or after the call `prepare` (to,
        data); `code` stands in for its own. An account that reverts or runs out says no.
        """
        to, data = prepare or (bytes(20), b"")
        arguments = encode(_CHECK, [account, digest, signature, to, data])
        request = {
            "data": abi.load("SignatureCheck")["bytecode"] + arguments.hex(),
            "gas": hex(GAS_MAX),
        }
        params: list[Any] = [request, "latest"]
        if code is not None:
            params.append({"0x" + account.hex(): {"code": "0x" + code.hex()}})
        try:
            answer = await self._asked("eth_call", params)
        except RpcError:
            return False
        return _bytes(answer) == (1).to_bytes(32)

    async def _asked(self, method: str, params: list[Any]) -> Any:
        self._take()
        self._under_way += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._rpc.call(method, params, timeout_s=TIMEOUT_S)
        except TimeoutError as error:
            raise TransientError("stale_chain", f"No answer in {TIMEOUT_S} s") from error
        finally:
            self._under_way -= 1

    def _take(self) -> None:
        now = self._clock()
        grown = self._tokens + (now - self._filled_at) * CALLS_PER_S
        self._tokens, self._filled_at = min(grown, CALLS_PER_S), now
        if self._tokens < 1 or self._under_way >= CALLS_AT_ONCE:
            raise TransientError("overloaded", "Expected fewer signatures of smart accounts")
        self._tokens -= 1


def _bytes(value: Any) -> bytes:
    try:
        text = value[2:]
        return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)
    except (TypeError, ValueError) as error:
        raise TransientError("stale_chain", f"Expected bytes, was {value!r}") from error
