"""Pages over everything that was recorded: real Postgres, figures of a real turn."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import replies
from gateway.replies import Cursored, Page, Reply
from storage import postgres
from storage.analytics import Analytics
from storage.events import EventStore
from storage.market_reads import MarketReads
from storage.reads import Reads
from tests.support.gateway import Door
from tests.support.history import Historian, Saga, position_of
from tests.support.lobby import lobby
from tests.support.scenario import CHAIN_ID, address_of


@pytest.fixture
async def door(postgres_url: str, mongodb_url: str, redis_url: str) -> AsyncIterator[Door]:
    pool = await postgres.connect(postgres_url)
    await postgres.migrate(pool)
    events, saga, historian = EventStore(pool, CHAIN_ID), Saga(seed=4, time=NOW), Historian()
    incarnation = await events.claim()
    for _ in range(50):
        block = saga.play()
        await events.write(
            [historian.rows(block)], incarnation=incarnation, position=position_of(block)
        )
    await events.finalise(saga.number - 5, incarnation)
    await Analytics(pool, CHAIN_ID).turn()
    stores = {"reads": Reads(pool, CHAIN_ID), "market_reads": MarketReads(pool, CHAIN_ID)}
    async with lobby(mongodb_url, redis_url, more=stores) as opened:
        yield opened
    pool.terminate()


NOW = int(time.time()) - 3_000


def shaped(model: Any, answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status == 200, body
    Reply[model].model_validate(body)
    return body["data"]


async def test_overview_counts_what_was_recorded(door: Door) -> None:
    await door.login()
    data = shaped(replies.OverviewData, await door.get("/api/analytics/overview"))
    _, total = await door.reads.tokens(page=1, limit=1)
    assert (data["totalTokens"], data["totalUsers"]) == (total, 1)
    assert data["totalTrades"] > 50 and float(data["totalVolume24h"]) > 0
    assert data["totalVolume24h"] == data["totalVolume"]
    assert data["asOfBlock"] == 50


async def test_trending_creators_and_leaders_are_ranked(door: Door) -> None:
    trending = Page[replies.TrendingData]
    found = shaped(trending, await door.get("/api/analytics/trending?limit=3"))
    items = found["items"]
    hours = [float(one["volume1h"]) for one in items]
    assert len(items) == 3 and hours == sorted(hours, reverse=True)
    rest = shaped(trending, await door.get("/api/analytics/trending?limit=3&page=2"))
    assert rest["total"] == found["total"] > 3
    assert float(rest["items"][0]["volume1h"]) <= hours[-1]
    assert not {one["address"] for one in items} & {one["address"] for one in rest["items"]}
    path = "/api/analytics/top-creators"
    (creator,) = shaped(Page[replies.CreatorData], await door.get(path))["items"]
    beyond = shaped(Page[replies.CreatorData], await door.get(f"{path}?page=2"))
    assert (beyond["items"], beyond["total"], beyond["page"]) == ([], 1, 2)
    assert bytes.fromhex(creator["creator"][2:]) == address_of("creator")
    board = Page[replies.TraderData]
    found = shaped(board, await door.get("/api/analytics/leaderboard?limit=2&page=2"))
    assert [one["rank"] for one in found["items"]] == [3, 4] and found["total"] >= 4
    king = shaped(replies.TokenData, await door.get("/api/analytics/king-of-the-hill"))
    listed = await door.get("/api/tokens?sortBy=marketCap&graduated=false&limit=1")
    assert king["address"] == listed[1]["data"]["items"][0]["address"]
    volumes = await door.get("/api/tokens?sortBy=volume")
    found = [float(one["volume24h"]) for one in volumes[1]["data"]["items"]]
    assert found == sorted(found, reverse=True)


async def test_holders_have_their_share_and_first_buy(door: Door) -> None:
    listed = await door.get("/api/tokens?sortBy=volume&limit=1")
    token = listed[1]["data"]["items"][0]
    answer = await door.get(f"/api/tokens/{token['address']}/holders")
    data = shaped(Page[replies.HolderData], answer)
    assert data["total"] == len(data["items"]) == token["holders"] > 0
    assert any(one["firstBuyAt"] for one in data["items"])
    assert all(0 <= one["shareBps"] <= 10_000 for one in data["items"])
    assert (await door.get(f"/api/tokens/0x{'01' * 20}/holders"))[0] == 404


async def test_trades_and_a_creators_tokens_are_paged(door: Door) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        answer = await door.get(f"/api/trades?limit=40{cursor}")
        data = shaped(Cursored[replies.TransactionData], answer)
        seen += [(one["txHash"], one["position"]) for one in data["items"]]
        cursor = f"&cursor={data['cursor']}" if data["cursor"] else None
    assert len(seen) == len(set(seen)) == await door.reads.count_trades()
    path = f"/api/creators/0x{address_of('creator').hex()}/tokens?limit=100"
    mine = shaped(Page[replies.TokenData], await door.get(path))
    assert mine["total"] == len(mine["items"]) > 1
