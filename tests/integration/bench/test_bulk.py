"""Buys in bulk for the bench of latency: all of them trade."""

from collections.abc import Callable
from pathlib import Path

from bench.bulk import FOREVER, Bulk
from bench.latency import deployed
from chain import create2, transactions
from chain.rpc import JsonRpc
from deploy import registry
from tests.support.servers import RISE, Anvil

COUNT = 20


async def _launched(rpc: JsonRpc, launchpad: str) -> str:
    data = transactions.create(
        name="Bulk",
        symbol="B",
        metadata_hash=bytes(32),
        salt=bytes(32),
        curve_id=0,
        min_tokens=0,
        deadline=FOREVER,
    )
    sender = (await rpc.call("eth_accounts", []))[1]
    call = {"from": sender, "to": launchpad, "data": "0x" + data.hex(), "gas": hex(6_000_000)}
    tx_hash = await rpc.call("eth_sendTransaction", [call])
    receipt = await create2.receipt(rpc, "the launch", tx_hash)
    log = next(log for log in receipt["logs"] if log["address"] == launchpad.lower())
    return "0x" + str(log["topics"][1])[-40:]


async def test_every_buy_of_the_bulk_trades(
    make_anvil: Callable[..., Anvil], tmp_path: Path
) -> None:
    chain = make_anvil(RISE, block_time=None)
    file = await deployed(chain.rpc_url, tmp_path)
    entry = registry.read(file, chain_id=RISE)
    launchpad = "0x" + entry.launchpads[-1].address.hex()
    rpc = JsonRpc(chain.rpc_url, timeout_s=10.0)
    try:
        token = await _launched(rpc, launchpad)
        await rpc.call("evm_setAutomine", [False])
        await Bulk(rpc, launchpad=launchpad, tokens=[token]).send(COUNT)
        await rpc.call("evm_mine", [])
        block = await rpc.call("eth_getBlockByNumber", ["latest", False])
        receipts = await rpc.call("eth_getBlockReceipts", [block["number"]])
    finally:
        await rpc.close()
    assert [one["status"] for one in receipts] == ["0x1"] * COUNT
