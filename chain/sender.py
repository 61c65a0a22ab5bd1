"""Talking to a node about transactions: calls, estimates, fees, sending, receipts.

Sending is repeatable: the transaction's hash is known before, "already known" is success,
and every path of `send_raw_sync` ends with one look for the receipt, so that an answer that
was lost on its way is still found.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from chain import abi
from chain.decode import RawLog, raw_log
from chain.rpc import METHOD_NOT_FOUND, Rpc, RpcError
from chain.transactions import decode_revert, transaction_hash
from engine.errors import CallerError, TransientError
from engine.settings import ChainSettings

REVERTED = 3
"""JSON-RPC error code of an execution that reverted."""

SYNC_TIMED_OUT = 4
"""EIP-7966: not mined in time, but in the mempool."""

INVALID_PARAMS = -32602

_OVERLOADED = frozenset({-32603, -32005, -32097, 429})
_ALREADY = ("already known", "already imported", "known transaction", "alreadyknown")
_POLL_S = 0.05
_SETTLED_S = 1.0
_NO_ANSWER = 2**256 - 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. `status` 1 success, 0 reverted; prices are wei a gas."""

    tx_hash: bytes
    status: int
    block_number: int
    gas_used: int
    effective_gas_price: int
    logs: tuple[RawLog, ...]


class Node:
    """One node. CallerError: the node refuses this transaction or call, and will again;
    TransientError("stale_chain"): the node is away or busy."""

    def __init__(self, rpc: Rpc, chain: ChainSettings) -> None:
        self._rpc = rpc
        self._chain = chain
        self._no_sync = False
        self._no_sync_timeout = False

    async def call(
        self,
        *,
        to: bytes,
        data: bytes,
        sender: bytes | None = None,
        value: int = 0,
        block: int | str = "latest",
        timeout_s: float | None = None,
    ) -> bytes:
        """What the call returns. A revert is a CallerError with the contract's own code."""
        request = _request(to=to, data=data, sender=sender, value=value)
        at = hex(block) if isinstance(block, int) else block
        return _bytes(await self._asked("eth_call", [request, at], timeout_s=timeout_s))

    async def balances(
        self, owner: bytes, tokens: Sequence[bytes], *, block: int, timeout_s: float | None = None
    ) -> list[int | None]:
        """What `owner` holds of each token at the end of `block`, in one call; None for a token
        that does not answer.
        """
        words = ["0x" + owner.hex(), ["0x" + token.hex() for token in tokens]]
        code = abi.load("Balances")["bytecode"] + encode(["address", "address[]"], words).hex()
        found = _bytes(
            await self._asked("eth_call", [{"data": code}, hex(block)], timeout_s=timeout_s)
        )
        try:
            (values,) = decode(["uint256[]"], found)
        except DecodingError as error:
            raise TransientError("stale_chain", "Expected balances of the node") from error
        return [None if value == _NO_ANSWER else value for value in values]

    async def estimate_gas(self, tx: Mapping[str, Any]) -> int:
        """Gas of a JSON-RPC transaction object; its fees are left out, they may not be paid."""
        request = {key: tx[key] for key in ("from", "to", "data", "value") if key in tx}
        return int(await self._asked("eth_estimateGas", [request]), 16)

    async def gas_of(self, *, to: bytes, data: bytes, sender: bytes) -> int:
        """What a call would take as a transaction. A revert is a CallerError, see `call`."""
        request = _request(to=to, data=data, sender=sender, value=0)
        return int(await self._asked("eth_estimateGas", [request]), 16)

    async def fees(self) -> tuple[int, int]:
        """(max fee, max priority fee) in wei a gas: twice the base fee and the node's tip."""
        calls = [("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", [])]
        try:
            block, tip = await self._rpc.batch(calls)
            base, priority = int(block.get("baseFeePerGas") or "0x0", 16), int(tip, 16)
        except (RpcError, TypeError, AttributeError, ValueError) as error:
            raise TransientError("stale_chain", f"Expected fees: {error}") from error
        return 2 * base + priority, priority

    async def send_raw(self, raw: bytes) -> bytes:
        """Send; the hash. Sending what is known or mined already is success."""
        tx_hash = transaction_hash(raw)
        try:
            await self._rpc.call("eth_sendRawTransaction", ["0x" + raw.hex()])
        except RpcError as error:
            if not _known(error) and await self.receipt(tx_hash) is None:
                raise _blame(error) from error
        return tx_hash

    async def send_raw_sync(self, raw: bytes, timeout_s: float) -> Receipt | None:
        """Send and wait for the receipt, at most `timeout_s`. None: sent, not mined yet."""
        deadline = time.monotonic() + timeout_s
        tx_hash = transaction_hash(raw)
        if not self._no_sync:
            receipt, refusal = await self._send_sync(raw, timeout_s)
            if receipt is not None:
                return receipt
            if refusal is not None:
                return await self._found_or(tx_hash, refusal)
        if self._no_sync:
            await self.send_raw(raw)
        while time.monotonic() < deadline:
            receipt = await self.receipt(tx_hash)
            if receipt is not None:
                return receipt
            await asyncio.sleep(_POLL_S)
        return await self.receipt(tx_hash)

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """None: not mined. A preconfirmed receipt, which names no block, counts as not mined."""
        json = await self._asked("eth_getTransactionReceipt", ["0x" + tx_hash.hex()])
        return _receipt(json)

    async def revert_reason(self, tx_hash: bytes) -> str:
        """Why a mined transaction reverted, as far as a call on its own block tells."""
        json = await self._mined(tx_hash)
        request = {
            key: json[name]
            for key, name in (("from", "from"), ("to", "to"), ("value", "value"), ("data", "input"))
            if json.get(name) is not None
        }
        request["gas"] = json["gas"]
        try:
            # The state before its block: others of the same block are not seen.
            parent = hex(int(json["blockNumber"], 16) - 1)
            await self._asked("eth_call", [request, parent])
        except CallerError as error:
            return error.message
        return "Reverted"

    async def _mined(self, tx_hash: bytes) -> dict[str, Any]:
        # A node (anvil is one) may tell a receipt while it still calls the transaction pending.
        until = time.monotonic() + _SETTLED_S
        while True:
            json = await self._asked("eth_getTransactionByHash", ["0x" + tx_hash.hex()])
            if isinstance(json, dict) and json.get("blockNumber"):
                return json
            if time.monotonic() > until:
                raise TransientError("stale_chain", "Expected a mined transaction, was none")
            await asyncio.sleep(_POLL_S)

    async def nonce(self, address: bytes, *, mined: bool = False) -> int:
        """Of the next transaction, counting those that wait; with `mined` those in blocks only."""
        at = "latest" if mined else "pending"
        found = await self._asked("eth_getTransactionCount", ["0x" + address.hex(), at])
        return int(found, 16)

    async def balance(self, address: bytes, *, at: int | str = "latest") -> int:
        """Wei, after block `at`."""
        block = hex(at) if isinstance(at, int) else at
        return int(await self._asked("eth_getBalance", ["0x" + address.hex(), block]), 16)

    async def nonce_at(self, address: bytes, block: int) -> int:
        """Of the next transaction after block `block`."""
        found = await self._asked("eth_getTransactionCount", ["0x" + address.hex(), hex(block)])
        return int(found, 16)

    async def head(self) -> int:
        """The newest block's number."""
        return int(await self._asked("eth_blockNumber", []), 16)

    async def known(self, tx_hash: bytes) -> bool:
        """Whether the node has this transaction, waiting or mined."""
        return await self._asked("eth_getTransactionByHash", ["0x" + tx_hash.hex()]) is not None

    async def code(self, address: bytes, *, timeout_s: float | None = None) -> bytes:
        """Runtime code; empty for a plain account."""
        params = ["0x" + address.hex(), "latest"]
        return _bytes(await self._asked("eth_getCode", params, timeout_s=timeout_s))

    # -------------------------------------------------------------------- private

    async def _send_sync(
        self, raw: bytes, timeout_s: float
    ) -> tuple[Receipt | None, RpcError | TransientError | None]:
        # (receipt, None) done; (None, None) sent, poll; (None, refusal) refused or unknown.
        try:
            return _receipt(await self._sync_call(raw, timeout_s)), None
        except RpcError as error:
            if error.code == METHOD_NOT_FOUND:
                self._no_sync = True
                return None, None
            if error.code == SYNC_TIMED_OUT or _known(error):
                return None, None
            return None, error
        except TransientError as error:
            return None, error

    async def _sync_call(self, raw: bytes, timeout_s: float) -> Any:
        method, words = "eth_sendRawTransactionSync", ["0x" + raw.hex()]
        if not self._no_sync_timeout:
            try:
                return await self._rpc.call(
                    method,
                    [*words, int(timeout_s * 1000)],
                    timeout_s=timeout_s + self._chain.rpc_timeout_s,
                )
            except RpcError as error:
                if error.code != INVALID_PARAMS:
                    raise
        # Either nonsense was sent, or the node (anvil) takes no timeout: then it is ours.
        result = await self._rpc.call(method, words, timeout_s=timeout_s)
        self._no_sync_timeout = True
        return result

    async def _found_or(self, tx_hash: bytes, refusal: RpcError | TransientError) -> Receipt | None:
        receipt = await self.receipt(tx_hash)
        if receipt is not None:
            return receipt
        if isinstance(refusal, RpcError):
            raise _blame(refusal) from refusal
        if await self._asked("eth_getTransactionByHash", ["0x" + tx_hash.hex()]) is None:
            raise refusal
        return None

    async def _asked(
        self, method: str, params: list[Any], *, timeout_s: float | None = None
    ) -> Any:
        try:
            return await self._rpc.call(method, params, timeout_s=timeout_s)
        except RpcError as error:
            raise _blame(error) from error


def _request(*, to: bytes, data: bytes, sender: bytes | None, value: int) -> dict[str, str]:
    request = {"to": "0x" + to.hex(), "data": "0x" + data.hex()}
    if sender is not None:
        request["from"] = "0x" + sender.hex()
    if value:
        request["value"] = hex(value)
    return request


def _known(error: RpcError) -> bool:
    message = error.message.lower()
    return any(text in message for text in _ALREADY)


def _blame(error: RpcError) -> CallerError | TransientError:
    revert = _revert_data(error)
    if revert is not None:
        refusal = decode_revert(revert)
        return CallerError(refusal.code, refusal.message)
    if error.code in _OVERLOADED or error.code == METHOD_NOT_FOUND:
        return TransientError("stale_chain", f"The node refused: {error}")
    return CallerError("invalid_request", f"The node refused: {error.message[:200]}")


def _revert_data(error: RpcError) -> bytes | None:
    data = error.data.get("data") if isinstance(error.data, dict) else error.data
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            return b""
    return b"" if error.code == REVERTED or "revert" in error.message.lower() else None


def _bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex(value[2:])
    except (TypeError, ValueError) as error:
        raise TransientError("stale_chain", f"Expected bytes, was {value!r}") from error


def _receipt(json: Any) -> Receipt | None:
    if json is None:
        return None
    try:
        # Zero or null: preconfirmed, its block is not sealed.
        if not int(json.get("blockHash") or "0x0", 16):
            return None
        return Receipt(
            tx_hash=bytes.fromhex(json["transactionHash"][2:]),
            status=int(json["status"], 16),
            block_number=int(json["blockNumber"], 16),
            gas_used=int(json["gasUsed"], 16),
            effective_gas_price=int(json.get("effectiveGasPrice") or "0x0", 16),
            logs=tuple(raw_log(log) for log in json["logs"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TransientError("stale_chain", f"Expected a receipt: {error!r}") from error
