"""Prices in USD by a real aggregator contract on a real node, shown at the door while fresh."""

from typing import Any

import pytest

from chain.rpc import JsonRpc
from chain.sender import Node
from engine import text
from gateway import replies
from gateway.replies import Page, Reply
from gateway.usd import KEPT_S, EthPrice, UsdFeed
from tests.support import chain_settings
from tests.support.evm import Chain, Contract
from tests.support.fakes import FakeSink
from tests.support.gateway import open_door
from tests.support.lobby import Clock
from tests.support.servers import Anvil

NOW = 1_800_000_000


@pytest.fixture
def aggregator(chain: Chain, harness: dict[str, dict[str, Any]]) -> Contract:
    place = chain.create(harness["UsdFeed"], b"", sender=chain.account("maker"))
    return Contract(chain, harness["UsdFeed"], place)


@pytest.fixture
async def node(anvil: Anvil):
    rpc = JsonRpc(anvil.rpc_url, timeout_s=5)
    yield Node(rpc, chain_settings.settings())
    await rpc.close()


async def test_feed_is_read_with_its_decimals_and_never_when_old(
    chain: Chain, aggregator: Contract, node: Node
) -> None:
    maker, clock, log = chain.account("maker"), Clock(), FakeSink()
    clock.now = NOW
    fresh = NOW - 3_600

    async def said(decimals: int, answer: int, updated_at: int) -> EthPrice | None:
        aggregator.send("set", decimals, answer, updated_at, sender=maker)
        feed = UsdFeed(node, aggregator.address, age_max_s=3_600, log=log, clock=clock)
        return await feed.price()

    assert await said(8, 4_321 * 10**8 + 5, fresh) == EthPrice(4_321 * 10**8 + 5, fresh)
    assert await said(18, 4_321 * 10**18, fresh) == EthPrice(4_321 * 10**8, fresh)
    assert await said(0, 4_321, NOW) == EthPrice(4_321 * 10**8, NOW)
    old, ahead = (8, 4_321, fresh - 1), (8, 5, NOW + 3_600)
    for bad in (old, ahead, (8, 0, fresh), (8, -5, fresh), (99, 5, NOW)):
        assert await said(*bad) is None, bad
    assert log.lines[-1][1] == "usd_feed_gives_no_price"


async def test_price_that_grows_old_while_kept_is_none(
    chain: Chain, aggregator: Contract, node: Node
) -> None:
    clock = Clock()
    clock.now = NOW
    aggregator.send("set", 8, 10**11, NOW - 3_599, sender=chain.account("maker"))
    feed = UsdFeed(node, aggregator.address, age_max_s=3_600, log=FakeSink(), clock=clock)
    assert await feed.price() == EthPrice(10**11, NOW - 3_599)
    clock.now += 2
    assert await feed.price() is None and KEPT_S > 2
    nobody = UsdFeed(node, b"\x08" * 20, age_max_s=3_600, log=FakeSink(), clock=clock)
    assert await nobody.price() is None, "no contract there"


async def test_doors_show_usd_while_the_feed_is_fresh_and_null_after(
    chain: Chain, aggregator: Contract, node: Node
) -> None:
    clock = Clock()
    aggregator.send("set", 8, 2_500 * 10**8, int(clock.now), sender=chain.account("maker"))
    async with open_door(clock=clock, eth_usd_feed_address=aggregator.address) as door:
        door.gateway._context.usd._node = node
        address = text.address(door.tokens[0])
        for path, model in (("", Page[replies.TokenData]), (f"/{address}", replies.TokenData)):
            status, answer = await door.get(f"/api/tokens{path}")
            Reply[model].model_validate(answer)
            one = answer["data"] if path else answer["data"]["items"][0]
            assert status == 200
            price, cap = (text.base_units(one[name], 36) for name in ("price", "marketCap"))
            assert text.base_units(one["priceUsd"], 18) == price * 2_500 // 10**18
            assert text.base_units(one["marketCapUsd"], 36) == cap * 2_500
        _, answer = await door.get("/api/analytics/overview")
        assert Reply[replies.OverviewData].model_validate(answer).data.eth_usd == "2500"
        clock.now += 3_700
        _, answer = await door.get("/api/tokens")
        one = answer["data"]["items"][0]
        assert one["price"] and one["priceUsd"] is None and one["marketCapUsd"] is None
