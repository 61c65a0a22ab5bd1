"""Idempotency-Key over the real application and Redis."""

import asyncio
from typing import Any

import pytest
from eth_account import Account

from engine import text
from gateway import idempotency
from storage import valkey
from tests.support.gateway import Door, headers_of

LAUNCH = {"name": "Goose", "symbol": "GO"}


@pytest.fixture
def door(people_door: Door) -> Door:
    return people_door


async def create(door: Door, headers: dict[str, str], key: str, **fields: Any) -> tuple[int, Any]:
    named = headers | {"Idempotency-Key": key}
    return await door.post("/api/tokens/create", LAUNCH | fields, headers=named)


async def test_launch_asked_for_twice_has_one_address(door: Door) -> None:
    headers = headers_of(await door.session_of())
    first, again = await create(door, headers, "one"), await create(door, headers, "one")
    assert first == again and first[0] == 200
    named = headers | {"Idempotency-Key": "one"}
    async with door.session.post(
        f"{door.url}/api/v1/tokens/create", json=LAUNCH, headers=named
    ) as response:
        assert response.headers["Idempotency-Replayed"] == "true"
        assert (await response.json())["data"] == first[1]["data"]
    other = await create(door, headers, "two")
    assert other[1]["data"]["tokenAddress"] != first[1]["data"]["tokenAddress"]
    stranger = headers_of(await door.session_of(Account.create()))
    theirs = await create(door, stranger, "one")
    assert theirs[1]["data"]["tokenAddress"] != first[1]["data"]["tokenAddress"]


async def test_same_key_with_another_body_is_a_conflict(door: Door) -> None:
    headers = headers_of(await door.session_of())
    await create(door, headers, "one")
    status, answer = await create(door, headers, "one", symbol="GX")
    assert (status, answer["error"]["code"]) == (409, "idempotency_conflict")


async def test_many_at_once_are_one_launch(door: Door) -> None:
    headers = headers_of(await door.session_of())
    answers = await asyncio.gather(*(create(door, headers, "one") for _ in range(20)))
    made = {a["data"]["tokenAddress"] for status, a in answers if status == 200}
    refused = {a["error"]["code"] for status, a in answers if status != 200}
    assert len(made) == 1 and refused <= {"idempotency_conflict"}
    assert (await create(door, headers, "one"))[1]["data"]["tokenAddress"] in made


async def test_refused_request_may_be_tried_again(door: Door) -> None:
    headers = headers_of(await door.session_of())
    door.node.down = True
    assert (await create(door, headers, "one"))[0] == 503
    door.node.down = False
    assert (await create(door, headers, "one"))[0] == 200
    for bad in ("", "x" * 65, "a b", "é"):
        status, answer = await create(door, headers, bad)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_answers_with_secrets_are_never_kept(door: Door, redis_url: str) -> None:
    session = await door.session_of()
    named = headers_of(session) | {"Idempotency-Key": "one"}
    body = {"refreshToken": session["refreshToken"]}
    assert (await door.post("/api/auth/refresh", body, headers=named))[0] == 200
    key = {"name": "bot", "scopes": ["read"]}
    made = [(await door.post("/api/keys", key, headers=named))[1]["data"] for _ in range(2)]
    assert made[0]["id"] != made[1]["id"]
    client = valkey.connect(redis_url)
    kept = [await client.get(name) async for name in client.scan_iter("*:replay:*")]
    await client.aclose()
    assert not any(made[0]["key"].encode() in (one or b"") for one in kept)


async def test_quotes_and_unsigned_trades_are_made_anew_and_not_kept(
    door: Door, redis_url: str
) -> None:
    named = headers_of(await door.session_of()) | {"Idempotency-Key": "one"}
    token = text.address(door.tokens[0])
    quote = {"tokenAddress": token, "type": "buy", "amount": "0.1"}
    buy = {"tokenAddress": token, "ethAmount": "0.1"}
    client = valkey.connect(redis_url)
    for path, body in (("quote", quote), ("buy", buy)):
        first = (await door.post(f"/api/trading/{path}", body, headers=named))[1]["data"]
        door.scenario.buy(door.tokens[0], 10**17)
        door.markets.take(door.scenario)
        second = (await door.post(f"/api/trading/{path}", body, headers=named))[1]["data"]
        assert first != second, "a price of before is no answer now"
    kept = [name async for name in client.scan_iter("*:replay:*")]
    await client.aclose()
    assert kept == []


async def test_without_the_store_a_write_with_a_key_waits(door: Door) -> None:
    headers = headers_of(await door.session_of())
    door.replays._client = valkey.connect("redis://127.0.0.1:1")
    status, answer = await create(door, headers, "one")
    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    assert (await door.post("/api/tokens/create", LAUNCH, headers=headers))[0] == 200


async def test_dead_ones_key_is_free_after_its_lease(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = headers_of(await door.session_of())
    monkeypatch.setattr(idempotency, "LEASE_S", 1)
    monkeypatch.setattr(door.replays, "finish", _nothing)
    await create(door, headers, "one")
    assert (await create(door, headers, "one"))[0] == 409
    await asyncio.sleep(1.2)
    assert (await create(door, headers, "one"))[0] == 200


async def _nothing(*given: Any, **named: Any) -> None:
    return None
