"""Doors over a read replica: it is told what they name, and may answer at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.buckets import bucket_of
from engine.quoting import answer
from engine.text import topic_of_token
from tests.integration.gateway.test_realtime import open_socket, quote_of
from tests.integration.gateway.test_realtime_quick import Raw, clients, frame, in_flight
from tests.support.chain_settings import LAUNCHPAD
from tests.support.fake_replicas import FakeReplicas
from tests.support.fakes import FakeMarkets, FakeReceipt, trade_log, transaction_record
from tests.support.gateway import Door, open_door
from tests.support.scenario import Scenario
from tests.support.stream_door import open_stream_door
from tests.unit.gateway.test_fanout import tick

TRADER = b"\3" * 20


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door(stores={"replicas": FakeReplicas()}) as opened:
        yield opened
        assert opened.log.errors == []


def receipt(door: Door, number: int, *, status: int = 1) -> str:
    log = trade_log(launchpad=LAUNCHPAD, token=door.tokens[0], trader=TRADER, tokens=7, eth=9)
    tx_hash = bytes([number]) * 32
    made = FakeReceipt(tx_hash, status=status, block_number=number, logs=(log,))
    door.node.receipts[tx_hash] = made
    return f"/api/trading/tx/0x{tx_hash.hex()}"


async def test_receipt_that_a_client_is_shown_is_told_to_the_replica(door: Door) -> None:
    status, _ = await door.get(receipt(door, 101))
    assert (status, door.replicas.blocks) == (200, [(door.tokens[0], 101)])


async def test_receipt_of_a_revert_is_not(door: Door) -> None:
    status, _ = await door.get(receipt(door, 101, status=0))
    assert (status, door.replicas.blocks) == (200, [])


async def test_recorded_trade_that_a_client_is_shown_is_told_to_the_replica(door: Door) -> None:
    made = transaction_record(door.tokens[0])
    door.reads.rows = [made]
    status, _ = await door.get(f"/api/trading/tx/0x{made.tx_hash.hex()}")
    assert (status, door.replicas.blocks) == (200, [(door.tokens[0], made.block_number)])


async def test_version_that_a_tick_names_is_told_to_the_replica(door: Door) -> None:
    topic = topic_of_token(door.tokens[0])
    door.ticks.publish(topic=topic, seq=1, data={"asOf": {"version": [1, 5]}})
    async with asyncio.timeout(5):
        while not door.replicas.seen:
            await asyncio.sleep(0.01)
    assert door.replicas.seen == [(door.tokens[0], (1, 5))]


async def test_metrics_tell_of_the_replica(door: Door) -> None:
    door.replicas.tally.serve(0.01)
    async with door.session.get(f"{door.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    assert 'risecurve_replica_quotes_total{outcome="served"} 1.0' in lines
    assert 'risecurve_replica_age_seconds_bucket{le="0.01"} 1.0' in lines


class AtOnce(FakeMarkets):
    """Answers before `begin` returns."""

    def begin(self, request: Any, done: Any) -> None:
        done(self.now(request))

    def now(self, request: Any) -> Any:
        market = self._find(request.token)
        return answer(market, request, as_of=self.as_of(), bucket=bucket_of(request.token))


async def test_socketio_door_takes_answers_at_once_by_its_quick_way(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Raw(await open_socket(door, door.session))
    asked: list[int] = []

    def at_once(request: Any, done: Any) -> None:
        asked.append(in_flight(door))
        done(AtOnce(door.markets.markets, door.markets.head).now(request))

    monkeypatch.setattr(door.markets, "begin", at_once)
    for id in range(300):
        await one.socket.send_str(frame(door, id, amount="0" if id == 7 else "0.01"))
    await one.until(set(range(300)))
    quotes = [id for id in one.answers if id != 7]
    assert quotes == sorted(quotes), "each behind the one before it"
    assert [id for id, answer in one.answers.items() if not answer["success"]] == [7]
    assert (len(asked), asked[-1]) == (299, 1), "counted while it is asked, and no longer"
    assert (in_flight(door), clients(door)[0].calls) == (0, 0)
    _, rest = await door.post("/api/trading/quote", quote_of(door))
    assert one.answers[299]["data"] == rest["data"]


async def test_stream_door_takes_answers_at_once_alone_and_in_arrays() -> None:
    markets, replicas, scenario = AtOnce(), FakeReplicas(), Scenario()
    scenario.launch("tide")
    markets.take(scenario)
    async with open_stream_door(stores={"markets": markets, "replicas": replicas}) as door:
        async with door.client() as client:
            asked = {"token": door.token, "side": "buy", "amountWei": "1000000000000000"}
            one = await client.ask("quote", **asked)
            assert one["ok"]
            many = [{"op": "quote", "id": n} | asked for n in range(300)]
            many[7] = {"op": "quote", "id": 7} | asked | {"amountWei": "0.1"}
            await client.send(many)
            answers = await client.receive()
            assert [answer["id"] for answer in answers] == list(range(300))
            assert [answer["ok"] for answer in answers].count(False) == 1
            assert answers[8]["data"] == one["data"]
        door.gateway.fanout.hear(
            tick(1, topic=door.topic, incarnation=1, data={"asOf": {"version": [1, 9]}})
        )
        assert replicas.seen == [(door.tokens[0], (1, 9))]
        assert door.gateway.status()["quotes_ok"] == 300
