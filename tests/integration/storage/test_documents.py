import asyncio
import secrets

import pytest

from engine.errors import TransientError
from storage import documents
from storage.documents import Documents
from storage.people import People

ALICE, BOB = bytes([0xAA] * 20), bytes([0xBB] * 20)
NOW = 1_800_000_000


async def test_prepare_twice_at_once_is_harmless(token_documents, people, sessions):
    for store in (token_documents, people, sessions):
        await asyncio.gather(store.prepare(), store.prepare())
    await token_documents.ping()


async def test_connect_makes_the_document_at_the_first_login(people):
    assert await people.find(ALICE) is None
    first = await people.connect(ALICE, NOW)
    again = await people.connect(ALICE, NOW + 60)
    assert first["_id"] == first["walletAddress"] == "0x" + "aa" * 20
    assert (first["role"], first["logins"], again["logins"]) == ("user", 1, 2)
    assert first["createdAt"] == again["createdAt"] < again["lastSeen"]
    assert (await people.seen(ALICE, NOW + 90))["lastSeen"].timestamp() == NOW + 90
    assert (await people.connect(ALICE, NOW))["lastSeen"].timestamp() == NOW + 90
    assert await people.count() == 1


async def test_connect_many_at_once_make_one_document(people):
    for _ in range(5):
        wallet = secrets.token_bytes(20)
        users = await asyncio.gather(*(people.connect(wallet, NOW) for _ in range(20)))
        assert sorted(user["logins"] for user in users) == list(range(1, 21))
    assert await people.count() == 5


async def test_change_sets_and_takes_away_fields_of_a_user_that_is_there(people):
    assert await people.change(ALICE, {"profile.bio": "x"}, NOW) is None
    await people.connect(ALICE, NOW)
    fields = {"profile.bio": "x", "profile.name": "Al", "settings.theme": "dark"}
    await people.change(ALICE, fields, NOW)
    user = await people.change(ALICE, {"profile.bio": None}, NOW + 5)
    assert (user["profile"], user["settings"]) == ({"name": "Al"}, {"theme": "dark"})
    assert user["updatedAt"].timestamp() == NOW + 5


def opened(address=ALICE, **fields):
    values = {"family": b"f", "refresh_hash": b"0", "now": NOW, "expires": NOW + 900}
    return {"address": address} | values | fields


async def test_session_opens_once_and_is_listed_while_it_lasts(sessions):
    assert await sessions.find("one") is None
    await sessions.open("one", **opened(client="browser"))
    await sessions.open("one", **opened(BOB))
    session = await sessions.find("one")
    assert (session.address, session.expires_at, session.client) == (ALICE, NOW + 900, "browser")
    assert [one.sid for one in await sessions.of(ALICE, NOW)] == ["one"]
    assert await sessions.of(ALICE, NOW + 900) == await sessions.of(BOB, NOW) == []


async def rotated(sessions, old, new, now):
    return await sessions.rotate("one", old=old, new=new, now=now, grace_s=10)


async def test_rotate_is_done_once_and_repeatable_for_the_grace(sessions):
    await sessions.open("one", **opened())
    answers = await asyncio.gather(*(rotated(sessions, b"0", b"1", NOW + 1) for _ in range(10)))
    assert all(answers)
    assert not await rotated(sessions, b"0", b"other", NOW + 2)
    assert await rotated(sessions, b"0", b"1", NOW + 10)
    assert not await rotated(sessions, b"0", b"1", NOW + 12)
    assert await rotated(sessions, b"1", b"2", NOW + 12)
    assert not await rotated(sessions, b"0", b"1", NOW + 13)
    assert not await rotated(sessions, b"2", b"3", NOW + 900)


async def test_end_ends_only_the_wallets_own(sessions):
    await sessions.open("one", **opened())
    await sessions.open("two", **opened(BOB))
    ended = await sessions.end(["one", "two"], address=ALICE, now=NOW + 5, remember_s=60)
    assert ended == ["one"]
    assert await sessions.ended("one") and not await sessions.ended("two")
    assert (await sessions.find("one")).ended_at == NOW + 5
    again = await sessions.end(["one"], address=ALICE, now=NOW + 9, remember_s=60)
    assert again == ["one"] and (await sessions.find("one")).ended_at == NOW + 5
    assert not await rotated(sessions, b"0", b"1", NOW + 6)
    assert await sessions.of(ALICE, NOW) == []


async def test_metadata_first_document_stays(token_documents):
    one, two, none = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)
    await token_documents.store_metadata(
        one, {"name": "Moon", "description": "火箭"}, creator=ALICE, now=NOW
    )
    await token_documents.store_metadata(one, {"name": "Other"}, creator=BOB, now=NOW)
    await token_documents.store_metadata(two, {"name": "Two"}, creator=BOB, now=NOW)
    assert await token_documents.metadata([one, two, none]) == {
        "0x" + "01" * 32: {"name": "Moon", "description": "火箭"},
        "0x" + "02" * 32: {"name": "Two"},
    }
    assert await token_documents.metadata([]) == {}


HASHES = [bytes([n]) * 32 for n in range(1, 6)]


async def test_unmined_documents_are_found_when_old_and_settled(token_documents):
    for number, hash in enumerate(HASHES):
        await token_documents.store_metadata(hash, {"name": "x"}, creator=ALICE, now=NOW + number)
    assert await token_documents.unmined(NOW, 10) == []
    assert set(await token_documents.unmined(NOW + 3, 10)) == set(HASHES[:3])
    assert len(await token_documents.unmined(NOW + 3, 2)) == 2
    # Asked for again while somebody looks: it stays.
    await token_documents.store_metadata(HASHES[1], {"name": "x"}, creator=BOB, now=NOW + 50)
    for removed in (1, 0):
        gone = await token_documents.settle(HASHES[:1], HASHES[1:3], before=NOW + 3, now=NOW + 60)
        assert gone == removed
    found = await token_documents.metadata(HASHES)
    assert found.keys() == {"0x" + hash.hex() for hash in HASHES if hash != HASHES[2]}
    # The mined one is never looked at again, also when it is asked for again.
    await token_documents.store_metadata(HASHES[0], {"name": "x"}, creator=BOB, now=NOW + 70)
    assert set(await token_documents.unmined(NOW + 999, 10)) == {HASHES[n] for n in (1, 3, 4)}


async def test_document_stored_as_mined_stays_also_when_it_was_there(token_documents):
    one, two = HASHES[:2]
    await token_documents.store_metadata(one, {"name": "x"}, creator=ALICE, now=NOW)
    for hash in (one, two, one):
        await token_documents.store_metadata(
            hash, {"name": "x"}, creator=ALICE, now=NOW, mined=True
        )
    assert await token_documents.unmined(NOW + 999, 10) == []
    assert await token_documents.settle([], [one, two], before=NOW + 999, now=NOW) == 0
    assert len(await token_documents.metadata([one, two])) == 2


async def test_store_many_at_once_makes_one_document(token_documents):
    await asyncio.gather(
        *(
            token_documents.store_metadata(
                HASHES[n % 2], {"name": "x"}, creator=ALICE, now=NOW, mined=n % 3 == 0
            )
            for n in range(30)
        )
    )
    assert len(await token_documents.metadata(HASHES)) == 2
    assert await token_documents.unmined(NOW + 999, 10) == []


async def test_images_that_a_document_or_a_profile_names_are_known(token_documents, people):
    images = ["a" * 64, "b" * 64, "c" * 64]
    await token_documents.store_metadata(
        HASHES[0], {"name": "x"}, creator=ALICE, now=NOW, image=images[0]
    )
    await people.connect(ALICE, NOW)
    await people.change(ALICE, {"avatarImage": images[1]}, NOW)
    assert await token_documents.named_images(images) == set(images[:2])
    await people.change(ALICE, {"avatarImage": None}, NOW)
    assert await token_documents.named_images(images) == {images[0]}
    assert await token_documents.named_images([]) == set()


async def test_closed_port_is_store_unavailable_within_the_timeout():
    client = documents.connect("mongodb://127.0.0.1:1", timeout_s=0.3)
    store, people = Documents(documents.database(client)), People(documents.database(client))
    calls = (
        store.ping,
        store.prepare,
        people.count,
        lambda: people.connect(ALICE, NOW),
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
