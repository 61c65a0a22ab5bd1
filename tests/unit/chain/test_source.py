"""Reading a chain from a node that is slow, small, old, or lies."""

from typing import Any

import pytest

from chain.bloom import bloom_of
from chain.decode import TOPICS, raw_log
from chain.rpc import RpcError
from chain.source import ChainSource
from engine.errors import TransientError
from engine.limits import BACKFILL_RANGE
from engine.messages import BlockHeader
from tests.support.chain_settings import settings
from tests.support.fake_rpc import FakeRpc

EMPTY_BLOOM = "0x" + "00" * 256


def hash_of(number: int) -> str:
    return f"0x{number:064x}"


def block(number: int, bloom: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": hash_of(number + 1_000),
        "parentHash": hash_of(number + 999),
        "timestamp": hex(number * 2),
        "logsBloom": bloom or bloom_hex(*LOGS),
        "transactions": [hash_of(7), hash_of(8)],
    } | fields


def log(index: int, number: int = 5, tx: int = 7) -> dict[str, Any]:
    return {
        "address": "0x" + "22" * 20,
        "topics": [hash_of(1), hash_of(index)],
        "data": "0x",
        "blockNumber": hex(number),
        "blockHash": hash_of(number + 1_000),
        "transactionHash": hash_of(tx),
        "transactionIndex": "0x0",
        "logIndex": hex(index),
        "removed": False,
    }


def bloom_hex(*logs: dict[str, Any]) -> str:
    return f"0x{bloom_of([raw_log(one) for one in logs]):0512x}"


def receipt(*logs: dict[str, Any], number: int = 5) -> dict[str, Any]:
    return {"blockHash": hash_of(number + 1_000), "logs": list(logs)}


LOGS = [log(0), log(1), log(2, tx=8)]


def source(rpc: FakeRpc, **fields: Any) -> ChainSource:
    return ChainSource(rpc, settings(**fields))


async def header_5(rpc: FakeRpc) -> tuple[ChainSource, BlockHeader]:
    rpc.methods.setdefault("eth_getBlockByNumber", lambda number, _: block(int(number, 16)))
    made = source(rpc)
    (header,) = await made.headers(5, 5)
    return made, header


async def test_block_logs_complete_are_taken_as_they_come() -> None:
    rpc = FakeRpc(eth_getLogs=lambda _: [LOGS[1], LOGS[0], LOGS[2]])
    made, header = await header_5(rpc)
    assert [one.log_index for one in await made.block_logs(header)] == [0, 1, 2]
    assert made.receipts_read == 0
    assert rpc.calls[-1] == ("eth_getLogs", [{"blockHash": "0x" + header.hash.hex()}])


@pytest.mark.parametrize(
    "lie",
    [[log(0), log(2)], [log(1)], [], LOGS[:2], LOGS[:1]],
    ids=["hole", "first missing", "nothing", "tail", "long tail"],
)
async def test_block_logs_incomplete_are_read_from_receipts(lie: list[Any]) -> None:
    rpc = FakeRpc(
        eth_getLogs=lambda _: lie,
        eth_getBlockReceipts=lambda _: [receipt(*LOGS[:2]), receipt(LOGS[2])],
    )
    made, header = await header_5(rpc)
    assert [one.log_index for one in await made.block_logs(header)] == [0, 1, 2]
    assert made.receipts_read == 1


async def test_block_logs_repeated_come_once() -> None:
    rpc = FakeRpc(eth_getLogs=lambda _: [LOGS[0], *LOGS])
    made, header = await header_5(rpc)
    assert [one.log_index for one in await made.block_logs(header)] == [0, 1, 2]
    assert made.receipts_read == made.bloom_mismatches == 0


@pytest.mark.parametrize("receipts", [LOGS[:2], LOGS[1:], []], ids=["tail", "first", "nothing"])
async def test_block_logs_receipts_that_lie_too_are_tried_again(receipts: list[Any]) -> None:
    rpc = FakeRpc(
        eth_getLogs=lambda _: LOGS[:2], eth_getBlockReceipts=lambda _: [receipt(*receipts)]
    )
    made, header = await header_5(rpc)
    with pytest.raises(TransientError):
        await made.block_logs(header)
    with pytest.raises(TransientError):
        await made.receipt_logs(header)


@pytest.mark.parametrize("pushed", [None, EMPTY_BLOOM], ids=["without", "always empty"])
async def test_block_logs_head_pushed_without_bloom_is_read_by_hash(pushed: str | None) -> None:
    rpc = FakeRpc(
        eth_getLogs=lambda _: LOGS[:2],
        eth_getBlockByHash=lambda *_: block(5),
        eth_getBlockReceipts=lambda _: [receipt(*LOGS)],
    )
    made = source(rpc)
    header = made.header_of(block(5) | {"logsBloom": pushed})
    assert len(await made.block_logs(header)) == 3 and made.receipts_read == 1
    rpc.methods["eth_getLogs"] = lambda _: []
    header = made.header_of(block(6) | {"logsBloom": pushed})
    rpc.methods["eth_getBlockByHash"] = lambda *_: block(6)
    with pytest.raises(TransientError):  # its receipts are of block 5
        await made.block_logs(header)


async def test_block_logs_node_without_blooms_is_said_once_and_indices_count() -> None:
    warned: list[str] = []
    rpc = FakeRpc(
        eth_getLogs=lambda _: LOGS,
        eth_getBlockByNumber=lambda *_: block(5, EMPTY_BLOOM),
        eth_getBlockByHash=lambda *_: block(5, EMPTY_BLOOM),
        eth_getBlockReceipts=lambda _: [receipt(*LOGS)],
    )
    made = ChainSource(rpc, settings(), warn=lambda event, **_: warned.append(event))
    (header,) = await made.headers(5, 5)
    for _ in range(3):
        assert len(await made.block_logs(header)) == 3
    assert warned == ["node_without_blooms"] and made.bloomless
    assert sum(method == "eth_getBlockByHash" for method, _ in rpc.calls) == 1
    rpc.methods["eth_getLogs"] = lambda _: LOGS[1:]
    assert len(await made.block_logs(header)) == 3 and made.receipts_read == 1


async def test_block_logs_empty_bloom_of_a_node_with_blooms_is_no_excuse() -> None:
    rpc = FakeRpc(
        eth_getLogs=lambda _: LOGS,
        eth_getBlockByHash=lambda *_: block(5, EMPTY_BLOOM),
        eth_getBlockReceipts=lambda _: [receipt(*LOGS)],
    )
    made = source(rpc)
    made.header_of(block(4))
    with pytest.raises(TransientError):
        await made.block_logs(made.header_of(block(5, EMPTY_BLOOM)))
    assert not made.bloomless


OURS = {"topics": [TOPICS[0]]}
BAD_ROOT = "0x" + "ab" * 32


def provable(rpc: FakeRpc, **fields: Any) -> tuple[ChainSource, BlockHeader, list[str]]:
    warned: list[str] = []
    made = ChainSource(rpc, settings(), warn=lambda event, **_: warned.append(event))
    bloom = bloom_hex(*[one | OURS for one in LOGS])
    return made, made.header_of(block(5, bloom, receiptsRoot=BAD_ROOT) | fields), warned


async def test_block_logs_receipts_of_an_unknown_kind_are_said_once_and_bloom_decides() -> None:
    ours = [one | OURS for one in LOGS]
    rpc = FakeRpc(eth_getLogs=lambda _: ours, eth_getBlockReceipts=lambda _: [receipt(*ours)])
    made, header, warned = provable(rpc)
    for _ in range(3):
        assert len(await made.block_logs(header)) == 3
    assert warned == ["node_receipts_unproven"] and made.status()["proven"] == 0


async def test_block_logs_unproven_receipts_that_differ_from_logs_are_a_lie() -> None:
    ours = [one | OURS for one in LOGS]
    rpc = FakeRpc(eth_getLogs=lambda _: ours, eth_getBlockReceipts=lambda _: [receipt(*ours[:2])])
    made, header, warned = provable(rpc)
    with pytest.raises(TransientError, match="all receipts"):
        await made.block_logs(header)
    assert warned == [] and not made.unproven


async def test_block_logs_without_block_receipts_are_not_proven() -> None:
    ours = [one | OURS for one in LOGS]
    hashes = ["0x" + "00" * 31 + "07"]
    rpc = FakeRpc(
        eth_getLogs=lambda _: ours,
        eth_getBlockByHash=lambda *_: block(5) | {"transactions": hashes},
        eth_getTransactionReceipt=lambda _: receipt(*ours),
    )
    made, header, _ = provable(rpc)
    assert len(await made.block_logs(header)) == 3
    assert len(await made.block_logs(header)) == 3
    assert sum(method == "eth_getBlockReceipts" for method, _ in rpc.calls) == 1


async def test_reread_tells_both_as_they_are() -> None:
    rpc = FakeRpc(
        eth_getLogs=lambda _: LOGS[:1], eth_getBlockReceipts=lambda _: [receipt(*LOGS[:2])]
    )
    made, header = await header_5(rpc)
    by_hash, by_receipts = await made.reread(header)
    assert [len(by_hash), len(by_receipts)] == [1, 2]


async def test_ours_in_bloom_knows_what_cannot_be_there() -> None:
    made = source(FakeRpc())
    header = made.header_of(block(5))
    there, topic = b"\x22" * 20, bytes.fromhex(hash_of(1)[2:])
    assert made.ours_in_bloom(header, [b"\x33" * 20, there], [topic]) is True
    assert made.ours_in_bloom(header, [b"\x33" * 20], [topic]) is False
    assert made.ours_in_bloom(header, [there], [bytes(31) + b"\x99"]) is False
    other = made.header_of(block(6) | {"logsBloom": None})
    assert made.ours_in_bloom(other, [there], [topic]) is None


async def test_finalised_is_told_to_the_node() -> None:
    told: list[int] = []
    rpc = FakeRpc(eth_getBlockByNumber=lambda *_: block(90))
    rpc.note_finalised = told.append  # type: ignore[method-assign]
    await source(rpc).finalised()
    await source(rpc, finality_mode="depth", finality_depth=10).finalised()
    assert told == [90, 80]


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
        eth_getBlockByHash=lambda *_: block(5, bloom_hex(*LOGS[:2])),
        eth_getTransactionReceipt=lambda tx: receipt(log(int(tx, 16) - 7, tx=int(tx, 16))),
        eth_getBlockByNumber=lambda *_: block(5, bloom_hex(*LOGS[:2])),
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


@pytest.mark.parametrize("nonsense", [{}, {"number": 5}, {"number": "zz"}, None, block(-1)])
async def test_nonsense_from_the_node_is_transient(nonsense: Any) -> None:
    made = source(FakeRpc(eth_getBlockByNumber=lambda *_: nonsense, eth_getLogs=lambda _: [{}]))
    with pytest.raises(TransientError):
        await made.head()
    with pytest.raises(TransientError):
        await made.range_logs(1, 2)
