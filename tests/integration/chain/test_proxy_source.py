"""Complete blocks from a node whose log index, or receipts, lie."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random

import pytest

from chain.bloom import bloom_of
from chain.decode import RawLog
from chain.rpc import JsonRpc
from chain.source import ChainSource
from engine.errors import TransientError
from engine.messages import BlockHeader
from tests.support.rpc_faults import ALWAYS, Places
from tests.support.rpc_proxy import RpcProxy
from tests.support.servers import Anvil
from tests.support.trading import Traders, deployed

TRADES = 12


@dataclass
class Bench:
    """A chain of blocks with one to four trades, and a proxy before it."""

    proxy: RpcProxy
    source: ChainSource
    headers: list[BlockHeader]
    truth: list[list[RawLog]]


@pytest.fixture
async def bench(make_anvil: Callable[..., Anvil]) -> AsyncIterator[Bench]:
    anvil = make_anvil(block_time=None)
    chain, implementation = await deployed(anvil)
    traders = Traders(anvil, chain, implementation)
    await traders.launch("alpha")
    anvil.rpc("evm_setAutomine", False)
    try:
        for block in range(TRADES):
            await traders.trade(1 + block % 4)
            anvil.rpc("evm_mine")
    finally:
        anvil.rpc("evm_setAutomine", True)
    honest = ChainSource(traders.rpc, chain)
    last = (await honest.head()).number
    headers = await honest.headers(last - TRADES, last)
    truth = [await honest.receipt_logs(header) for header in headers]
    async with RpcProxy(anvil.rpc_url, shred_s=0.0) as proxy:
        rpc = JsonRpc(proxy.rpc_url)
        source = ChainSource(rpc, chain)
        yield Bench(proxy, source, await source.headers(last - TRADES, last), truth)
        await rpc.close()
    await traders.rpc.close()


async def test_honest_node_needs_no_receipts_and_its_blooms_are_ours(bench: Bench) -> None:
    assert await bench.source.blocks_logs(bench.headers) == bench.truth
    assert bench.source.receipts_read == bench.source.bloom_mismatches == 0
    assert bench.source.proven == len(bench.headers) and not bench.source.unproven
    bench.source.unproven = "now by bloom"
    assert await bench.source.blocks_logs(bench.headers) == bench.truth
    assert bench.source.receipts_read == bench.source.bloom_mismatches == 0
    assert not bench.source.bloomless and sum(map(len, bench.truth)) > 2 * TRADES


@pytest.mark.parametrize("proof", [True, False], ids=["proven", "by bloom"])
@pytest.mark.parametrize("fault", ["drop", "drop_tail"])
async def test_dropped_logs_are_read_from_receipts(bench: Bench, fault: str, proof: bool) -> None:
    bench.source.unproven = "" if proof else "the test says so"
    bench.proxy.faults.places = ALWAYS
    missed, trials = 0, 10
    for seed in range(trials):
        bench.proxy.faults.calm()
        bench.proxy.faults.random = Random(seed)
        setattr(bench.proxy.faults, fault, 0.3)
        for found, truth in zip(
            await bench.source.blocks_logs(bench.headers), bench.truth, strict=True
        ):
            # What leaves no trace in a bloom nor in the indices: a last log like another.
            assert found == truth or bloom_of(found) == bloom_of(truth)
            missed += found != truth
    status, told = bench.source.status(), bench.proxy.faults.counts["dropped"]
    print(f"\n{fault}: {told} logs dropped, {missed} blocks taken incomplete; {status}")
    if proof:
        assert missed == 0 and status["proven"] == trials * len(bench.headers)
    else:
        assert told > 20 and status["bloom_mismatches"] > 0


async def test_header_and_logs_of_a_lying_node_are_proven(bench: Bench) -> None:
    bench.proxy.faults.drop_tail = 1.0
    for header, truth in zip(bench.headers, bench.truth, strict=True):
        assert await bench.source.header_and_logs(header.hash) == (header, truth)
        assert await bench.source.block_logs(header) == truth


async def test_receipts_that_lie_as_well_are_never_believed(bench: Bench) -> None:
    faults = bench.proxy.faults
    assert await bench.source.blocks_logs(bench.headers) == bench.truth
    faults.places, faults.drop = ALWAYS | Places.RECEIPTS, 0.3
    refused = 0
    for header, truth in zip(bench.headers, bench.truth, strict=True):
        try:
            assert await bench.source.block_logs(header) == truth
        except TransientError:
            refused += 1
    assert refused > len(bench.headers) // 3
    faults.calm()
    assert await bench.source.blocks_logs(bench.headers) == bench.truth


async def test_repeated_reordered_and_late_logs_are_the_same_block(bench: Bench) -> None:
    faults, bench.source.unproven = bench.proxy.faults, "by bloom"
    faults.repeat, faults.reorder, faults.delay_s = 0.5, 1.0, 0.05
    assert await bench.source.blocks_logs(bench.headers) == bench.truth
    assert faults.counts["repeated"] and faults.counts["reordered"] and faults.counts["delayed"]


async def test_reread_shows_where_the_two_indexes_differ(bench: Bench) -> None:
    bench.proxy.faults.places, bench.proxy.faults.drop_tail = Places.AT_HASH, 1.0
    for header, truth in zip(bench.headers, bench.truth, strict=True):
        by_hash, by_receipts = await bench.source.reread(header)
        assert by_receipts == truth and by_hash == truth[:-1]


async def test_error_answers_are_transient_and_pass(bench: Bench) -> None:
    bench.proxy.faults.errors = 1.0
    with pytest.raises(TransientError):
        await bench.source.head()
    bench.proxy.faults.calm()
    assert await bench.source.head() == bench.headers[-1]
