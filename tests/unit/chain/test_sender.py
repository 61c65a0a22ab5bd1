"""Sending is repeatable; every refusal has someone to blame."""

from typing import Any

import pytest
from eth_hash.auto import keccak

from chain.rpc import RpcError
from chain.sender import Node
from engine.errors import CallerError, TransientError
from tests.support.chain_settings import settings
from tests.support.fake_rpc import FakeRpc

RAW = b"\x02\xc0"
HASH = keccak(RAW)
RECEIPT = {
    "transactionHash": "0x" + HASH.hex(),
    "blockHash": "0x" + "01" * 32,
    "status": "0x1",
    "blockNumber": "0x5",
    "gasUsed": "0x64",
    "effectiveGasPrice": "0x2",
    "logs": [],
}


def refuse(code: int, message: str, data: Any = None) -> Any:
    def answer(*_: Any) -> Any:
        raise RpcError(code, message, data)

    return answer


def away(*_: Any) -> Any:
    raise TransientError("stale_chain", "away")


def node(**methods: Any) -> tuple[Node, FakeRpc]:
    rpc = FakeRpc(**{"eth_getTransactionReceipt": lambda _: None, **methods})
    return Node(rpc, settings()), rpc


def mined(_: Any) -> Any:
    return RECEIPT


async def test_send_raw_gives_the_hash() -> None:
    sender, _ = node(eth_sendRawTransaction=lambda _: "0x" + HASH.hex())
    assert await sender.send_raw(RAW) == HASH


async def test_send_raw_known_or_mined_before_is_success() -> None:
    known, _ = node(eth_sendRawTransaction=refuse(-32000, "already known"))
    assert await known.send_raw(RAW) == HASH
    used, _ = node(
        eth_sendRawTransaction=refuse(-32003, "nonce too low"), eth_getTransactionReceipt=mined
    )
    assert await used.send_raw(RAW) == HASH


async def test_send_raw_refused_blames_the_caller() -> None:
    sender, _ = node(eth_sendRawTransaction=refuse(-32003, "insufficient funds"))
    with pytest.raises(CallerError, match="invalid_request"):
        await sender.send_raw(RAW)


async def test_send_raw_sync_answers_with_the_receipt() -> None:
    sender, rpc = node(eth_sendRawTransactionSync=lambda *_: RECEIPT)
    receipt = await sender.send_raw_sync(RAW, 1.0)
    assert receipt is not None
    assert (receipt.tx_hash, receipt.status, receipt.block_number) == (HASH, 1, 5)
    assert (receipt.gas_used, receipt.effective_gas_price, receipt.logs) == (100, 2, ())
    assert rpc.calls == [("eth_sendRawTransactionSync", ["0x" + RAW.hex(), 1_000])]


async def test_send_raw_sync_unknown_method_sends_and_polls_from_then_on() -> None:
    sender, rpc = node(
        eth_sendRawTransaction=lambda _: "0x" + HASH.hex(), eth_getTransactionReceipt=mined
    )
    assert await sender.send_raw_sync(RAW, 1.0) is not None
    assert await sender.send_raw_sync(RAW, 1.0) is not None
    assert [method for method, _ in rpc.calls].count("eth_sendRawTransactionSync") == 1


@pytest.mark.parametrize("code", [4, -32000])
async def test_send_raw_sync_timed_out_or_known_polls_and_never_sends_again(code: int) -> None:
    sender, rpc = node(
        eth_sendRawTransactionSync=refuse(code, "already known"), eth_getTransactionReceipt=mined
    )
    assert await sender.send_raw_sync(RAW, 1.0) is not None
    assert "eth_sendRawTransaction" not in [method for method, _ in rpc.calls]


async def test_send_raw_sync_not_mined_in_time_is_none_after_a_last_look() -> None:
    sender, rpc = node(eth_sendRawTransactionSync=refuse(4, "timeout"))
    assert await sender.send_raw_sync(RAW, 0.1) is None
    assert rpc.calls[-1][0] == "eth_getTransactionReceipt"


async def test_send_raw_sync_lost_answer_finds_the_receipt() -> None:
    found, _ = node(eth_sendRawTransactionSync=away, eth_getTransactionReceipt=mined)
    assert await found.send_raw_sync(RAW, 0.1) is not None
    lost, lost_rpc = node(eth_sendRawTransactionSync=away)
    lost_methods = lost_rpc.methods
    lost_methods["eth_getTransactionByHash"] = lambda _: None
    with pytest.raises(TransientError):
        await lost.send_raw_sync(RAW, 0.1)
    lost_methods["eth_getTransactionByHash"] = lambda _: {"hash": "0x"}
    assert await lost.send_raw_sync(RAW, 0.1) is None


async def test_send_raw_sync_node_that_takes_no_timeout_is_asked_without() -> None:
    def sync(*params: Any) -> Any:
        if len(params) > 1:
            raise RpcError(-32602, "invalid params")
        return RECEIPT

    sender, rpc = node(eth_sendRawTransactionSync=sync)
    assert await sender.send_raw_sync(RAW, 1.0) and await sender.send_raw_sync(RAW, 1.0)
    assert [len(params) for _, params in rpc.calls] == [2, 1, 1]
    nonsense, _ = node(eth_sendRawTransactionSync=refuse(-32602, "Failed to decode"))
    with pytest.raises(CallerError, match="invalid_request"):
        await nonsense.send_raw_sync(RAW, 1.0)


async def test_send_raw_sync_refused_blames_the_caller_unless_mined() -> None:
    refused, _ = node(eth_sendRawTransactionSync=refuse(5, "rejected"))
    with pytest.raises(CallerError):
        await refused.send_raw_sync(RAW, 0.1)
    repeated, _ = node(
        eth_sendRawTransactionSync=refuse(-32003, "nonce too low"),
        eth_getTransactionReceipt=mined,
    )
    assert await repeated.send_raw_sync(RAW, 0.1) is not None


async def test_receipt_preconfirmed_counts_as_not_mined() -> None:
    for block_hash in (None, "0x" + "00" * 32):
        sender, _ = node(
            eth_getTransactionReceipt=lambda _, at=block_hash: {**RECEIPT, "blockHash": at}
        )
        assert await sender.receipt(HASH) is None


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: {"data": data}])
async def test_call_revert_carries_the_contracts_code(wrap: Any) -> None:
    data = "0x" + keccak(b"ZeroOutput()")[:4].hex()
    sender, _ = node(eth_call=refuse(3, "execution reverted", wrap(data)))
    with pytest.raises(CallerError) as caught:
        await sender.call(to=b"\x01" * 20, data=b"")
    assert caught.value.code == "zero_output"


async def test_call_busy_node_is_transient() -> None:
    sender, _ = node(eth_call=refuse(-32005, "too many requests"))
    with pytest.raises(TransientError):
        await sender.call(to=b"\x01" * 20, data=b"")


async def test_call_passes_sender_value_and_block() -> None:
    sender, rpc = node(eth_call=lambda *_: "0x0102")
    answer = await sender.call(
        to=b"\x01" * 20, data=b"\x03", sender=b"\x02" * 20, value=9, block=16
    )
    assert answer == b"\x01\x02"
    request = {"to": "0x" + "01" * 20, "data": "0x03", "from": "0x" + "02" * 20, "value": "0x9"}
    assert rpc.calls == [("eth_call", [request, "0x10"])]


async def test_fees_are_twice_the_base_fee_and_the_tip() -> None:
    sender, _ = node(
        eth_getBlockByNumber=lambda *_: {"baseFeePerGas": "0xa"},
        eth_maxPriorityFeePerGas=lambda: "0x3",
    )
    assert await sender.fees() == (23, 3)


async def test_revert_reason_replays_on_the_parent_block() -> None:
    sender, rpc = node(
        eth_getTransactionByHash=lambda _: {
            "blockNumber": "0x5", "from": "0x01", "to": "0x02", "value": "0x0", "input": "0x",
            "gas": "0x10",
        },
        eth_call=refuse(3, "reverted", "0x" + keccak(b"ZeroOutput()")[:4].hex()),
    )  # fmt: skip
    assert "ZeroOutput" in await sender.revert_reason(HASH)
    assert rpc.calls[-1][1][1] == "0x4"


async def test_revert_reason_waits_for_a_node_that_still_calls_it_pending() -> None:
    tx = {"from": "0x01", "to": "0x02", "value": "0x0", "input": "0x", "gas": "0x10"}
    told = iter([{**tx, "blockNumber": None}, {**tx, "blockNumber": "0x5"}])
    sender, _ = node(
        eth_getTransactionByHash=lambda _: next(told),
        eth_call=refuse(3, "reverted", "0x" + keccak(b"ZeroOutput()")[:4].hex()),
    )
    assert "ZeroOutput" in await sender.revert_reason(HASH)
