"""Token documents given late, over the real application."""

from dataclasses import replace
from typing import Any

import pytest

from engine import text
from gateway import replies
from gateway.metadata import metadata_hash
from gateway.replies import Reply
from storage import documents
from storage.documents import Documents
from tests.support.gateway import Door, headers_of, open_door
from tests.support.lobby import lobby

NAME = "ab" * 32
DOCUMENT = {
    "name": "Tide",
    "symbol": "TIDE",
    "description": "Café",
    "imageUrl": f"https://risecurve.example/media/{NAME}.png",
    "website": "https://tide.example",
    "telegram": "@tide_club",
    "twitter": "https://x.com/tide",
}


def launched(door: Door, document: dict[str, str]) -> bytes:
    """A recorded token that was launched with this document's hash."""
    token = door.tokens[0]
    record = replace(door.reads.records[token], metadata_hash=metadata_hash(document))
    door.reads.records[token] = record
    return token


async def put(door: Door, token: bytes, document: dict[str, Any]) -> tuple[int, Any]:
    return await door.ask("PUT", f"/api/tokens/{text.address(token)}/metadata", json=document)


async def test_document_posted_late_is_taken_from_anybody_by_its_hash(mongodb_url: str) -> None:
    client = documents.connect(mongodb_url)
    store = Documents(documents.database(client))
    await store.prepare()
    async with open_door(stores={"documents": store}) as door:
        token = launched(door, DOCUMENT)
        _, answer = await door.get(f"/api/tokens/{text.address(token)}")
        assert answer["data"]["metadata"] is None
        # In another form of the same text, and twice.
        for description in ("Cafe\u0301", "Café"):
            status, answer = await put(door, token, DOCUMENT | {"description": description})
            assert (status, answer["data"]["metadata"]) == (200, DOCUMENT)
            Reply[replies.DocumentData].model_validate(answer)
        _, answer = await door.get(f"/api/tokens/{text.address(token)}")
        assert answer["data"]["metadata"] == DOCUMENT
        _, answer = await door.get("/api/tokens")
        assert answer["data"]["items"][0]["metadata"] == DOCUMENT
        # It is there for ever, and so is its image.
        assert await store.unmined(door.clock() + 1e9, 10) == []
        assert await store.named_images([NAME]) == {NAME}
    await client.close()


async def test_document_that_is_not_the_tokens_is_refused(door: Door) -> None:
    token = launched(door, DOCUMENT)
    for other in (
        {"description": "Other"},
        {"website": ""},
        {"name": "tide"},
        {"symbol": "TIDES"},
        {"twitter": None},
    ):
        status, answer = await put(door, token, DOCUMENT | other)
        assert (status, answer["error"]["code"]) == (409, "metadata_mismatch"), other
    # One whose hash is right and whose name is another's: a token in disguise.
    disguise = DOCUMENT | {"name": "Wave"}
    status, answer = await put(door, launched(door, disguise), disguise)
    assert (status, answer["error"]["code"]) == (409, "metadata_mismatch")
    status, answer = await put(door, bytes(20), DOCUMENT)
    assert (status, answer["error"]["code"]) == (404, "token_not_found")
    status, answer = await put(door, token, DOCUMENT | {"website": "javascript:alert(1)"})
    assert (status, answer["error"]["code"]) == (400, "invalid_link")
    status, answer = await put(door, token, DOCUMENT | {"curve": "linear"})
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert door.documents.stored == {}


@pytest.mark.parametrize(
    "wrong", [{"description": "Changed in the store"}, {"name": "Wave"}, {"symbol": "WAVE"}]
)
async def test_market_shows_only_a_document_that_matches(door: Door, wrong: Any) -> None:
    token = launched(door, DOCUMENT)
    stored = DOCUMENT | wrong
    door.documents.stored[door.reads.records[token].metadata_hash] = stored
    for path in (f"/api/tokens/{text.address(token)}", "/api/tokens"):
        _, answer = await door.get(path)
        data = answer["data"]
        shown = data["items"][0] if "items" in data else data
        assert (shown["metadata"], shown["name"]) == (None, "Tide")
    # Also when the launch itself holds the hash of a document with another's name.
    if "description" not in wrong:
        token = launched(door, stored)
        door.documents.stored[door.reads.records[token].metadata_hash] = stored
        _, answer = await door.get(f"/api/tokens/{text.address(token)}")
        assert answer["data"]["metadata"] is None


async def test_launch_and_profile_keep_the_images_they_name(
    mongodb_url: str, redis_url: str
) -> None:
    async with lobby(mongodb_url, redis_url) as door:
        await door.documents.prepare()
        headers = headers_of(await door.session_of())
        other = "cd" * 32
        link = f"https://risecurve.example/media/{other}.webp"
        profile = {"profile": {"avatarUrl": link}}
        status, _ = await door.ask("PATCH", "/api/users/me", json=profile, headers=headers)
        assert status == 200
        body = {name: DOCUMENT[name] for name in ("name", "symbol", "imageUrl")}
        status, _ = await door.post("/api/tokens/create", body, headers=headers)
        assert status == 200
        assert await door.documents.named_images([NAME, other]) == {NAME, other}
        gone = {"profile": {"avatarUrl": None}}
        await door.ask("PATCH", "/api/users/me", json=gone, headers=headers)
        assert await door.documents.named_images([NAME, other]) == {NAME}
        # Not mined: it is looked at when it is old.
        assert len(await door.documents.unmined(door.clock() + 1, 10)) == 1
