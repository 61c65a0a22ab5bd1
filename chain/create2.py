"""Transactions that deploy: through the deterministic deployment proxy, to the same address on
every chain, so that a run that broke off is simply run again and finds what is there.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from chain.rpc import JsonRpc, RpcError
from engine import text
from engine.errors import CallerError, TransientError
from engine.limits import TRANSACTION_GAS_MAX

PROXY = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
SALT = keccak(b"risecurve")
RECEIPT_TIMEOUT_S = 120.0
RECEIPT_POLL_S = 0.1

_FIRST_BLOCK = keccak(b"firstBlock()")[:4]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """One contract: its code with the constructor's arguments, and the salt."""

    name: str
    init_code: bytes
    salt: bytes

    @property
    def address(self) -> bytes:
        """Where it goes, on any chain."""
        return keccak(b"\xff" + PROXY + self.salt + keccak(self.init_code))[12:]

    def call(self, gas: int) -> "Call":
        """What deploys it."""
        return Call(PROXY, self.salt + self.init_code, gas)


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction to be sent. `gas` is its limit."""

    to: bytes
    data: bytes
    gas: int
    value_wei: int = 0


async def check_chain(rpc: JsonRpc, chain_id: int) -> None:
    """Raises CallerError: another chain, or one without the proxy."""
    found = int(await rpc.call("eth_chainId", []), 16)
    if found != chain_id:
        raise CallerError("wrong_chain", f"Expected chain {chain_id}, was {found}")
    if not await has_code(rpc, PROXY):
        message = f"Expected the deterministic deployment proxy at {text.address(PROXY)}, was none"
        raise CallerError("unknown_contract", message)


async def has_code(rpc: JsonRpc, address: bytes) -> bool:
    """Whether a contract stands there."""
    return len(await rpc.call("eth_getCode", [text.hex_of(address), "latest"])) > 2


async def estimate(rpc: JsonRpc, sender: str, step: Planned) -> int:
    """Gas that deploying takes. Raises CallerError: it reverts, or takes too much."""
    data = text.hex_of(step.call(0).data)
    try:
        asked = {"from": sender, "to": text.hex_of(PROXY), "data": data}
        found = int(await rpc.call("eth_estimateGas", [asked]), 16)
    except RpcError as error:
        raise CallerError("invalid_request", f"{step.name} cannot be deployed: {error}") from error
    if found > TRANSACTION_GAS_MAX:
        message = f"Expected {step.name} within {TRANSACTION_GAS_MAX} gas, was {found}"
        raise CallerError("invalid_request", message)
    return found


def with_margin(gas: int) -> int:
    """A limit for what was estimated: a fifth more, within what a transaction may have."""
    return min(gas * 12 // 10, TRANSACTION_GAS_MAX)


async def send(
    rpc: JsonRpc, sender: LocalAccount, calls: Sequence[Call], *, chain_id: int
) -> list[str]:
    """Send all one behind another, so that they may share a block; their hashes."""
    nonce = int(await rpc.call("eth_getTransactionCount", [sender.address, "pending"]), 16)
    block = await rpc.call("eth_getBlockByNumber", ["latest", False])
    tip = int(await rpc.call("eth_maxPriorityFeePerGas", []), 16)
    hashes = []
    for offset, call in enumerate(calls):
        transaction = {
            "chainId": chain_id,
            "nonce": nonce + offset,
            "to": call.to,
            "value": call.value_wei,
            "data": text.hex_of(call.data),
            "gas": call.gas,
            "maxFeePerGas": 2 * int(block["baseFeePerGas"], 16) + tip,
            "maxPriorityFeePerGas": tip,
        }
        raw = bytes(sender.sign_transaction(transaction).raw_transaction)
        hashes.append(await rpc.call("eth_sendRawTransaction", [text.hex_of(raw)]))
    return hashes


async def receipt(rpc: JsonRpc, name: str, tx_hash: str) -> dict[str, Any]:
    """Wait until it is mined. Raises TransientError after 120 s."""
    deadline = time.monotonic() + RECEIPT_TIMEOUT_S
    while True:
        found: dict[str, Any] | None = await rpc.call("eth_getTransactionReceipt", [tx_hash])
        if found is not None and found["blockNumber"] is not None:
            return found
        if time.monotonic() > deadline:
            message = f"Expected {name} mined in {RECEIPT_TIMEOUT_S} s, was {tx_hash} pending"
            raise TransientError("stale_chain", message)
        await asyncio.sleep(RECEIPT_POLL_S)


async def mined(rpc: JsonRpc, step: Planned, tx_hash: str) -> int:
    """Gas used, once the contract stands. Raises CallerError when it does not."""
    found = await receipt(rpc, step.name, tx_hash)
    # Not the status: the same deployment of an earlier run may have been mined just before.
    if not await has_code(rpc, step.address):
        raise CallerError("invalid_request", f"Expected {step.name} deployed, {tx_hash} failed")
    return int(found["gasUsed"], 16)


async def first_block(rpc: JsonRpc, contract: bytes) -> int:
    """The block that the contract says it was made in; the next one before it is made."""
    if not await has_code(rpc, contract):
        return int(await rpc.call("eth_blockNumber", []), 16) + 1
    call = {"to": text.hex_of(contract), "data": text.hex_of(_FIRST_BLOCK)}
    return int(await rpc.call("eth_call", [call, "latest"]), 16)
