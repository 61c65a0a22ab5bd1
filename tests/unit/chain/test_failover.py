"""Two nodes as one: who serves, who is left, who is not believed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from chain import failover
from chain.failover import FAILURES_MAX, PAUSE_S_MAX, PREFER_EVERY_S, Breaker, Endpoint, FailoverRpc
from chain.rpc import RpcError
from engine.errors import TransientError


class FakeNode:
    """Answers with its own name; `away` and `head` say how it is."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self.head = 100
        self.away = False
        self.hangs: asyncio.Event | None = None
        self.refuses = False
        self.calls: list[str] = []
        self.closed = False

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any:
        self.calls.append(method)
        if self.hangs is not None:
            await self.hangs.wait()
        if self.away:
            raise TransientError("stale_chain", "Node not reached")
        if self.refuses:
            raise RpcError(-32000, "no")
        if method == "eth_blockNumber":
            return hex(self.head)
        if method == "eth_getBlockByNumber":
            return {"number": hex(self.head)}
        return self.url

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [await self.call(method, params) for method, params in calls]

    async def close(self) -> None:
        self.closed = True

    def note_finalised(self, number: int) -> None:
        raise AssertionError("Expected the pair to keep it")


class Pair:
    def __init__(self) -> None:
        self.now = 0.0
        self.nodes: list[FakeNode] = []
        self.switched: list[tuple[int, int]] = []
        self.rpc = FailoverRpc(
            [Endpoint("http://a", "ws://a"), Endpoint("http://b")],
            timeout_s=3.0,
            connect=self.connect,
            clock=lambda: self.now,
            on_switch=lambda _, endpoint, before, reason: self.switched.append((before, endpoint)),
        )
        self.a, self.b = self.nodes

    def connect(self, url: str, *, timeout_s: float) -> FakeNode:
        self.nodes.append(FakeNode(url, timeout_s=timeout_s))
        return self.nodes[-1]

    async def ask(self, method: str = "eth_getLogs") -> Any:
        return await self.rpc.call(method)

    async def fail_over(self) -> None:
        self.a.away = True
        for _ in range(FAILURES_MAX - 1):
            with pytest.raises(TransientError):
                await self.ask()
        assert await self.ask() == "http://b"


@pytest.fixture
async def pair() -> Any:
    made = Pair()
    yield made
    await made.rpc.close()


async def test_first_serves_while_it_is_well(pair: Pair) -> None:
    assert [await pair.ask() for _ in range(3)] == ["http://a"] * 3
    assert pair.b.calls == [] and pair.rpc.ws_url == "ws://a"
    assert pair.rpc.status()["breakers"] == ["closed", "closed"]


async def test_dead_first_gives_way_and_comes_back(pair: Pair) -> None:
    await pair.fail_over()
    assert pair.rpc.ws_url == "" and pair.switched == [(0, 1)]
    assert pair.rpc.status()["breakers"] == ["open", "closed"]
    asked = len(pair.a.calls)
    assert [await pair.ask() for _ in range(3)] == ["http://b"] * 3
    assert len(pair.a.calls) == asked, "an open breaker lets nothing through"
    pair.a.away = False
    pair.now += PREFER_EVERY_S
    await pair.ask()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await pair.ask() == "http://a" and pair.rpc.status()["switches"] == 2
    assert pair.rpc.status()["breakers"] == ["closed", "closed"]


async def test_error_answers_are_no_failures(pair: Pair) -> None:
    pair.a.refuses = True
    for _ in range(FAILURES_MAX * 3):
        with pytest.raises(RpcError):
            await pair.ask()
    assert pair.b.calls == [] and pair.rpc.status()["switches"] == 0


async def test_single_failures_between_answers_do_not_open(pair: Pair) -> None:
    for _ in range(5):
        pair.a.away = True
        with pytest.raises(TransientError):
            await pair.ask()
        pair.a.away = False
        assert await pair.ask() == "http://a"
    assert pair.switched == []


async def test_both_dead_is_transient_at_once(pair: Pair) -> None:
    await pair.fail_over()
    pair.b.away = True
    for _ in range(FAILURES_MAX):
        with pytest.raises(TransientError):
            await pair.ask()
    calls = len(pair.a.calls) + len(pair.b.calls)
    with pytest.raises(TransientError, match="No endpoint may serve"):
        await pair.ask()
    assert len(pair.a.calls) + len(pair.b.calls) == calls
    pair.now += PAUSE_S_MAX
    pair.b.away = False
    assert await pair.ask() == "http://b"


async def test_second_behind_the_finalised_block_never_serves(pair: Pair) -> None:
    pair.rpc.note_finalised(90)
    pair.rpc.note_finalised(80)
    pair.b.head = 89
    pair.a.away = True
    for _ in range(FAILURES_MAX + 2):
        with pytest.raises(TransientError):
            await pair.ask()
    assert set(pair.b.calls) == {"eth_blockNumber"}
    assert "from 90 on, which is final, was 89" in pair.rpc.status()["reasons"][1]
    pair.b.head, pair.now = 90, PAUSE_S_MAX
    assert await pair.ask() == "http://b"


@pytest.mark.parametrize("method", ["eth_blockNumber", "eth_getBlockByNumber"])
async def test_active_that_falls_behind_is_left(pair: Pair, method: str) -> None:
    pair.rpc.note_finalised(90)
    pair.a.head = 10
    found = await pair.rpc.call(method, ["latest", False][: 2 * (method != "eth_blockNumber")])
    assert found in (hex(100), {"number": hex(100)})
    assert await pair.ask() == "http://b" and pair.switched == [(0, 1)]


async def test_all_behind_refuse_with_stale_chain(pair: Pair) -> None:
    pair.rpc.note_finalised(90)
    pair.a.head = pair.b.head = 89
    for _ in range(2):
        with pytest.raises(TransientError) as caught:
            await pair.ask("eth_blockNumber")
        assert caught.value.code == "stale_chain"
    assert "eth_getLogs" not in pair.a.calls + pair.b.calls


@pytest.mark.parametrize("send", failover._SENDS)
async def test_transaction_perhaps_sent_is_not_sent_again(pair: Pair, send: str) -> None:
    pair.a.away = True
    for _ in range(FAILURES_MAX - 1):
        with pytest.raises(TransientError):
            await pair.rpc.batch([("eth_chainId", []), (send, ["0x"])])
    with pytest.raises(TransientError):
        await pair.ask(send)
    assert pair.rpc.status()["breakers"][0] == "open" and pair.b.calls == []
    assert await pair.ask(send) == "http://b"


async def test_batch_is_answered_by_one(pair: Pair) -> None:
    await pair.fail_over()
    assert await pair.rpc.batch([("a", []), ("b", [])]) == ["http://b"] * 2


async def test_calls_side_by_side_on_a_dead_first_all_come_through(pair: Pair) -> None:
    pair.a.away = True
    found = await asyncio.gather(*(pair.ask() for _ in range(20)), return_exceptions=True)
    assert found.count("http://b") >= 20 - FAILURES_MAX
    assert pair.b.calls.count("eth_blockNumber") == 1, "one probe for all"
    assert pair.rpc.status()["breakers"][0] == "open" and pair.switched == [(0, 1)]


async def test_calls_do_not_wait_for_a_better_endpoint_that_hangs(pair: Pair) -> None:
    await pair.fail_over()
    pair.a.hangs = asyncio.Event()
    pair.now += PREFER_EVERY_S
    async with asyncio.timeout(1):
        assert await pair.ask() == "http://b"
        await asyncio.sleep(0)
        assert await pair.ask() == "http://b"
    assert pair.a.calls[-1] == "eth_blockNumber"


async def test_single_endpoint_is_asked_every_time() -> None:
    nodes: list[FakeNode] = []

    def connect(url: str, *, timeout_s: float) -> FakeNode:
        nodes.append(FakeNode(url, timeout_s=timeout_s))
        return nodes[-1]

    rpc = FailoverRpc([Endpoint("http://a")], connect=connect)
    nodes[0].away = True
    for _ in range(FAILURES_MAX + 1):
        with pytest.raises(TransientError, match="not reached"):
            await rpc.call("eth_getLogs")
    nodes[0].away = False
    assert await rpc.call("eth_getLogs") == "http://a"
    rpc.note_finalised(200)
    with pytest.raises(TransientError, match="is final"):
        await rpc.call("eth_blockNumber")
    await rpc.close()
    assert nodes[0].closed


def test_breaker_pause_doubles_to_its_bound_by_probes_alone() -> None:
    now = 0.0
    breaker = Breaker(lambda: now)
    for _ in range(100):
        breaker.failed("gone")
    assert breaker.state == "open"
    pauses = []
    for _ in range(8):
        began = now
        while breaker.state == "open":
            now += 0.25
        pauses.append(now - began)
        breaker.refuse("still gone")
    assert pauses[:3] == [1.0, 2.0, 4.0] and pauses[-1] == PAUSE_S_MAX
    breaker.succeeded()
    assert breaker.state == "open", "an answer to an older call closes nothing"
    breaker.close()
    assert breaker.state == "closed"
