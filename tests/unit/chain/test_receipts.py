"""The receipts' proof: of each field its own length, and room for others meanwhile.

That the roots are a node's is tested against one, `tests/integration/chain/test_receipts_root`.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from chain import receipts
from chain.decode import TOPICS
from chain.source import ChainSource
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
        "transactionIndex": hex(index),
        "blockHash": HASH,
        "logs": [log],
    }


RECEIPTS = [receipt(index) for index in range(COUNT)]


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
    header_json = {
        "number": "0x5",
        "hash": HASH,
        "parentHash": "0x" + "10" * 32,
        "timestamp": "0x1",
        "logsBloom": ALL_BLOOM,
        "receiptsRoot": "0x" + root_of(RECEIPTS).hex(),
    }
    source = ChainSource(FakeRpc(eth_getBlockReceipts=lambda _: RECEIPTS[::-1]), settings())
    header: BlockHeader = source.header_of(header_json)
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
