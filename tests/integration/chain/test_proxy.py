"""The lying node itself: an honest run shows what anvil has, each fault shows as itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from chain.rpc import JsonRpc, RpcError
from engine.errors import TransientError
from tests.support.rpc_faults import Places
from tests.support.rpc_proxy import RpcProxy
from tests.support.servers import Anvil
from tests.support.trading import Traders, deployed

BLOCK_S = 0.5
MakeAnvil = Callable[..., Anvil]


@asynccontextmanager
async def trading(anvil: Anvil) -> AsyncIterator[Traders]:
    chain, implementation = await deployed(anvil, block_time_s=BLOCK_S)
    traders = Traders(anvil, chain, implementation)
    await traders.launch("alpha")
    try:
        yield traders
    finally:
        await traders.rpc.close()


@asynccontextmanager
async def client(proxy: RpcProxy, timeout_s: float = 5.0) -> AsyncIterator[JsonRpc]:
    rpc = JsonRpc(proxy.rpc_url, timeout_s=timeout_s)
    try:
        yield rpc
    finally:
        await rpc.close()


class Subscriber:
    """Everything pushed of all three kinds, in order."""

    def __init__(self) -> None:
        self.pushes: list[tuple[str, dict[str, Any]]] = []
        self.errors: list[str] = []
        self.ended = False
        self.names: dict[str, str] = {}

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [result for found, result in self.pushes if found == kind]

    async def run(self, url: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            for number, params in enumerate((["newHeads"], ["logs", {}], ["shreds", False])):
                request = {"jsonrpc": "2.0", "id": number, "method": "eth_subscribe"}
                await socket.send_str(orjson.dumps(request | {"params": params}).decode())
            async for message in socket:
                json = orjson.loads(message.data)
                if "error" in json:
                    self.errors.append(json["error"]["message"])
                elif "id" in json:
                    self.names[json["result"]] = ("heads", "logs", "shreds")[json["id"]]
                else:
                    params = json["params"]
                    self.pushes.append((self.names[params["subscription"]], params["result"]))
        self.ended = True


@asynccontextmanager
async def subscribed(proxy: RpcProxy) -> AsyncIterator[Subscriber]:
    subscriber = Subscriber()
    task = asyncio.create_task(subscriber.run(proxy.ws_url))
    await until(lambda: len(subscriber.names) + len(subscriber.errors) == 3)
    yield subscriber
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "Expected it to become true in time"
        await asyncio.sleep(0.01)


def place(log: dict[str, Any]) -> tuple[Any, ...]:
    names = ("address", "topics", "data", "transactionHash", "logIndex", "transactionIndex")
    return tuple(str(log[name]) for name in (*names, "blockNumber"))


async def sealed(traders: Traders, proxy: RpcProxy) -> int:
    last = max(receipt.block_number for receipt in await traders.settled())
    await until(lambda: proxy.tip >= last)
    await asyncio.sleep(0.05)
    return last


async def test_proxy_honest_shreds_come_before_the_seal_and_equal_it(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with (
        trading(anvil) as traders,
        RpcProxy(anvil.rpc_url, shred_s=0.3, txs_per_shred=2) as proxy,
        subscribed(proxy) as subscriber,
    ):
        first = proxy.tip + 1
        await traders.trade(9)
        last = await sealed(traders, proxy)
        heads, seen = subscriber.of("heads"), set()
        assert [int(head["number"], 16) for head in heads][: last - first + 1] == list(
            range(first, last + 1)
        )
        for kind, result in subscriber.pushes:  # every shred stands before its block's head
            if kind == "heads":
                seen.add(int(result["number"], 16))
            elif kind == "shreds":
                assert result["blockNumber"] not in seen
        for number in range(first, last + 1):
            shreds = [one for one in subscriber.of("shreds") if one["blockNumber"] == number]
            assert [one["shredIdx"] for one in shreds] == list(range(len(shreds)))
            assert shreds[0]["transactions"][0]["transaction"]["type"] == "0x7e"
            assert all(len(one["transactions"]) <= 2 for one in shreds)
        logs = [log for log in subscriber.of("logs") if int(log["blockNumber"], 16) <= last]
        early = [place(log) for log in logs if log["blockHash"] is None]
        late = [place(log) for log in logs if log["blockHash"]]
        truth = anvil.rpc("eth_getLogs", {"fromBlock": hex(first), "toBlock": hex(last)})
        assert early == late == [place(log) for log in truth] and len(truth) >= 18


async def test_proxy_open_block_is_hidden_from_every_read(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=None)
    async with (
        trading(anvil) as traders,
        RpcProxy(anvil.rpc_url, shred_s=4.0) as proxy,
        client(proxy) as rpc,
    ):
        tip = proxy.tip
        await traders.trade(1)
        await until(lambda: int(anvil.rpc("eth_blockNumber"), 16) > tip)
        truth = anvil.rpc("eth_getBlockByNumber", hex(tip + 1), False)
        tx_hash = truth["transactions"][0]
        async with asyncio.timeout(10):  # shown at half of shred_s, sealed at its end
            while await rpc.call("eth_getTransactionReceipt", [tx_hash]) is None:
                await asyncio.sleep(0.02)
        assert proxy.tip == tip
        assert int(await rpc.call("eth_blockNumber"), 16) == tip
        for block in ("latest", "pending", hex(tip)):
            found = await rpc.call("eth_getBlockByNumber", [block, False])
            assert int(found["number"], 16) == tip
        assert await rpc.call("eth_getBlockByNumber", [hex(tip + 1), False]) is None
        assert await rpc.call("eth_getBlockByHash", [truth["hash"], False]) is None
        assert await rpc.call("eth_getBlockReceipts", [truth["hash"]]) is None
        assert await rpc.call("eth_getBlockReceipts", [hex(tip + 1)]) is None
        over = {"fromBlock": hex(tip + 1), "toBlock": "latest"}
        assert await rpc.call("eth_getLogs", [over]) == []
        with pytest.raises(RpcError, match="unknown block"):
            await rpc.call("eth_getLogs", [{"blockHash": truth["hash"]}])
        receipt = await rpc.call("eth_getTransactionReceipt", [tx_hash])
        assert int(receipt["blockHash"], 16) == 0 and receipt["logs"]
        assert (await rpc.call("eth_getTransactionByHash", [tx_hash]))["blockHash"] is None
        await until(lambda: proxy.tip == tip + 1)
        receipt = await rpc.call("eth_getTransactionReceipt", [tx_hash])
        assert receipt["blockHash"] == truth["hash"]
        found = await rpc.call("eth_getLogs", [{"blockHash": truth["hash"]}])
        assert found == receipt["logs"]


async def test_proxy_reorg_shows_as_heads_alone_and_orphans_can_come_back(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=None)
    async with (
        trading(anvil) as traders,
        RpcProxy(anvil.rpc_url, shred_s=0.0) as proxy,
        subscribed(proxy) as subscriber,
        client(proxy) as rpc,
    ):
        await traders.trade(3)
        await until(lambda: proxy.tip == int(anvil.rpc("eth_blockNumber"), 16))
        old = anvil.rpc("eth_getBlockByNumber", "latest", False)
        await rpc.call("anvil_reorg", [2, []])
        assert await rpc.call("eth_getBlockByHash", [old["hash"], False]) is None
        new = await rpc.call("eth_getBlockByNumber", ["latest", False])
        assert new["number"] == old["number"] and new["hash"] != old["hash"]
        await until(lambda: subscriber.of("heads")[-1]["hash"] == new["hash"])
        assert proxy.push_false_head()
        await until(lambda: subscriber.of("heads")[-1]["number"] in (old["number"], new["number"]))
        await rpc.call("anvil_rollback", [1])
        assert proxy.tip == int(new["number"], 16) - 1


async def test_proxy_faults_show_and_are_counted(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=None)
    async with (
        trading(anvil) as traders,
        RpcProxy(anvil.rpc_url, shred_s=0.0) as proxy,
        client(proxy, 0.4) as rpc,
    ):
        faults = proxy.faults
        await traders.trade(4)
        tip = await sealed(traders, proxy)
        query = {"fromBlock": hex(tip - 3), "toBlock": hex(tip)}
        truth = await rpc.call("eth_getLogs", [query])
        faults.drop, faults.places = 0.5, Places.RANGES
        dropped = await rpc.call("eth_getLogs", [query])
        assert 0 < len(dropped) < len(truth) and await rpc.call("eth_getLogs", [query]) == dropped
        block = {"blockHash": truth[-1]["blockHash"]}
        assert truth[-1] in await rpc.call("eth_getLogs", [block])
        faults.calm()
        faults.drop_tail, faults.places = 1.0, Places.AT_HASH
        assert (await rpc.call("eth_getLogs", [block]))[-1]["logIndex"] != truth[-1]["logIndex"]
        faults.calm()
        faults.repeat, faults.reorder, faults.places = 1.0, 1.0, Places.RANGES
        assert len(await rpc.call("eth_getLogs", [query])) == 2 * len(truth)
        faults.calm()
        faults.lag_blocks = 2
        assert int(await rpc.call("eth_blockNumber"), 16) == tip - 2
        assert await rpc.call("eth_getBlockByNumber", [hex(tip - 1), False]) is None
        faults.calm()
        faults.errors = 1.0
        with pytest.raises(RpcError, match="injected"):
            await rpc.call("eth_blockNumber")
        faults.calm()
        faults.frozen = True
        with pytest.raises(TransientError):
            await rpc.call("eth_blockNumber")
        faults.calm()
        await proxy.kill()
        with pytest.raises(TransientError):
            await rpc.call("eth_blockNumber")
        await proxy.revive()
        assert int(await rpc.call("eth_blockNumber"), 16) == tip
        for name in ("dropped", "repeated", "reordered", "lagged", "errors", "frozen", "cuts"):
            assert faults.counts[name] > 0, name


async def test_proxy_sockets_cut_and_half_open(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=0.2)
    async with RpcProxy(anvil.rpc_url, shreds=False, shred_s=0.05) as proxy:
        async with subscribed(proxy) as cut, subscribed(proxy) as other:
            assert cut.errors == ["unknown variant `shreds`"]
            await until(lambda: len(cut.pushes) > 1)
            proxy.cut()
            await until(lambda: cut.ended and other.ended)
        async with subscribed(proxy) as dead:
            await until(lambda: len(dead.pushes) > 1)
            proxy.faults.half_open = True
            heard = len(dead.pushes)
            await asyncio.sleep(0.6)
            assert len(dead.pushes) == heard and not dead.ended
            proxy.faults.half_open = False
            async with subscribed(proxy) as fresh:
                await until(lambda: len(fresh.pushes) > 1)
                assert len(dead.pushes) == heard


@pytest.mark.parametrize("kind", ["absent", "swapped", "changed"])
async def test_proxy_contradictions_seal_something_else(kind: str, make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=BLOCK_S)
    async with (
        trading(anvil) as traders,
        RpcProxy(anvil.rpc_url, shred_s=0.1) as proxy,
        subscribed(proxy) as subscriber,
    ):
        proxy.faults.contradict = kind
        for _ in range(3):
            await traders.trade(4)
            await asyncio.sleep(BLOCK_S)
        await sealed(traders, proxy)
        proxy.faults.calm()
        await asyncio.sleep(2 * BLOCK_S)
        logs = subscriber.of("logs")
        early = {place(log) for log in logs if log["blockHash"] is None}
        late = {place(log) for log in logs if log["blockHash"]}
        assert proxy.faults.counts[kind] > 0 and proxy.faults.untrue
        untrue = {log[3] for log in early - late}
        assert set(proxy.faults.untrue) <= untrue
        if kind == "absent":
            assert not any(log[3] in proxy.faults.untrue for log in late)
            assert late <= early
