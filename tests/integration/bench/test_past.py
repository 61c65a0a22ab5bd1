"""A chain's past, lived again: the real blocks, none of them before its time."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import past
from bench.latency import deployed
from bench.past import Act, Past
from bench.peers.past_node import BLOCK_S
from bench.processes import Peer, python, started
from chain.decode import TOPICS
from chain.rpc import JsonRpc, RpcError
from chain.source import ChainSource
from chain.stream import LiveStreams
from deploy import registry
from tests.support.chain_settings import settings
from tests.support.servers import RISE, Anvil

TRADES = 12
SPREAD_S = 0.6
PLAYED_S_MAX = 20.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUIET_BEFORE", "QUIET_BETWEEN", "QUIET_AFTER"):
        monkeypatch.setattr(past, name, 2)


@pytest.fixture
def anvil(make_anvil: Callable[..., Anvil]) -> Anvil:
    return make_anvil(RISE, block_time=None)


@pytest.fixture
def made(quick: None, anvil: Anvil, tmp_path: Path) -> Past:
    async def work() -> Past:
        file = await deployed(anvil.rpc_url, tmp_path)
        launchpad = "0x" + registry.read(file, chain_id=RISE).launchpads[-1].address.hex()
        rpc = JsonRpc(anvil.rpc_url, timeout_s=10.0)
        try:
            return await past.made(rpc, launchpad=launchpad, tokens=2, acts=[(1, TRADES), (2, 1)])
        finally:
            await rpc.close()

    return asyncio.run(work())


@pytest.fixture
def node(anvil: Anvil, made: Past) -> Iterator[Peer]:
    command = (*python("bench.peers.past_node"), anvil.rpc_url, str(made.launched))
    with started("a node of the past", *command) as peer:
        yield peer


def _shreds(
    told: list[tuple[str, float, dict[str, Any]]], act: Act
) -> list[tuple[float, dict[str, Any]]]:
    # Quiet blocks before it have some too.
    found = [(at, one) for kind, at, one in told if kind == "shred"]
    return [(at, one) for at, one in found if act.first <= one["blockNumber"] <= act.last]


async def _told(node: Peer, act: Act, spread_s: float) -> list[tuple[str, float, dict[str, Any]]]:
    """(kind, seconds since the act was asked for, payload) up to its last head."""
    stream = LiveStreams(lambda: f"ws://127.0.0.1:{node.port}", TOPICS, timeout_s=5.0)()
    frames = await stream.frames()
    rpc = JsonRpc(f"http://127.0.0.1:{node.port}", timeout_s=PLAYED_S_MAX)
    began, found = time.monotonic(), []
    playing = asyncio.create_task(rpc.call("past_play", [act.first, act.last, spread_s]))
    try:
        async with asyncio.timeout(PLAYED_S_MAX):
            async for frame in frames:
                found.append((frame.kind, time.monotonic() - began, frame.payload))
                if frame.kind == "head" and int(frame.payload["number"], 16) == act.last:
                    break
            await playing
    finally:
        playing.cancel()
        await stream.close()
        await rpc.close()
    return found


async def test_past_has_its_acts_trades_and_nothing_between(anvil: Anvil, made: Past) -> None:
    counts = {
        number: len(anvil.rpc("eth_getBlockByNumber", hex(number), False)["transactions"])
        for number in range(made.launched + 1, made.acts[-1].last + 3)
    }
    busy = {number: count for number, count in counts.items() if count}
    (one, two) = made.acts
    assert busy == {one.first: TRADES, two.first: 1, two.last: 1} and two.blocks == 2
    receipts = anvil.rpc("eth_getBlockReceipts", hex(one.first))
    assert {one["status"] for one in receipts} == {"0x1"} and len(set(made.tokens)) == 2


async def test_node_shows_no_block_before_its_time_and_none_with_trades_by_itself(
    node: Peer, made: Past
) -> None:
    rpc = JsonRpc(f"http://127.0.0.1:{node.port}", timeout_s=5.0)
    act = made.acts[0]
    try:
        await asyncio.sleep(4.0)  # twice as long as the quiet blocks last
        assert int(await rpc.call("eth_blockNumber"), 16) == act.first - 1
        assert await rpc.call("eth_getBlockByNumber", [hex(act.first), True]) is None
        assert await rpc.call("eth_getBlockReceipts", [hex(act.first)]) is None
        query = {"fromBlock": hex(act.first), "toBlock": "latest", "topics": [list(TOPICS)]}
        assert await rpc.call("eth_getLogs", [query]) == []
        with pytest.raises(RpcError, match="question of the past"):
            await rpc.call("eth_sendRawTransaction", ["0x00"])
    finally:
        await rpc.close()


async def test_act_comes_as_shreds_over_its_time_then_as_a_block_that_proves(
    node: Peer, made: Past
) -> None:
    act = made.acts[0]
    told = await _told(node, act, SPREAD_S)
    shreds = _shreds(told, act)
    ((sealed_at, head),) = [
        (at, one) for kind, at, one in told if kind == "head" and one["number"] == hex(act.first)
    ]
    shown = [one for _, shred in shreds for one in shred["transactions"]]
    assert len(shown) == TRADES + 1  # and the deposit
    assert shreds[-1][0] - shreds[0][0] >= SPREAD_S / 2
    assert sealed_at - shreds[0][0] >= BLOCK_S - 0.1  # its time, however short its shreds take
    rpc = JsonRpc(f"http://127.0.0.1:{node.port}", timeout_s=5.0)
    source = ChainSource(rpc, settings())
    logs = await source.block_logs(source.header_of(head))
    await rpc.close()
    assert source.proven == 1 and len(logs) >= TRADES
    assert {log.tx_hash.hex() for log in logs} <= {one["transaction"]["hash"][2:] for one in shown}


async def test_act_before_which_nothing_is_to_be_shown_begins_at_once(
    node: Peer, made: Past
) -> None:
    act = made.acts[0]
    rpc = JsonRpc(f"http://127.0.0.1:{node.port}", timeout_s=PLAYED_S_MAX)
    await rpc.call("past_play", [act.first, act.first - 1, 0.0])
    assert int(await rpc.call("eth_blockNumber"), 16) == act.first - 1
    await rpc.close()
    told = await _told(node, act, 1e-6)
    last = _shreds(told, act)[-1][0]
    assert last < BLOCK_S / 2
    assert told[-1][0] == "head" and told[-1][1] - last >= BLOCK_S / 2


async def test_act_without_a_spread_is_only_sealed(node: Peer, made: Past) -> None:
    told = await _told(node, made.acts[1], 0.0)
    assert not _shreds(told, made.acts[1])
    heads = [int(one["number"], 16) for kind, _, one in told if kind == "head"]
    assert heads[-2:] == [made.acts[1].first, made.acts[1].last]
    logs = [one for kind, _, one in told if kind == "log"]
    assert logs and all(one["blockHash"] for one in logs)
