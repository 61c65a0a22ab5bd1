"""The receipts root against a real node's, for every shape of the trie."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.roots import root_of
from tests.support.servers import Anvil
from tests.support.trading import Traders, deployed


def sealed(anvil: Anvil, number: str = "latest") -> tuple[bytes, list[dict[str, Any]]]:
    header = anvil.rpc("eth_getBlockByNumber", number, False)
    receipts = anvil.rpc("eth_getBlockReceipts", header["number"])
    return bytes.fromhex(header["receiptsRoot"][2:]), receipts


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 127, 128, 129, 260])
def test_root_of_a_block_is_the_headers(make_anvil: Callable[..., Anvil], count: int) -> None:
    anvil = make_anvil(block_time=None)
    sender, other = anvil.rpc("eth_accounts")[:2]
    anvil.rpc("evm_setAutomine", False)
    for nonce in range(count):
        kind = (
            {"gasPrice": hex(10**10)}
            if nonce % 3
            else {"maxFeePerGas": hex(10**10), "maxPriorityFeePerGas": "0x1"}
        )
        fields = {"from": sender, "to": other, "value": "0x1", "gas": "0x5208"}
        anvil.rpc("eth_sendTransaction", fields | kind | {"nonce": hex(nonce)})
    anvil.rpc("evm_mine")
    root, receipts = sealed(anvil)
    assert len(receipts) == count
    assert root_of(receipts) == root_of(list(reversed(receipts))) == root
    if count:
        changed = [*receipts[:-1], receipts[-1] | {"status": "0x0"}]
        assert root_of(changed) != root and root_of(receipts[:-1]) != root


async def test_root_of_250_trades_takes_milliseconds(make_anvil: Callable[..., Anvil]) -> None:
    anvil = make_anvil(block_time=None)
    chain, implementation = await deployed(anvil)
    traders = Traders(anvil, chain, implementation)
    await traders.launch("alpha")
    anvil.rpc("evm_setAutomine", False)
    await traders.trade(250)
    anvil.rpc("evm_mine")
    root, receipts = sealed(anvil)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        assert root_of(receipts) == root
        times.append((time.perf_counter() - began) * 1e3)
    logs = sum(len(one["logs"]) for one in receipts)
    print(f"\nreceipts root of {len(receipts)} receipts, {logs} logs: {min(times):.1f} ms")
    cut = [receipts[-1] | {"logs": receipts[-1]["logs"][:-1]}]
    assert logs >= 500 and root_of(receipts[:-1] + cut) != root and min(times) < 250
    await traders.rpc.close()
