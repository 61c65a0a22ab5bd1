"""Reading a chain from a node that is slow, small, old, or lies."""

from typing import Any

import pytest

from chain.rpc import RpcError
from chain.source import ChainSource
from engine.errors import TransientError
from engine.limits import BACKFILL_RANGE
from engine.messages import BlockHeader
from tests.support.chain_settings import settings
from tests.support.fake_rpc import FakeRpc

EMPTY_BLOOM, FULL_BLOOM = "0x" + "00" * 256, "0x" + "00" * 255 + "01"


def hash_of(number: int) -> str:
    return f"0x{number:064x}"


def block(number: int, bloom: str = FULL_BLOOM, **fields: Any) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": hash_of(number + 1_000),
        "parentHash": hash_of(number + 999),
        "timestamp": hex(number * 2),
        "logsBloom": bloom,
        "transactions": [hash_of(7), hash_of(8)],
    } | fields


def log(index: int, number: int = 5, tx: int = 7) -> dict[str, Any]:
    return {
        "address": "0x" + "22" * 20,
        "topics": [hash_of(1)],
        "data": "0x",
        "blockNumber": hex(number),
        "blockHash": hash_of(number + 1_000),
        "transactionHash": hash_of(tx),
        "transactionIndex": "0x0",
        "logIndex": hex(index),
        "removed": False,
    }


def receipt(*logs: dict[str, Any], number: int = 5) -> dict[str, Any]:
    return {"blockHash": hash_of(number + 1_000), "logs": list(logs)}


def source(rpc: FakeRpc, **fields: Any) -> ChainSource:
    return ChainSource(rpc, settings(**fields))


async def header_5(rpc: FakeRpc) -> tuple[ChainSource, BlockHeader]:
    rpc.methods.setdefault("eth_getBlockByNumber", lambda number, _: block(int(number, 16)))
    made = source(rpc)
    (header,) = await made.headers(5, 5)
    return made, header


async def test_block_logs_complete_are_taken_as_they_come() -> None:
    rpc = FakeRpc(eth_getLogs=lambda _: [log(1), log(0), log(2, tx=8)])
    made, header = await header_5(rpc)
    assert [one.log_index for one in await made.block_logs(header)] == [0, 1, 2]
    assert made.receipts_read == 0
    assert rpc.calls[-1] == ("eth_getLogs", [{"blockHash": "0x" + header.hash.hex()}])


@pytest.mark.parametrize(
    "lie", [[log(0), log(2)], [log(1)], []], ids=["hole", "first missing", "nothing"]
)
async def test_block_logs_incomplete_are_read_from_receipts(lie: list[Any]) -> None:
    rpc = FakeRpc(
        eth_getLogs=lambda _: lie,
        eth_getBlockReceipts=lambda _: [receipt(log(0), log(1)), receipt(log(2, tx=8))],
    )
    made, header = await header_5(rpc)
    assert [one.log_index for one in await made.block_logs(header)] == [0, 1, 2]
    assert made.receipts_read == 1


async def test_block_logs_repeated_come_once() -> None:
    made, header = await header_5(FakeRpc(eth_getLogs=lambda _: [log(0), log(0), log(1)]))
    assert [one.log_index for one in await made.block_logs(header)] == [0, 1]


async def test_block_logs_none_where_bloom_is_empty_needs_no_receipts() -> None:
    rpc = FakeRpc(eth_getLogs=lambda _: [], eth_getBlockByNumber=lambda *_: block(5, EMPTY_BLOOM))
    made, header = await header_5(rpc)
    assert await made.block_logs(header) == [] and made.receipts_read == 0


async def test_block_logs_nothing_anywhere_against_the_bloom_is_tried_again() -> None:
    rpc = FakeRpc(eth_getLogs=lambda _: [], eth_getBlockReceipts=lambda _: [])
    made, header = await header_5(rpc)
    with pytest.raises(TransientError):
        await made.block_logs(header)


async def test_block_logs_of_another_block_are_refused() -> None:
    made, header = await header_5(FakeRpc(eth_getLogs=lambda _: [log(0, number=6)]))
    with pytest.raises(TransientError):
        await made.block_logs(header)


async def test_receipt_logs_without_block_receipts_asks_each_transaction() -> None:
    rpc = FakeRpc(
        eth_getBlockByHash=lambda *_: block(5),
        eth_getTransactionReceipt=lambda tx: receipt(log(int(tx, 16) - 7, tx=int(tx, 16))),
    )
    made, header = await header_5(rpc)
    assert [one.log_index for one in await made.receipt_logs(header)] == [0, 1]


async def test_headers_small_batches_only_are_halved() -> None:
    rpc = FakeRpc(eth_getBlockByNumber=lambda number, _: block(int(number, 16)))
    rpc.batch_max = 10
    found = await source(rpc).headers(1, 60)
    assert [header.number for header in found] == list(range(1, 61))


async def test_header_unknown_is_none_and_in_a_range_is_transient() -> None:
    rpc = FakeRpc(eth_getBlockByNumber=lambda *_: None, eth_getBlockByHash=lambda *_: None)
    assert await source(rpc).header(5) is None
    assert await source(rpc).header(b"\x01" * 32) is None
    with pytest.raises(TransientError):
        await source(rpc).headers(5, 6)


async def test_header_and_logs_unknown_block_is_none() -> None:
    def unknown(_: Any) -> Any:
        raise RpcError(-32000, "unknown block")

    rpc = FakeRpc(eth_getBlockByHash=lambda *_: None, eth_getLogs=unknown)
    assert await source(rpc).header_and_logs(b"\x01" * 32) is None


async def test_range_logs_refused_ranges_are_halved_and_grow_again() -> None:
    asked: list[int] = []

    def logs(query: dict[str, Any]) -> list[Any]:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        asked.append(last - first + 1)
        if last - first + 1 > 300:
            raise RpcError(-32005, "range too wide")
        return [log(0, number=number) for number in range(first, last + 1)]

    found = await source(FakeRpc(eth_getLogs=logs)).range_logs(1, 3_000)
    assert [one.block_number for one in found] == list(range(1, 3_001))
    assert asked[0] == BACKFILL_RANGE


async def test_range_logs_refused_for_one_block_is_transient() -> None:
    def refuse(_: Any) -> Any:
        raise RpcError(-32005, "no")

    with pytest.raises(TransientError):
        await source(FakeRpc(eth_getLogs=refuse)).range_logs(1, 10)


async def test_finalised_tag_or_depth_or_the_depth_when_refused() -> None:
    def blocks(tag: str, _: bool) -> Any:
        return block(90) if tag == "finalized" else block(200)

    def refuses(tag: str, _: bool) -> Any:
        if tag == "finalized":
            raise RpcError(-32602, "unknown tag")
        return block(200)

    assert await source(FakeRpc(eth_getBlockByNumber=blocks)).finalised() == 90
    by_depth = source(FakeRpc(eth_getBlockByNumber=blocks), finality_mode="depth")
    assert await by_depth.finalised() == 136
    assert await source(FakeRpc(eth_getBlockByNumber=refuses)).finalised() == 136


@pytest.mark.parametrize("nonsense", [{}, {"number": 5}, {"number": "zz"}, None])
async def test_nonsense_from_the_node_is_transient(nonsense: Any) -> None:
    made = source(FakeRpc(eth_getBlockByNumber=lambda *_: nonsense, eth_getLogs=lambda _: [{}]))
    with pytest.raises(TransientError):
        await made.head()
    with pytest.raises(TransientError):
        await made.range_logs(1, 2)
