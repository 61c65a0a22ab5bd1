import asyncio
import secrets

import pytest

from engine.errors import TransientError
from storage import documents
from storage.documents import Documents

ALICE, BOB = bytes([0xAA] * 20), bytes([0xBB] * 20)
NOW = 1_800_000_000


async def test_prepare_twice_at_once_is_harmless(people):
    await asyncio.gather(people.prepare(), people.prepare())
    await people.ping()


async def test_connect_user_makes_the_document_at_the_first_login(people):
    assert await people.user(ALICE) is None
    first = await people.connect_user(ALICE, NOW)
    again = await people.connect_user(ALICE, NOW + 60)
    assert first["_id"] == first["walletAddress"] == "0x" + "aa" * 20
    assert (first["role"], first["logins"], again["logins"]) == ("user", 1, 2)
    assert first["createdAt"] == again["createdAt"] < again["lastLoginAt"]
    assert await people.user(ALICE) == again
    assert await people.count_users() == 1


async def test_connect_user_many_at_once_make_one_document(people):
    for _ in range(5):
        wallet = secrets.token_bytes(20)
        users = await asyncio.gather(*(people.connect_user(wallet, NOW) for _ in range(20)))
        assert sorted(user["logins"] for user in users) == list(range(1, 21))
    assert await people.count_users() == 5


async def test_session_opens_once(people):
    assert await people.session("one") is None
    await people.open_session("one", address=ALICE, now=NOW, expires=NOW + 900)
    await people.open_session("one", address=BOB, now=NOW, expires=NOW + 900)
    session = await people.session("one")
    assert session["address"] == "0x" + "aa" * 20
    assert session["expiresAt"].timestamp() == NOW + 900


async def test_metadata_first_document_stays(people):
    one, two, none = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)
    await people.store_metadata(
        one, {"name": "Moon", "description": "火箭"}, creator=ALICE, now=NOW
    )
    await people.store_metadata(one, {"name": "Other"}, creator=BOB, now=NOW)
    await people.store_metadata(two, {"name": "Two"}, creator=BOB, now=NOW)
    assert await people.metadata([one, two, none]) == {
        "0x" + "01" * 32: {"name": "Moon", "description": "火箭"},
        "0x" + "02" * 32: {"name": "Two"},
    }
    assert await people.metadata([]) == {}


async def test_closed_port_is_store_unavailable_within_the_timeout():
    client = documents.connect("mongodb://127.0.0.1:1", timeout_s=0.3)
    store = Documents(documents.database(client))
    calls = (
        store.ping,
        store.prepare,
        store.count_users,
        lambda: store.connect_user(ALICE, NOW),
        lambda: store.session("one"),
        lambda: store.metadata([bytes(32)]),
    )
    for call in calls:
        with pytest.raises(TransientError) as caught:
            await asyncio.wait_for(call(), 2)
        assert caught.value.code == "store_unavailable"
    await client.close()


def test_database_is_the_urls_or_ours():
    named = documents.connect("mongodb://127.0.0.1:1/mine")
    plain = documents.connect("mongodb://127.0.0.1:1/?replicaSet=rs0")
    assert documents.database(named).name == "mine"
    assert documents.database(plain).name == "risecurve"
