"""Login over the real application: nonce, connect, verify."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.support.gateway import PUBLIC_URL, Door, siwe_message, stamp


async def nonce_of(door: Door) -> str:
    _, answer = await door.post("/api/auth/nonce")
    return str(answer["data"]["nonce"])


async def test_nonce_says_what_the_message_must_say(door: Door) -> None:
    status, answer = await door.post("/api/auth/nonce")
    data = answer["data"]
    assert status == 200
    assert data["nonce"].isalnum() and len(data["nonce"]) == 32
    assert (data["domain"], data["uri"]) == ("risecurve.example", PUBLIC_URL)
    assert (data["chainId"], data["version"]) == (11155931, "1")


async def test_connect_opens_a_session_and_verify_confirms_it(door: Door) -> None:
    headers = await door.login()
    status, answer = await door.ask("POST", "/api/auth/verify", headers=headers)
    data = answer["data"]
    assert (status, data["valid"], data["role"]) == (200, True, "user")
    assert (data["walletAddress"], data["chainId"]) == (door.account.address, 11155931)
    assert data["sid"] in door.sessions.opened
    assert bytes.fromhex(door.account.address[2:]) in door.people.users


async def test_connect_with_a_used_nonce_is_unauthorized(door: Door) -> None:
    message = siwe_message(door.account, await nonce_of(door))
    assert (await door.connect(door.account, message))[0] == 200
    status, answer = await door.connect(door.account, message)
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


async def test_connect_fifty_times_at_once_opens_one_session(door: Door) -> None:
    message = siwe_message(door.account, await nonce_of(door))
    answers = await asyncio.gather(*(door.connect(door.account, message) for _ in range(50)))
    assert sorted(status for status, _ in answers) == [200] + [401] * 49
    assert len(door.sessions.opened) == 1


async def test_connect_with_a_nonce_of_nobody_is_unauthorized(door: Door) -> None:
    status, answer = await door.connect(door.account, siwe_message(door.account, "a" * 32))
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


NOW = datetime.now(UTC)
REFUSED = {
    "domain": ({"domain": "evil.example"}, 401, "unauthorized"),
    "uri": ({"URI": "https://evil.example"}, 401, "unauthorized"),
    "uri of a longer host": ({"URI": PUBLIC_URL + ".evil.example"}, 401, "unauthorized"),
    "chain": ({"Chain_ID": 1}, 400, "wrong_chain"),
    "issued in the future": (
        {"Issued_At": stamp(NOW + timedelta(hours=1))},
        401,
        "unauthorized",
    ),
    "issued long ago": ({"Issued_At": stamp(NOW - timedelta(hours=1))}, 401, "unauthorized"),
    "expired": ({"Expiration_Time": stamp(NOW - timedelta(seconds=1))}, 401, "unauthorized"),
    "not yet": ({"Not_Before": stamp(NOW + timedelta(hours=1))}, 401, "unauthorized"),
    "version": ({"Version": "2"}, 400, "invalid_request"),
    "no issued-at": ({"Issued_At": None}, 400, "invalid_request"),
    "no such day": ({"Issued_At": "2026-02-31T00:00:00Z"}, 400, "invalid_request"),
    "address of another": ({"address": Account.create().address}, 401, "unauthorized"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_connect_refuses_a_message_not_meant_for_us(door: Door, case: str) -> None:
    fields, expected, code = REFUSED[case]
    message = siwe_message(door.account, await nonce_of(door), **fields)
    status, answer = await door.connect(door.account, message)
    assert (status, answer["error"]["code"]) == (expected, code)
    assert door.sessions.opened == {}
    assert len(door.nonces.open) == 1, "Expected a refusal before the nonce is spent"


async def test_connect_with_anothers_signature_is_unauthorized(door: Door) -> None:
    message = siwe_message(door.account, await nonce_of(door))
    forged = Account.create().sign_message(encode_defunct(text=message))
    for signature in (forged.signature.to_0x_hex(), "0x", "0x" + "00" * 65):
        status, answer = await door.connect(door.account, message, signature)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


async def test_verify_without_or_with_a_broken_token_is_unauthorized(door: Door) -> None:
    headers = await door.login()
    token = headers["Authorization"].removeprefix("Bearer ")
    for value in ("", "Bearer", "Bearer ", f"Basic {token}", f"Bearer {token}x", "Bearer a.b.c"):
        async with door.session.post(
            f"{door.url}/api/auth/verify", headers={"Authorization": value}
        ) as response:
            answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (401, "unauthorized")
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_login_without_a_store_is_unavailable_and_heals(door: Door) -> None:
    door.nonces.down = True
    status, answer = await door.post("/api/auth/nonce")
    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    door.nonces.down = False
    door.people.down = True
    message = siwe_message(door.account, await nonce_of(door))
    status, answer = await door.connect(door.account, message)
    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    door.people.down = False
    await door.login()
