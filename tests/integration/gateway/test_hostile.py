"""Somebody who means harm, at the real application with real stores of people."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import jwt
import pytest
import socketio
from eth_account import Account
from eth_account.messages import encode_defunct

from gateway import keys
from gateway.auth import _kid
from gateway.routes import API, Access
from tests.support.gateway import PUBLIC_URL, SECRET, Door, headers_of, siwe_message
from tests.support.lobby import ADMIN, Clock, lobby

MALLORY = Account.create()
NO_TEXT = (b"\xff", b"\xed\xa0\x80", b"\xc3\x28", "\u202e".encode(), "é".encode())
ODD_WORDS = ("%FF", "%00", "%ED%A0%80", "%C3%28", "%2E%2E", "%E2%84%AA", "%0D%0A", "%F0%9F%92%A9")


@pytest.fixture
def door(people_door: Door) -> Door:
    return people_door


async def raw(door: Door, lines: Iterable[bytes], body: bytes = b"") -> bytes:
    """The answer's head to bytes that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port)
    head = [*lines, b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body)]
    writer.write(b"\r\n".join([*head, b"", body]))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# ------------------------------------------------------------------------- tokens


def forged(headers: dict[str, str], claims: dict[str, Any], **head: Any) -> dict[str, str]:
    """Signed with the right secret: what a leak, or a sister system with it, could make."""
    token = headers["Authorization"].removeprefix("Bearer ")
    good = jwt.decode(token, options={"verify_signature": False})
    made = jwt.encode(good | claims, SECRET, "HS256", headers={"kid": _kid(SECRET)} | head)
    return {"Authorization": f"Bearer {made}"}


async def test_token_of_another_chain_with_our_secret_is_unauthorized(door: Door) -> None:
    headers = await door.login()
    assert (await door.get("/api/users/me", headers=forged(headers, {})))[0] == 200
    other = forged(headers, {"chainId": 1, "role": "admin"})
    for method, path in (("GET", "/api/users/me"), ("GET", "/api/admin/audit")):
        assert (await door.ask(method, path, headers=other))[0] == 401
    token = other["Authorization"].removeprefix("Bearer ")
    socket = socketio.AsyncClient(reconnection=False)
    await socket.connect(door.url, transports=["websocket"])
    answer = await socket.call("authenticate", {"token": token}, timeout=5)
    assert answer["error"]["code"] == "unauthorized"
    await socket.disconnect()


@pytest.mark.parametrize("claims", [{"aud": ["else"]}, {"iss": "else"}, {"role": "root"}])
async def test_token_with_a_claim_that_is_not_ours_is_unauthorized(
    door: Door, claims: dict[str, Any]
) -> None:
    headers = await door.login()
    assert (await door.get("/api/users/me", headers=forged(headers, claims)))[0] == 401


@pytest.mark.parametrize("head", [{"crit": ["b64"]}, {"kid": "../../x"}, {"kid": ["a"]}])
async def test_token_with_a_header_that_is_not_ours_is_unauthorized(
    door: Door, head: dict[str, Any]
) -> None:
    headers = await door.login()
    try:
        made = forged(headers, {}, **head)
    except (TypeError, jwt.PyJWTError):
        pytest.skip("the library does not even make it")
    assert (await door.get("/api/users/me", headers=made))[0] == 401


# --------------------------------------------------------------------- no text, odd words


@pytest.mark.parametrize("value", NO_TEXT)
async def test_login_with_a_user_agent_that_is_no_text_works(door: Door, value: bytes) -> None:
    _, nonce = await door.post("/api/auth/nonce")
    message = siwe_message(door.account, nonce["data"]["nonce"])
    signed = door.account.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
    body = {"walletAddress": door.account.address, "message": message, "signature": signed}
    lines = [b"POST /api/auth/connect HTTP/1.1", b"User-Agent: a" + value]
    answer = await raw(door, lines, json.dumps(body).encode())
    assert status_of(answer) == 200, answer
    token = json.loads(answer.split(b"\r\n\r\n", 1)[1])["data"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await door.get("/api/auth/sessions", headers=headers))[0] == 200


async def test_headers_that_are_no_text_are_no_fault_of_ours(door: Door) -> None:
    names = (
        *("Origin", "Accept-Language", "Idempotency-Key", "X-Request-Id", "If-None-Match"),
        *("X-Forwarded-For", "X-API-Key", "Authorization", "Content-Encoding", "Range"),
        *("Accept-Encoding", "CF-IPCountry", "Content-Type"),
    )
    for name in names:
        for value in NO_TEXT:
            for line in (b"GET /api/tokens HTTP/1.1", b"POST /api/referral/code HTTP/1.1"):
                answer = await raw(door, [line, name.encode() + b": " + value], b"{}")
                assert status_of(answer) < 500, (name, value, answer)


async def test_paths_with_odd_words_are_no_fault_of_ours(door: Door) -> None:
    headers = headers_of(await door.session_of(ADMIN))
    for route in [one for one in API if "{" in one.path]:
        for word in ODD_WORDS:
            before, _, rest = route.path.partition("{")
            path = f"/api{before}{word}{rest.partition('}')[2]}"
            line = f"{route.method} {path} HTTP/1.1".encode()
            sent = f"Authorization: {headers['Authorization']}".encode()
            answer = await raw(door, [line, sent], b"{}")
            assert status_of(answer) < 500 or status_of(answer) == 501, (route.path, word, answer)


# ---------------------------------------------------------------------------- keys


async def test_keys_asked_for_at_once_stay_within_their_bound(door: Door) -> None:
    headers = await door.login()
    body = {"name": "bot", "scopes": ["read"]}
    made = await asyncio.gather(
        *(door.post("/api/keys", body, headers=headers) for _ in range(keys.KEYS_MAX * 3))
    )
    good = [answer["data"] for status, answer in made if status == 200]
    assert {status for status, _ in made} == {200, 400} and len(good) == keys.KEYS_MAX
    usable = [
        (await door.get("/api/users/me", headers={keys.HEADER: one["key"]}))[0] for one in good
    ]
    assert usable == [200] * len(good)
    assert await door.api_keys._keys.count_documents({"endedAt": None}) == len(good)
    assert (await door.post("/api/keys", body, headers=headers))[0] == 400


async def test_nobody_reaches_anothers_sessions_or_keys(door: Door) -> None:
    mine = await door.session_of()
    headers, theirs = headers_of(mine), headers_of(await door.session_of(MALLORY))
    _, answer = await door.get("/api/auth/sessions", headers=headers)
    sid = answer["data"]["items"][0]["sid"]
    body = {"name": "bot", "scopes": ["read", "trade"]}
    key = (await door.post("/api/keys", body, headers=headers))[1]["data"]
    for path in (f"/api/auth/sessions/{sid}", f"/api/keys/{key['id']}"):
        assert (await door.ask("DELETE", path, headers=theirs))[0] == 404
        assert (await door.ask("DELETE", path, headers={keys.HEADER: key["key"]}))[0] == 403
    for path in ("/api/auth/sessions", "/api/keys"):
        _, answer = await door.get(path, headers=theirs)
        assert sid not in json.dumps(answer) and key["id"] not in json.dumps(answer)
    assert (await door.get("/api/users/me", headers=headers))[0] == 200
    assert (await door.get("/api/users/me", headers={keys.HEADER: key["key"]}))[0] == 200
    admin_paths = [route for route in API if route.access is Access.ADMIN]
    for route in admin_paths:
        path = "/api" + route.path.replace("{address}", MALLORY.address)
        path = path.replace("{id}", "0x" + "11" * 32)
        assert (await door.ask(route.method, path, json={}, headers=theirs))[0] == 403


async def test_key_of_an_administrator_is_no_administrator(door: Door) -> None:
    headers = headers_of(await door.session_of(ADMIN))
    body = {"name": "bot", "scopes": ["read", "trade"]}
    key = (await door.post("/api/keys", body, headers=headers))[1]["data"]["key"]
    for route in API:
        if route.access is Access.ADMIN or route.path.startswith(("/keys", "/auth/sessions")):
            path = "/api" + route.path.replace("{address}", MALLORY.address)
            path = path.replace("{id}", "0x" + "11" * 32)
            path = path.replace("{id}", "0").replace("{sid}", "0")
            answer = await door.ask(route.method, path, json={}, headers={keys.HEADER: key})
            assert answer[0] == 403, route


# ------------------------------------------------------------------------- answers kept


async def test_same_idempotency_key_of_two_wallets_has_two_answers(door: Door) -> None:
    again = {"Idempotency-Key": "1"}
    first = headers_of(await door.session_of()) | again
    second = headers_of(await door.session_of(MALLORY)) | again
    one = await door.post("/api/referral/code", {}, headers=first)
    other = await door.post("/api/referral/code", {}, headers=second)
    assert one[0] == other[0] == 200 and one[1]["data"] != other[1]["data"]
    assert (await door.post("/api/referral/code", {}, headers=first))[1] == one[1]
    stranger = await door.post("/api/referral/code", {}, headers=again)
    assert stranger[0] == 401


async def test_anothers_etag_gives_nobody_anothers_answer(door: Door) -> None:
    mine = headers_of(await door.session_of())
    theirs = headers_of(await door.session_of(MALLORY))
    async with door.session.get(door.url + "/api/users/me", headers=mine) as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in ", ".join(answer.headers.getall("Vary"))
    status, answer = await door.get("/api/users/me", headers=theirs | {"If-None-Match": tag})
    assert (status, answer["data"]["walletAddress"]) == (200, MALLORY.address)
    status, answer = await door.get("/api/users/me?fields=role,refreshToken,family", headers=mine)
    assert set(answer["data"]) == {"role"}


async def test_answers_with_secrets_are_never_compressed_nor_kept(door: Door) -> None:
    _, nonce = await door.post("/api/auth/nonce")
    message = siwe_message(door.account, nonce["data"]["nonce"])
    squeezed = {"Accept-Encoding": "gzip, deflate"}
    headers = await door.login()
    for path, body in (
        ("/api/auth/connect", {"message": message}),
        ("/api/keys", {"name": "bot", "scopes": ["read"]}),
    ):
        async with door.session.post(door.url + path, json=body, headers=headers | squeezed) as one:
            assert "Content-Encoding" not in one.headers
            assert one.headers["Cache-Control"] == "no-store"


# ------------------------------------------------------------------------------ origins

ORIGINS = (
    *("null", "https://app.example.evil.com", "https://evilapp.example", "http://app.example"),
    *("https://app.example:444", "https://APP.example", "https://app.example.", "https://app.ex"),
    *("https://app.example https://evil.com", "https://app.example/", "file://", ""),
    *("https://user@app.example", "https://app.example%00.evil.com", "https://xn--pp-yia.example"),
)


@pytest.mark.parametrize("origin", ORIGINS)
async def test_foreign_origin_is_allowed_nothing(door: Door, origin: str) -> None:
    for options in (
        {"method": "GET", "url": "/api/tokens"},
        {"method": "OPTIONS", "url": "/api/users/me"},
        {"method": "GET", "url": "/api/nothing"},
    ):
        headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
        url = door.url + options["url"]
        async with door.session.request(options["method"], url, headers=headers) as answer:
            found = {name for name in answer.headers if name.startswith("Access-Control")}
            assert found == set()
            assert "Origin" in ", ".join(answer.headers.getall("Vary"))


async def test_answer_without_an_origin_says_that_it_depends_on_it(door: Door) -> None:
    # Else a cache could give a page the answer that was made for nobody's page.
    for headers in ({}, {"Origin": "https://app.example"}, {"Origin": PUBLIC_URL}):
        async with door.session.get(door.url + "/api/tokens", headers=headers) as answer:
            assert "Origin" in ", ".join(answer.headers.getall("Vary"))
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            assert allowed == headers.get("Origin")
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_every_answer_is_no_page_and_no_frame(door: Door) -> None:
    for path in ("/api/tokens", "/api/nothing", "/api/users/me", "/healthz", "/docs"):
        async with door.session.get(door.url + path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_method_that_a_path_has_not_is_refused_with_those_it_has(door: Door) -> None:
    # A path that a variable would take for its value too has its own methods only.
    for path, allowed in (("referral/bind", "POST"), ("tokens/create", "POST"), ("keys", "")):
        for method in ("OPTIONS", "GET", "PUT", "TRACE", "DELETE", "QUERY"):
            async with door.session.request(method, f"{door.url}/api/{path}") as answer:
                if path != "keys":
                    assert (answer.status, answer.headers["Allow"]) == (405, allowed), method
                assert answer.status in (401, 405)


# ------------------------------------------------------------------------------ addresses


async def test_untrusted_peer_cannot_be_somebody_else(mongodb_url: str, redis_url: str) -> None:
    async with lobby(mongodb_url, redis_url, writes_per_window=5) as door:
        found = [
            (await door.post("/api/auth/nonce", headers={"X-Forwarded-For": f"10.1.2.{n}"}))[0]
            for n in range(8)
        ]
    assert found == [200] * 5 + [429] * 3


async def test_made_up_keys_over_the_budget_ask_no_store(mongodb_url: str, redis_url: str) -> None:
    async with lobby(mongodb_url, redis_url, reads_per_minute=10) as door:
        asked = 0
        real = door.api_keys.find

        async def find(id: str) -> Any:
            nonlocal asked
            asked += 1
            return await real(id)

        door.api_keys.find = find
        found = [
            (await door.get("/api/tokens", headers={keys.HEADER: f"rk_{n:016x}_{'a' * 43}"}))[0]
            for n in range(30)
        ]
    assert found == [401] * 10 + [429] * 20
    assert asked <= 12


# -------------------------------------------------------------------------------- codes

LOOKALIKES = (
    *("\u212aelvin", "moo\u0578", "\uff2d\uff2f\uff2f\uff2e", "mo\u0131n", "\u0130moon"),
    *("moon\u0301", "m\u200boon", "moon\n", "moon\0", " moon", "mo.on", "m\u043eon"),
    *("moon\u202e", "\uff11\uff12\uff13"),
)


@pytest.mark.parametrize("code", LOOKALIKES)
async def test_code_that_looks_like_another_is_refused(door: Door, code: str) -> None:
    headers = await door.login()
    for path, body in (("code", {"code": code}), ("bind", {"code": code})):
        status, answer = await door.post(f"/api/referral/{path}", body, headers=headers)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
    async with door.session.get(door.url + f"/api/referral/{code}") as answer:
        assert answer.status in (400, 404)


async def test_twenty_binds_at_once_make_neither_loop_nor_two_referrers(
    mongodb_url: str, redis_url: str
) -> None:
    clock, people = Clock(), [Account.create() for _ in range(5)]
    async with lobby(mongodb_url, redis_url, clock=clock) as door:
        held = [headers_of(await door.session_of(one)) for one in people]  # in one instant
        for number, headers in enumerate(held):
            await door.post("/api/referral/code", {"code": f"ring{number}"}, headers=headers)
        await asyncio.gather(
            *(
                door.post("/api/referral/bind", {"code": f"ring{other}"}, headers=held[number])
                for number in range(5)
                for other in range(5)
            )
        )
        users = [one async for one in door.people._users.find()]
        above = {one["_id"]: (one.get("referral") or {}).get("by") for one in users}
        assert sum(by is not None for by in above.values()) == 4
        for start in above:
            seen, at = set(), start
            while at is not None:
                assert at not in seen, "a loop"
                seen.add(at)
                at = above[at]


LINKS = ("javascript:alert(1)", "java\nscript:x", "x\ny", "data:text/html,x", "https://a\u202eb.c")


@pytest.mark.parametrize("link", LINKS)
async def test_link_that_is_none_is_refused(door: Door, link: str) -> None:
    headers, body = await door.login(), {"profile": {"avatarUrl": link}}
    status, answer = await door.ask("PATCH", "/api/users/me", json=body, headers=headers)
    assert (status, answer["error"]["code"]) == (400, "invalid_link")


# ------------------------------------------------------------------------------- pages

CURSORS = ("x", "-1", "0", "9" * 40, "0x" + "f" * 40, "1~fee:" + "z" * 150, "%FF", "$ne", "[]")
PAGES = ("/api/referral/tree", "/api/referral/earnings", "/api/admin/audit", "/api/trades")
HUGE = ("/api/points/leaderboard", "/api/analytics/leaderboard", "/api/tokens")


async def test_forged_cursors_and_huge_pages_find_nothing(door: Door) -> None:
    headers = headers_of(await door.session_of(ADMIN))
    ledger = f"/api/points/ledger?address={MALLORY.address}&cursor="
    for path in (*(f"{page}?cursor=" for page in PAGES), ledger):
        for cursor in CURSORS:
            status, answer = await door.get(path + cursor, headers=headers)
            assert status in (200, 400), (path, cursor, answer)
            assert status == 400 or answer["data"]["items"] == []
    # A ledger may well be longer than a list has pages.
    for cursor, expected in (("1000001", 200), (str(2**53 - 1), 200), (str(2**53), 400)):
        assert (await door.get(ledger + cursor))[0] == expected
    for path in HUGE:
        status, answer = await door.get(f"{path}?page=1000000&limit=100")
        assert (status, answer["data"]["items"]) == (200, [])
        assert (await door.get(f"{path}?page=1000001"))[0] == 400


# ------------------------------------------------------------------------------- login

MESSAGES = {
    "cyrillic domain": {"domain": "r\u0456securve.example"},
    "user in the domain": {"domain": "risecurve.example@evil.com"},
    "suffix": {"domain": "risecurve.example.evil.com"},
    "port": {"domain": "risecurve.example:8443"},
    "scheme": {"domain": "http://risecurve.example"},
    "host of the URI": {"URI": "https://risecurve.example@evil.com"},
    "scheme of the URI": {"URI": "http://risecurve.example"},
    "statement with a field in it": {"statement": "x\nURI: https://evil.com"},
    "statement with a return": {"statement": "x\rURI: https://evil.com"},
    "chain id of two": {"Chain_ID": "11155931\nChain ID: 1"},
    "version": {"Version": "2"},
    "long ago": {"Issued_At": "2020-01-01T00:00:00Z"},
    "in the future": {"Issued_At": "2999-01-01T00:00:00Z"},
    "no such day": {"Issued_At": "2026-02-30T00:00:00Z"},
    "not yet": {"Not_Before": "2999-01-01T00:00:00Z"},
    "expired": {"Expiration_Time": "2020-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("case", MESSAGES)
async def test_login_with_a_message_that_is_not_for_us_is_refused(door: Door, case: str) -> None:
    _, nonce = await door.post("/api/auth/nonce")
    message = siwe_message(door.account, nonce["data"]["nonce"], **MESSAGES[case])
    status, answer = await door.connect(door.account, message)
    assert status in (400, 401), answer
    assert await door.sessions._sessions.count_documents({}) == 0


async def test_login_for_another_in_any_spelling_of_his_address_is_refused(door: Door) -> None:
    victim = Account.create()
    for spelling in (victim.address, victim.address.lower(), "0x" + victim.address[2:].upper()):
        _, nonce = await door.post("/api/auth/nonce")
        message = siwe_message(MALLORY, nonce["data"]["nonce"], address=spelling)
        for claimed in (victim.address, MALLORY.address):
            signed = MALLORY.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
            body = {"walletAddress": claimed, "message": message, "signature": signed}
            assert (await door.post("/api/auth/connect", body))[0] in (400, 401)
    assert await door.people.find(bytes.fromhex(victim.address[2:])) is None
