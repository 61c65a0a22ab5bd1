"""The receipts' proof: of each field its own length, and room for others meanwhile.

That the roots are a node's is tested against one, `tests/integration/chain/test_receipts_root`.
"""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chain import receipts
from chain.decode import TOPICS
from chain.source import ChainSource
from engine.errors import TransientError
from engine.messages import BlockHeader
from tests.support.chain_settings import settings
from tests.support.fake_rpc import FakeRpc
from tests.support.roots import root_of

HASH = "0x" + "11" * 32
ALL_BLOOM = "0x" + "ff" * 256
COUNT = 600


@dataclass(frozen=True)
class Log:
    address: bytes = b"\x22" * 20
    topics: tuple[bytes, ...] = (b"\xa0" * 32, b"\xa0" * 32)
    data: bytes = b""


def receipt(index: int) -> dict[str, Any]:
    log = {
        "address": "0x" + "22" * 20,
        "topics": [TOPICS[0]],
        "data": f"0x{index:064x}",
        "blockNumber": "0x5",
        "blockHash": HASH,
        "transactionHash": f"0x{index:064x}",
        "transactionIndex": hex(index),
        "logIndex": hex(index),
    }
    return {
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": hex(21_000 * (index + 1)),
        "logsBloom": ALL_BLOOM,
        "transactionHash": f"0x{index:064x}",
        "transactionIndex": hex(index),
        "blockHash": HASH,
        "logs": [log],
    }


RECEIPTS = [receipt(index) for index in range(COUNT)]

FEW = RECEIPTS[:4]
STRANGER = "0x" + "ee" * 32


def proving(
    true: list[dict[str, Any]], *, told: list[Any], **fields: Any
) -> tuple[ChainSource, BlockHeader]:
    """Of a node that tells these receipts of a block with the root of the true ones."""
    header = {
        "number": "0x5",
        "hash": HASH,
        "parentHash": "0x" + "10" * 32,
        "timestamp": "0x1",
        "logsBloom": ALL_BLOOM,
        "receiptsRoot": "0x" + root_of(true).hex(),
    }
    source = ChainSource(FakeRpc(eth_getBlockReceipts=lambda _: told), settings())
    return source, source.header_of(header | fields)


@pytest.mark.parametrize(
    "log",
    [
        # The same bytes in a row as those of the log above, cut elsewhere.
        Log(topics=(b"\xa0" * 31, b"\xa0" * 33)),
        Log(address=b"\x22" * 19),
    ],
)
def test_log_whose_fields_are_cut_elsewhere_has_no_encoding(log: Log) -> None:
    told = RECEIPTS[0]
    assert receipts.encoded(told, [Log()])
    with pytest.raises(ValueError, match="20 bytes and topics of 32"):
        receipts.encoded(told, [log])


@pytest.mark.parametrize("name", ["status", "cumulativeGasUsed", "type", "depositNonce"])
def test_receipt_with_a_number_below_zero_has_no_encoding(name: str) -> None:
    with pytest.raises(ValueError, match="Expected"):
        receipts.encoded(FEW[0] | {"type": "0x7e", "depositNonce": "0x1", name: "-0x1"}, [])


async def test_receipts_with_a_number_below_zero_are_transient() -> None:
    source, header = proving(FEW, told=[FEW[0] | {"status": "-0x1"}, *FEW[1:]])
    with pytest.raises(TransientError):
        await source.block_logs(header)


def test_steps_come_to_the_same_root_with_a_breath_for_every_few_receipts() -> None:
    encoded = [receipts.encoded(one, [Log()]) for one in RECEIPTS]
    steps, breaths = receipts.root_steps(encoded), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert end.value == receipts.root_of(encoded)
            break
        breaths += 1
    assert breaths >= COUNT // (2 * receipts.STEP)


async def test_others_have_the_loop_while_a_block_is_proven() -> None:
    source, header = proving(RECEIPTS, told=RECEIPTS[::-1])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    logs = await source.block_logs(header)
    counting.cancel()
    assert source.proven == 1 and [log.log_index for log in logs] == list(range(COUNT))
    assert turns >= COUNT // receipts.STEP


def _first_log(**fields: Any) -> Callable[[list[Any]], None]:
    return lambda told: told[0]["logs"][0].update(fields)


def _swapped(told: list[Any]) -> None:
    for at in (0, 1):
        told[at]["logs"][0]["logIndex"] = hex(1 - at)


def _all_first(told: list[Any]) -> None:
    for one in told:
        one["logs"][0]["logIndex"] = "0x0"


def _from_one(told: list[Any]) -> None:
    for at, one in enumerate(told, 1):
        one["transactionIndex"] = one["logs"][0]["transactionIndex"] = hex(at)


def _another(told: list[Any]) -> None:
    told[1]["transactionHash"] = told[1]["logs"][0]["transactionHash"] = STRANGER


def _same(told: list[Any]) -> None:
    told[1]["transactionHash"] = told[1]["logs"][0]["transactionHash"] = told[0]["transactionHash"]


def _short(told: list[Any]) -> None:
    told[1]["transactionHash"] = told[1]["logs"][0]["transactionHash"] = "0x01"


LIES = {
    "a hash that is not its receipt's": _first_log(transactionHash=STRANGER),
    "another block's number": _first_log(blockNumber="0x99"),
    "another block's hash": _first_log(blockHash=STRANGER),
    "no block": _first_log(blockHash=None),
    "removed": _first_log(removed=True),
    "another transaction's place": _first_log(transactionIndex="0x1"),
    "a negative place": _first_log(logIndex="-0x1"),
    "a huge place": lambda told: told[3].update(transactionIndex="0x" + "f" * 40),
    "two that changed places": _swapped,
    "places within the transaction": _all_first,
    "places from one on": _from_one,
    "one transaction twice": _same,
    "a hash that is none": _short,
    "no hash": lambda told: told[1].pop("transactionHash"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_logs_that_the_root_holds_and_that_stand_elsewhere_are_a_lie(
    lie: Callable[[list[Any]], None],
) -> None:
    told = copy.deepcopy(FEW)
    lie(told)
    source, header = proving(FEW, told=told)
    with pytest.raises(TransientError, match="Expected"):
        await source.block_logs(header)
    assert source.proven == 0 and not source.unproven


async def test_transactions_are_those_that_the_block_is_known_to_have() -> None:
    told = copy.deepcopy(FEW)
    _another(told)
    source, header = proving(FEW, told=told)
    assert len(await source.block_logs(header)) == 4  # no list, no objection
    hashes = [one["transactionHash"] for one in FEW]
    source, header = proving(FEW, told=told, transactions=hashes)
    with pytest.raises(TransientError, match="transactions of block 5"):
        await source.block_logs(header)
    source, header = proving(FEW, told=FEW, transactions=hashes)
    assert len(await source.block_logs(header)) == 4 and source.proven == 1


async def test_transactions_of_a_head_that_lists_none_are_not_compared() -> None:
    source, header = proving(FEW, told=FEW, transactions=[])
    assert len(await source.block_logs(header)) == 4 and source.proven == 1
