"""Fields, ETag and compression of any GET."""

import gzip
from collections.abc import Mapping

import orjson
from aiohttp import ClientSession

from engine import text
from tests.support.gateway import Door


async def fetch(door: Door, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        ClientSession(auto_decompress=False) as session,
        session.get(door.url + path, headers=named) as response,
    ):
        return response.status, await response.read(), response.headers


async def test_fields_keep_names_of_data_or_of_its_items(door: Door) -> None:
    _, answer = await door.get("/api/tokens?fields=address,price,nothing")
    assert answer["data"].keys() == {"items", "page", "limit", "total"}
    assert all(item.keys() == {"address", "price"} for item in answer["data"]["items"])
    _, answer = await door.get(f"/api/tokens/{text.address(door.tokens[0])}?fields=symbol")
    assert answer["data"].keys() == {"symbol"} and answer["success"]
    for bad in ("", "a,,b", "a b", "$where", ",".join(["a"] * 51)):
        status, answer = await door.get("/api/tokens", params={"fields": bad})
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_etag_is_of_the_data_and_saves_the_second_answer(door: Door) -> None:
    status, body, headers = await fetch(door, "/api/config", Accept_Encoding="identity")
    tag = headers["ETag"]
    assert status == 200 and orjson.loads(body)["success"] and tag.startswith('W/"')
    assert headers["Cache-Control"] == "no-cache"
    for given in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        status, body, headers = await fetch(door, "/api/config", If_None_Match=given)
        assert (status, body, headers["ETag"]) == (304, b"", tag)
    assert (await fetch(door, "/api/config", If_None_Match='"other"'))[0] == 200
    one = (await fetch(door, "/api/tokens?limit=1"))[2]["ETag"]
    assert one != (await fetch(door, "/api/tokens?limit=1&fields=name"))[2]["ETag"]


async def test_etag_changes_with_the_market(door: Door) -> None:
    path = f"/api/tokens/{text.address(door.tokens[0])}"
    before = (await fetch(door, path))[2]["ETag"]
    door.scenario.buy(door.tokens[0], 10**16)
    door.markets.take(door.scenario)
    status, _, headers = await fetch(door, path, If_None_Match=before)
    assert status == 200 and headers["ETag"] != before


async def test_large_answers_are_compressed_for_those_who_can_read_it(door: Door) -> None:
    status, body, headers = await fetch(door, "/api/tokens", Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert len(orjson.loads(gzip.decompress(body))["data"]["items"]) == 2
    _, body, headers = await fetch(door, "/api/tokens", Accept_Encoding="identity")
    assert "Content-Encoding" not in headers and orjson.loads(body)["success"]
    _, _, headers = await fetch(door, "/healthz", Accept_Encoding="gzip")
    assert "Content-Encoding" not in headers


async def test_answers_to_a_login_are_private_and_errors_are_not_kept(door: Door) -> None:
    login = await door.login()
    _, _, headers = await fetch(door, "/api/config", **login)
    assert headers["Cache-Control"] == "private, no-cache"
    _, _, headers = await fetch(door, "/api/tokens/0x0")
    assert headers["Cache-Control"] == "no-store" and "ETag" not in headers
