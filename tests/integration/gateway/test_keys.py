"""API keys over the real application and MongoDB."""

from typing import Any

import pytest
from eth_account import Account

from engine import text
from gateway import keys, replies
from gateway.replies import Reply
from gateway.routes import API, Access
from tests.support.gateway import Door, headers_of
from tests.support.lobby import Clock, lobby


@pytest.fixture
def door(people_door: Door) -> Door:
    return people_door


async def key_of(door: Door, **fields: Any) -> dict[str, Any]:
    headers = headers_of(await door.session_of())
    body = {"name": "bot", "scopes": ["read"]} | fields
    status, answer = await door.post("/api/keys", body, headers=headers)
    assert status == 200, answer
    Reply[replies.NewKeyData].model_validate(answer)
    return dict(answer["data"])


def using(key: dict[str, Any]) -> dict[str, str]:
    return {keys.HEADER: key["key"]}


async def test_key_is_shown_once_and_speaks_for_its_owner(door: Door) -> None:
    key = await key_of(door, scopes=["read", "trade"])
    _, answer = await door.get("/api/users/me", headers=using(key))
    assert answer["data"]["walletAddress"] == door.account.address
    headers = headers_of(await door.session_of())
    _, answer = await door.get("/api/keys", headers=headers)
    Reply[replies.KeysData].model_validate(answer)
    (listed,) = answer["data"]["items"]
    assert listed == {name: value for name, value in key.items() if name != "key"}
    body = {"tokenAddress": text.address(door.tokens[0]), "ethAmount": "0.1"}
    status, answer = await door.post("/api/trading/buy", body, headers=using(key))
    assert (status, answer["data"]["transaction"]["from"]) == (200, door.account.address)
    stored = [one async for one in door.api_keys._keys.find()]
    assert key["key"].split("_", 2)[2] not in repr(stored)


async def test_key_may_do_what_its_scopes_say_and_no_more(door: Door) -> None:
    reader, trader = await key_of(door), await key_of(door, scopes=["trade"])
    for route in API:
        if route.access is Access.OPEN:
            continue
        path = "/api" + route.path.replace("{address}", door.account.address)
        for key, scope in ((reader, "read"), (trader, "trade")):
            status, answer = await door.ask(
                route.method, path.replace("{sid}", "0").replace("{id}", "0"), headers=using(key)
            )
            if route.scope == scope:
                assert status not in (401, 403), path
            else:
                assert (status, answer["error"]["code"]) == (403, "forbidden"), path


async def test_key_that_was_ended_or_expired_is_refused(mongodb_url: str, redis_url: str) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=9 * 86_400) as door:
        key, short = await key_of(door), await key_of(door, days=1)
        assert (await door.get("/api/users/me", headers=using(key)))[0] == 200
        theirs = headers_of(await door.session_of(Account.create()))
        path = f"/api/keys/{key['id']}"
        assert (await door.ask("DELETE", path, headers=theirs))[0] == 404
        mine = headers_of(await door.session_of())
        for _ in range(2):
            assert (await door.ask("DELETE", path, headers=mine))[0] == 200
        clock.now += keys.REMEMBERED_S
        assert (await door.get("/api/users/me", headers=using(key)))[0] == 401
        assert (await door.get("/api/users/me", headers=using(short)))[0] == 200
        clock.now += 86_400
        assert (await door.get("/api/users/me", headers=using(short)))[0] == 401


async def test_made_up_keys_are_unauthorized_and_cost_the_guesser(
    mongodb_url: str, redis_url: str
) -> None:
    async with lobby(mongodb_url, redis_url, reads_per_minute=12) as door:
        key = await key_of(door)
        right = key["key"]
        for wrong in ("", "rk_", right[:-1], f"rk_{'0' * 16}_{'A' * 43}", right[:20] + "A" * 43):
            status, answer = await door.get("/api/tokens", headers={keys.HEADER: wrong})
            assert (status, answer["error"]["code"]) == (401, "unauthorized"), wrong
        statuses = [
            (await door.get("/api/tokens", headers={keys.HEADER: "rk_x"}))[0] for _ in range(12)
        ]
        assert statuses[-1] == 429
        assert (await door.get("/api/tokens", headers=using(key)))[0] == 200, "a budget of its own"


async def test_key_has_a_budget_of_its_own(mongodb_url: str, redis_url: str) -> None:
    async with lobby(mongodb_url, redis_url, key_reads_per_minute=3) as door:
        key, other = await key_of(door), await key_of(door)
        statuses = [(await door.get("/api/tokens", headers=using(key)))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert (await door.get("/api/tokens", headers=using(other)))[0] == 200
        assert (await door.get("/api/tokens"))[0] == 200


async def test_wallet_has_a_bounded_number_of_keys(door: Door) -> None:
    headers = headers_of(await door.session_of())
    for number in range(keys.KEYS_MAX + 1):
        body = {"name": f"bot {number}", "scopes": ["read"]}
        status, _ = await door.post("/api/keys", body, headers=headers)
    assert status == 400
    for bad in ({"scopes": []}, {"scopes": ["admin"]}, {"days": 0}, {"days": 366}, {"name": ""}):
        body = {"name": "x", "scopes": ["read"]} | bad
        assert (await door.post("/api/keys", body, headers=headers))[0] == 400


async def test_key_opens_no_budget_of_its_own_for_logins(mongodb_url: str, redis_url: str) -> None:
    async with lobby(mongodb_url, redis_url, writes_per_window=5) as door:
        key = await key_of(door)  # two of the five
        answers = [await door.post("/api/auth/nonce", headers=using(key)) for _ in range(4)]
        assert [status for status, _ in answers] == [200, 200, 200, 429]
        status, answer = await door.post("/api/auth/connect", {}, headers=using(key))
        assert (status, answer["error"]["code"]) == (429, "rate_limited")
        assert (await door.get("/api/users/me", headers=using(key)))[0] == 200
