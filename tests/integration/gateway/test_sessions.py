"""Sessions and users over the real application, MongoDB and Redis."""

import asyncio
from typing import Any

import pytest
from eth_account import Account
from redis.exceptions import ConnectionError

from gateway import replies
from gateway.replies import Reply
from storage import valkey
from tests.support.gateway import SECRET, Door, headers_of
from tests.support.lobby import ADMIN, Clock, lobby

AVATAR = "ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq"


@pytest.fixture
def door(people_door: Door) -> Door:
    return people_door


async def renew(door: Door, token: str) -> tuple[int, Any]:
    return await door.post("/api/auth/refresh", {"refreshToken": token})


async def verified(door: Door, session: dict[str, Any]) -> int:
    status, _ = await door.post("/api/auth/verify", headers=headers_of(session))
    return status


async def test_refresh_gives_new_tokens_and_shapes_hold(door: Door) -> None:
    first = await door.session_of()
    Reply[replies.ConnectData].model_validate({"success": True, "data": first, "timestamp": ""})
    status, answer = await renew(door, first["refreshToken"])
    assert status == 200
    Reply[replies.ConnectData].model_validate(answer)
    second = answer["data"]
    assert second["refreshToken"] != first["refreshToken"]
    assert await verified(door, first) == await verified(door, second) == 200


async def test_refresh_token_used_again_ends_the_session(mongodb_url: str, redis_url: str) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=3_600) as door:
        first, other = await door.session_of(), await door.session_of()
        _, answer = await renew(door, first["refreshToken"])
        second = answer["data"]
        _, again = await renew(door, first["refreshToken"])  # its answer was lost
        assert again["data"]["refreshToken"] == second["refreshToken"]
        clock.now += 11
        status, answer = await renew(door, first["refreshToken"])
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
        assert await verified(door, second) == await verified(door, first) == 401
        assert (await renew(door, second["refreshToken"]))[0] == 401
        assert await verified(door, other) == 200, "another session of the wallet goes on"
        assert ("warning", "refresh_token_reused") in {line[:2] for line in door.log.lines}


async def test_refresh_fifty_times_at_once_is_one_successor(door: Door) -> None:
    first = await door.session_of()
    answers = await asyncio.gather(*(renew(door, first["refreshToken"]) for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["data"]["refreshToken"] for _, answer in answers}) == 1


async def test_refresh_of_a_made_up_token_ends_nothing(door: Door) -> None:
    session = await door.session_of()
    token = session["refreshToken"]
    sid = token.split(".")[1]
    forged = [
        f"rt.{sid}.0.{'A' * 43}.{'A' * 22}",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.replace(".0.", ".1."),
        f"rt.{'0' * 32}.0.{'A' * 43}.{'A' * 22}",
        "",
        "rt",
        "rt." + "é" * 60,
    ]
    for one in forged:
        status, answer = await renew(door, one)
        assert (status, answer["error"]["code"]) == (401, "unauthorized"), one
    assert await verified(door, session) == 200
    assert (await renew(door, token))[0] == 200


async def test_session_ends_at_its_time_whatever_is_renewed(
    mongodb_url: str, redis_url: str
) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=1_000) as door:
        session = await door.session_of()
        clock.now += 600
        _, answer = await renew(door, session["refreshToken"])
        session = answer["data"]
        assert (session["expiresIn"], session["refreshExpiresIn"]) == (400, 400)
        clock.now += 401
        assert await verified(door, session) == 401
        assert (await renew(door, session["refreshToken"]))[0] == 401


async def test_logout_ends_this_session_and_everywhere_all(door: Door) -> None:
    one, two, three = [await door.session_of() for _ in range(3)]
    status, answer = await door.post("/api/auth/logout", headers=headers_of(one))
    assert (status, answer["data"]) == (200, {"ended": 1})
    assert await verified(door, one) == 401
    assert (await renew(door, one["refreshToken"]))[0] == 401
    _, answer = await door.post("/api/auth/logout", {"everywhere": True}, headers=headers_of(two))
    assert answer["data"] == {"ended": 2}
    assert await verified(door, two) == await verified(door, three) == 401


async def test_logout_everywhere_ends_more_than_one_page_of_sessions(door: Door) -> None:
    first = await door.session_of()
    address, now = bytes.fromhex(door.account.address[2:]), door.clock()
    for number in range(120):
        await door.sessions.open(
            f"{number:032x}",
            address=address,
            family=b"f",
            refresh_hash=b"h",
            now=now + number,
            expires=now + 900,
        )
    headers = headers_of(first)
    _, answer = await door.post("/api/auth/logout", {"everywhere": True}, headers=headers)
    assert answer["data"] == {"ended": 121}
    assert await door.sessions.of(address, now) == []


async def test_access_token_counts_at_once_while_redis_does_not_answer(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await door.session_of()

    async def hangs(sid: str) -> bool:
        await asyncio.sleep(60)
        return False

    monkeypatch.setattr(door.sessions, "ended", hangs)
    monkeypatch.setattr("gateway.login.ENDED_TIMEOUT_S", 0.2)
    began = asyncio.get_running_loop().time()
    for _ in range(20):
        assert await verified(door, session) == 200
    assert asyncio.get_running_loop().time() - began < 3, "one of them found out for all"


async def test_sessions_are_listed_and_ended_one_by_one(door: Door) -> None:
    mine, other = await door.session_of(), await door.session_of()
    theirs = await door.session_of(Account.create())
    status, answer = await door.get("/api/auth/sessions", headers=headers_of(mine))
    Reply[replies.SessionsData].model_validate(answer)
    items = answer["data"]["items"]
    assert status == 200 and sorted(one["current"] for one in items) == [False, True]
    (sid,) = [one["sid"] for one in items if not one["current"]]
    path = f"/api/auth/sessions/{sid}"
    assert (await door.ask("DELETE", path, headers=headers_of(theirs)))[0] == 404
    assert await verified(door, other) == 200
    for _ in range(2):
        assert (await door.ask("DELETE", path, headers=headers_of(mine)))[0] == 200
    assert await verified(door, other) == 401 and await verified(door, mine) == 200


async def test_secret_is_changed_without_logging_anybody_out(
    mongodb_url: str, redis_url: str
) -> None:
    new = "a newer secret of more than thirty-two bytes"
    async with lobby(mongodb_url, redis_url) as door:
        session = await door.session_of()
    async with lobby(mongodb_url, redis_url, jwt_secret=new, jwt_secrets_old=(SECRET,)) as door:
        assert await verified(door, session) == 200
        _, answer = await renew(door, session["refreshToken"])
        renewed = answer["data"]
    async with lobby(mongodb_url, redis_url, jwt_secret=new) as door:
        assert await verified(door, session) == 401
        assert await verified(door, renewed) == 200


async def test_access_token_counts_while_redis_is_away(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await door.session_of()
    monkeypatch.setattr("gateway.login.ENDED_RETRY_S", 0.0)
    real, door.sessions._redis = door.sessions._redis, valkey.connect("redis://127.0.0.1:1")
    assert await verified(door, session) == 200
    status, answer = await door.post("/api/auth/logout", headers=headers_of(session))
    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    door.sessions._redis = real
    assert (await door.post("/api/auth/logout", headers=headers_of(session)))[0] == 200
    assert (await renew(door, session["refreshToken"]))[0] == 401
    assert await verified(door, session) == 401


# ------------------------------------------------------------------------ users


async def test_user_sees_and_changes_himself_strangers_his_profile(door: Door) -> None:
    headers = headers_of(await door.session_of())
    _, answer = await door.get("/api/users/me", headers=headers)
    Reply[replies.UserData].model_validate(answer)
    change = {
        "profile": {"name": "Ann", "bio": "火", "avatarUrl": AVATAR, "locale": "id"},
        "settings": {"slippage": 2.5, "currency": "USD"},
    }
    status, answer = await door.ask("PATCH", "/api/users/me", json=change, headers=headers)
    assert (status, answer["data"]["profile"]) == (200, change["profile"])
    assert answer["data"]["settings"] == {"slippage": 2.5, "currency": "USD", "theme": None}
    taken = {"profile": {"bio": None}}
    _, answer = await door.ask("PATCH", "/api/users/me", json=taken, headers=headers)
    assert answer["data"]["profile"] == change["profile"] | {"bio": None}
    status, answer = await door.get(f"/api/users/{door.account.address}")
    Reply[replies.PublicUserData].model_validate(answer)
    assert answer["data"]["profile"]["name"] == "Ann"
    assert (await door.get(f"/api/users/{Account.create().address}"))[0] == 404


@pytest.mark.parametrize(
    "change",
    [
        {"role": "admin"},
        {"profile": {"name": ""}},
        {"profile": {"name": "x" * 51}},
        {"profile": {"name": "\u202ebb"}},
        {"profile": {"avatarUrl": "javascript:alert(1)"}},
        {"profile": {"locale": "xx"}},
        {"profile": {"$where": "1"}},
        {"settings": {"slippage": 51}},
        {"settings": {"slippage": "NaN"}},
        [],
    ],
    ids=str,
)
async def test_user_change_that_is_none_of_his_business_is_refused(door: Door, change: Any) -> None:
    headers = headers_of(await door.session_of())
    before = (await door.get("/api/users/me", headers=headers))[1]["data"]
    status, answer = await door.ask("PATCH", "/api/users/me", json=change, headers=headers)
    codes = {"slippage": "invalid_slippage", "avatarUrl": "invalid_link"}
    code = next((codes[name] for name in codes if name in str(change)), "invalid_request")
    assert (status, answer["error"]["code"]) == (400, code)
    assert (await door.get("/api/users/me", headers=headers))[1]["data"] == before


# --------------------------------------------------------------- administrators


async def test_admin_gives_a_role_and_it_stands_in_the_log(door: Door) -> None:
    user, admin = await door.session_of(), headers_of(await door.session_of(ADMIN))
    path = f"/api/admin/users/{door.account.address}/role"
    status, answer = await door.ask("PUT", path, json={"role": "moderator"}, headers=admin)
    Reply[replies.UserData].model_validate(answer)
    assert (status, answer["data"]["role"]) == (200, "moderator")
    assert await verified(door, user) == 401, "its token says the old role"
    again = await door.session_of()
    assert again["user"]["role"] == "moderator"
    status, answer = await door.get("/api/admin/audit?limit=1", headers=admin)
    Reply[replies.AuditData].model_validate(answer)
    (entry,) = answer["data"]["items"]
    assert (entry["actor"], entry["action"]) == (ADMIN.address, "set_role")
    assert entry["change"] == {"from": "user", "to": "moderator"}
    assert entry["target"] == door.account.address.lower()


async def test_admin_logs_a_wallet_out_and_pages_through_the_log(door: Door) -> None:
    sessions = [await door.session_of() for _ in range(2)]
    admin = headers_of(await door.session_of(ADMIN))
    path = f"/api/admin/users/{door.account.address}/logout"
    assert (await door.post(path, headers=admin))[1]["data"] == {"ended": 2}
    assert [await verified(door, one) for one in sessions] == [401, 401]
    assert (await door.post(path, headers=admin))[1]["data"] == {"ended": 0}
    seen, cursor = [], ""
    while cursor is not None:
        _, answer = await door.get(f"/api/admin/audit?limit=1{cursor}", headers=admin)
        data = answer["data"]
        seen += [one["id"] for one in data["items"]]
        cursor = f"&cursor={data['cursor']}" if data["cursor"] else None
    assert len(seen) == len(set(seen)) == 2 and seen == sorted(seen, reverse=True)


async def test_admin_role_needs_a_user_and_a_known_role(door: Door) -> None:
    admin = headers_of(await door.session_of(ADMIN))
    path = f"/api/admin/users/{Account.create().address}/role"
    assert (await door.ask("PUT", path, json={"role": "admin"}, headers=admin))[0] == 404
    assert (await door.ask("PUT", path, json={"role": "owner"}, headers=admin))[0] == 400
    assert (await door.get("/api/admin/audit", headers=admin))[1]["data"]["items"] == []


async def test_login_during_a_change_of_role_keeps_no_old_role(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, other = headers_of(await door.session_of(ADMIN)), Account.create()
    await door.session_of(other)
    path = f"/api/admin/users/{other.address}/role"
    assert (await door.ask("PUT", path, json={"role": "admin"}, headers=admin))[0] == 200
    connect = door.people.connect

    async def slow(address: bytes, now: float) -> Any:
        user = await connect(address, now)
        assert (await door.ask("PUT", path, json={"role": "user"}, headers=admin))[0] == 200
        return user

    monkeypatch.setattr(door.people, "connect", slow)
    session = await door.session_of(other)
    status, _ = await door.get("/api/admin/audit", headers=headers_of(session))
    assert status in (401, 403)


async def test_logout_everywhere_that_redis_did_not_hear_is_said_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = await door.session_of(), await door.session_of()
    body = {"everywhere": True}
    with monkeypatch.context() as patched:
        patched.setattr(door.sessions._redis, "pipeline", gone)
        status, _ = await door.post("/api/auth/logout", body, headers=headers_of(session))
        assert status == 503
        assert (await renew(door, other["refreshToken"]))[0] == 503, "no new tokens from now on"
    status, answer = await door.post("/api/auth/logout", body, headers=headers_of(session))
    assert (status, answer["data"]) == (200, {"ended": 2})
    assert await verified(door, session) == await verified(door, other) == 401


def gone(**_: Any) -> Any:
    raise ConnectionError("Expected Redis")
