"""Token routes over the real application."""

import time
from dataclasses import replace

import pytest

from chain import transactions
from curves.curve import AMOUNT_MAX
from engine import text
from engine.messages import Refusal
from engine.rows import CandleRow
from gateway.metadata import metadata_hash
from tests.support.chain_settings import LAUNCHPAD
from tests.support.fakes import IMPLEMENTATION, transaction_record
from tests.support.gateway import Door


async def test_create_gives_address_hash_salt_transaction_and_quote(door: Door) -> None:
    headers = await door.login()
    fields = {"name": "Café Goose", "symbol": "GOOSE", "description": "A goose\nwith a line."}
    # The same text in decomposed form is the same document.
    body = fields | {"name": "Cafe\u0301 Goose", "initialBuyEth": "0.01", "slippage": 2}
    status, answer = await door.post("/api/tokens/create", body, headers=headers)
    assert status == 200, answer
    data = answer["data"]
    expected = metadata_hash(fields)
    assert data["metadataHash"] == text.hex_of(expected)
    assert door.documents.stored == {expected: fields}
    salt, creator = bytes.fromhex(data["salt"][2:]), bytes.fromhex(door.account.address[2:])
    token = transactions.token_address(
        launchpad=LAUNCHPAD,
        creator=creator,
        salt=salt,
        init_hash=transactions.clone_init_hash(IMPLEMENTATION),
    )
    assert data["tokenAddress"] == text.address(token)
    made = data["transaction"]
    assert (int(made["value"], 16), made["from"]) == (10**16, door.account.address)
    assert int(made["gas"], 16) <= 16_000_000
    quote = data["quote"]
    assert (quote["fees"]["launch"], quote["asOf"]) == ("0", None)
    assert expected.hex() in made["data"] and salt.hex() in made["data"]


async def test_create_without_a_first_buy_has_no_quote_on_either_curve(door: Door) -> None:
    headers = await door.login()
    for curve_id, family in enumerate(("constant_product", "linear")):
        body = {"name": "Goose", "symbol": "GO", "curve": family}
        status, answer = await door.post("/api/tokens/create", body, headers=headers)
        assert (status, answer["data"]["quote"]) == (200, None)
        made = answer["data"]["transaction"]
        assert int(made["value"], 16) == 0
        assert int(made["data"][10 + 64 * 5 : 10 + 64 * 6], 16) == curve_id


BAD_LAUNCHES = {
    "no name": {"symbol": "GO"},
    "empty name": {"name": "", "symbol": "GO"},
    "blank name": {"name": "   ", "symbol": "GO"},
    "long name": {"name": "x" * 51, "symbol": "GO"},
    "long symbol": {"name": "Goose", "symbol": "x" * 11},
    "long description": {"name": "Goose", "symbol": "GO", "description": "x" * 501},
    "name of two lines": {"name": "Go\nose", "symbol": "GO"},
    "name with NUL": {"name": "Go\0ose", "symbol": "GO"},
    "turned name": {"name": "Go\u202eose", "symbol": "GO"},
    "number as name": {"name": 7, "symbol": "GO"},
    "unknown curve": {"name": "Goose", "symbol": "GO", "curve": "cubic"},
    "unknown field": {"name": "Goose", "symbol": "GO", "sybmol": "GO"},
}


@pytest.mark.parametrize("case", BAD_LAUNCHES)
async def test_create_refuses_bad_fields_by_name(door: Door, case: str) -> None:
    headers = await door.login()
    status, answer = await door.post("/api/tokens/create", BAD_LAUNCHES[case], headers=headers)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["details"]["fields"][0]["field"]
    assert door.documents.stored == {}


BAD_LINKS = {
    "website": "javascript:alert(1)",
    "imageUrl": "http://goose.example/a.png",
    "telegram": "https://goose.example/@goose",
    "twitter": "https://user@x.com/goose",
}


@pytest.mark.parametrize("field", BAD_LINKS)
async def test_create_refuses_a_bad_link_with_its_own_code(door: Door, field: str) -> None:
    body = {"name": "Goose", "symbol": "GO", field: BAD_LINKS[field]}
    status, answer = await door.post("/api/tokens/create", body, headers=await door.login())
    assert (status, answer["error"]["code"]) == (400, "invalid_link")
    assert answer["error"]["details"]["fields"][0]["field"] == field
    assert door.documents.stored == {}


async def test_create_with_a_first_buy_at_the_edges(door: Door) -> None:
    headers = await door.login()
    body = {"name": "Goose", "symbol": "GO", "initialBuyEth": "0.000000000000000001"}
    status, answer = await door.post("/api/tokens/create", body, headers=headers)
    assert (status, answer["error"]["code"]) == (409, "zero_output")
    body["initialBuyEth"] = text.units(AMOUNT_MAX)
    status, answer = await door.post("/api/tokens/create", body, headers=headers)
    assert (status, answer["data"]["quote"]["clipped"]) == (200, True)


async def test_create_without_login_is_unauthorized(door: Door) -> None:
    status, answer = await door.post("/api/tokens/create", {"name": "Goose", "symbol": "GO"})
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


async def test_list_joins_history_with_live_prices_in_one_call(door: Door) -> None:
    calls = door.markets.calls
    status, answer = await door.get("/api/tokens")
    data = answer["data"]
    assert (status, data["page"], data["limit"], data["total"]) == (200, 1, 20, 2)
    assert door.markets.calls == calls + 1
    views = await door.markets.views(door.tokens)
    for item, view, token in zip(data["items"], views, door.tokens, strict=True):
        assert not isinstance(view, Refusal)
        assert item["address"] == text.address(token)
        assert (item["price"], item["unavailable"]) == (text.price(view.price_e18), None)
        assert (item["volume24h"], item["graduated"]) == ("0.5", False)


async def test_list_hands_the_seeds_query_to_history(door: Door) -> None:
    query = {
        "page": "2",
        "limit": "1",
        "search": "tide",
        "sortBy": "marketCap",
        "orderBy": "asc",
        "graduated": "false",
    }
    status, answer = await door.get("/api/tokens", params=query)
    assert (status, len(answer["data"]["items"])) == (200, 1)
    assert door.reads.asked == {
        "page": 2,
        "limit": 1,
        "search": "tide",
        "sort_by": "marketCap",
        "order": "asc",
        "graduated": False,
    }


@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "-1"},
        {"page": "1e3"},
        {"page": "99999999999"},
        {"page": "٣"},
        {"limit": "101"},
        {"limit": "x"},
        {"sortBy": "name"},
        {"orderBy": "up"},
        {"graduated": "maybe"},
        {"search": "x" * 101},
        {"search": "a\0b"},
    ],
)
async def test_list_refuses_a_bad_query(door: Door, query: dict[str, str]) -> None:
    status, answer = await door.get("/api/tokens", params=query)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_list_shows_no_old_price_for_a_market_that_cannot_answer(door: Door) -> None:
    door.markets.refusal = Refusal("stale_chain", "Expected a block")
    status, answer = await door.get("/api/tokens")
    assert status == 200
    for item in answer["data"]["items"]:
        assert (item["price"], item["marketCap"], item["asOf"]) == (None, None, None)
        assert item["unavailable"] == "stale_chain"


async def test_one_shows_the_token_with_its_document(door: Door) -> None:
    token = door.tokens[0]
    document = {"name": "Tide", "symbol": "TIDE"}
    hashed = metadata_hash(document)
    door.reads.records[token] = replace(door.reads.records[token], metadata_hash=hashed)
    door.documents.stored[hashed] = document
    # Lower case carries no checksum and is accepted; the answer is EIP-55.
    status, answer = await door.get(f"/api/tokens/0x{token.hex()}")
    data = answer["data"]
    assert (status, data["address"], data["metadata"]) == (200, text.address(token), document)
    assert data["curve"] == "constant_product"
    assert data["asOf"]["blockNumber"] == door.markets.head


async def test_one_unknown_halted_and_misspelt_have_their_codes(door: Door) -> None:
    token = text.address(door.tokens[0])
    status, answer = await door.get(f"/api/tokens/0x{'12' * 20}")
    assert (status, answer["error"]["code"]) == (404, "token_not_found")
    status, answer = await door.get(f"/api/tokens/{token.swapcase().replace('0X', '0x')}")
    assert (status, answer["error"]["code"]) == (400, "invalid_address")
    door.markets.refusal = Refusal("market_halted", "Expected a market that adds up")
    status, answer = await door.get(f"/api/tokens/{token}")
    assert (status, answer["error"]["code"]) == (503, "market_halted")


async def test_chart_fills_empty_steps_with_the_close(door: Door) -> None:
    token, now = door.tokens[0], int(time.time())
    minute = now - now % 60 - 1_200
    rows = [CandleRow(token, minute, 10**36, 3 * 10**36, 10**36, 2 * 10**36, 5, 6, 1)]
    door.reads.candle_rows = rows
    status, answer = await door.get(f"/api/tokens/0x{token.hex()}/chart?timeframe=1h&resolution=1")
    data = answer["data"]
    assert (status, data["resolution"], data["timeframe"]) == (200, 1, "1h")
    first, second, *_, last = data["candles"]
    assert (first["time"], first["high"], first["close"], first["trades"]) == (minute, "3", "2", 1)
    assert (second["time"], second["open"], second["trades"]) == (minute + 60, "2", 0)
    assert last["close"] == "2" and now - last["time"] < 60 + 5
    assert door.reads.asked["end"] - door.reads.asked["start"] == 3_600


async def test_chart_takes_the_seeds_timeframes_within_1500_points(door: Door) -> None:
    path = f"/api/tokens/0x{door.tokens[0].hex()}/chart"
    door.reads.close_before = 10**36
    for timeframe in ("1h", "24h", "7d", "30d"):
        status, answer = await door.get(path, params={"timeframe": timeframe})
        assert status == 200
        assert 1 <= len(answer["data"]["candles"]) <= 1_500
    for query in (
        {"timeframe": "1y"},
        {"resolution": "0"},
        {"timeframe": "30d", "resolution": "1"},
    ):
        status, answer = await door.get(path, params=query)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_transactions_page_by_number_or_cursor(door: Door) -> None:
    token = door.tokens[0]
    door.reads.rows = [transaction_record(token, number) for number in (9, 8, 7)]
    path = f"/api/tokens/0x{token.hex()}/transactions"
    status, answer = await door.get(path, params={"limit": "2"})
    data = answer["data"]
    assert (status, data["total"], data["cursor"]) == (200, 3, "8.0.2")
    assert data["items"][0]["pricePerToken"] == "0.2"
    await door.get(path, params={"limit": "2", "cursor": data["cursor"]})
    assert door.reads.asked["before"] == (8, 0, 2)
    for cursor in ("x", "1.2", "1.2.3.4", "-1.2.3", "1.2.99999999999", "²"):
        status, answer = await door.get(path, params={"cursor": cursor})
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_history_without_its_store_is_503(door: Door) -> None:
    door.reads.down = True
    token = text.address(door.tokens[0])
    for path in ("", f"/{token}", f"/{token}/chart", f"/{token}/transactions"):
        status, answer = await door.get(f"/api/tokens{path}")
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
