"""Every kind of bad input: a clear 4xx with a stable code, never a 500, never an actor's error."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import text
from engine.errors import CALLER_CODES
from tests.support.gateway import Door

FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

AMOUNTS = {
    "zero": ("0", "invalid_amount"),
    "zero with decimals": ("0.000", "invalid_amount"),
    "negative": ("-1", "invalid_amount"),
    "plus": ("+1", "invalid_amount"),
    "exponent": ("1e3", "invalid_amount"),
    "hex": ("0x10", "invalid_amount"),
    "space": (" 1", "invalid_amount"),
    "newline": ("1\n", "invalid_amount"),
    "comma": ("1,5", "invalid_amount"),
    "grouping": ("1_000", "invalid_amount"),
    "bare point": (".5", "invalid_amount"),
    "trailing point": ("5.", "invalid_amount"),
    "two points": ("1.2.3", "invalid_amount"),
    "words": ("one", "invalid_amount"),
    "nan": ("NaN", "invalid_amount"),
    "infinity": ("Infinity", "invalid_amount"),
    "empty": ("", "invalid_amount"),
    "nineteen decimals": ("1.0000000000000000001", "invalid_amount"),
    "arabic digits": ("٣", "invalid_amount"),
    "full-width digits": ("\uff11", "invalid_amount"),
    "number": (1, "invalid_amount"),
    "fraction": (0.5, "invalid_amount"),
    "boolean": (True, "invalid_amount"),
    "null": (None, "invalid_amount"),
    "list": (["1"], "invalid_amount"),
    "above 2^112": ("5192296858534828", "amount_too_large"),
    "above 2^256": (str(2**256), "amount_too_large"),
    "thousands of digits": ("9" * 50_000, "amount_too_large"),
}
ADDRESSES: dict[str, Any] = {
    "short": "0x1234",
    "long": "0x" + "1" * 41,
    "no prefix": "1" * 40,
    "upper prefix": "0X" + "1" * 40,
    "not hex": "0x" + "g" * 40,
    "unicode": "0x" + "\uff11" * 40,
    "checksum": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
    "space": " 0x" + "1" * 40,
    "empty": "",
    "number": 7,
    "null": None,
    "object": {},
}
SLIPPAGES: tuple[Any, ...] = (
    *("-1", "50.01", "51", "1.234", "1e1", "", "x", " 1", "٣", -1, 50.5, 100, 1.234, 1e-7),
    *(1e300, True, None, [], {}),
)


def quote(door: Door, **fields: Any) -> dict[str, Any]:
    token = text.address(door.tokens[0])
    return {"tokenAddress": token, "type": "buy", "amount": "0.01"} | fields


@pytest.mark.parametrize("case", AMOUNTS)
async def test_amount_that_is_bad_has_its_code(door: Door, case: str) -> None:
    amount, code = AMOUNTS[case]
    status, answer = await door.post("/api/trading/quote", quote(door, amount=amount))
    assert (status, answer["error"]["code"]) == (400, code)
    assert answer["error"]["details"]["fields"][0]["field"] == "amount"
    assert door.markets.calls == 0


@pytest.mark.parametrize("case", ADDRESSES)
async def test_address_that_is_bad_is_invalid_address(door: Door, case: str) -> None:
    status, answer = await door.post(
        "/api/trading/quote", quote(door, tokenAddress=ADDRESSES[case])
    )
    assert (status, answer["error"]["code"]) == (400, "invalid_address")


async def test_slippage_out_of_range_is_invalid_slippage(door: Door) -> None:
    for slippage in SLIPPAGES:
        status, answer = await door.post("/api/trading/quote", quote(door, slippage=slippage))
        assert (status, answer["error"]["code"]) == (400, "invalid_slippage"), slippage
    for slippage in ("0", "50", "0.01", "49.99", 0, 50, 0.5, 12.25):
        status, _ = await door.post("/api/trading/quote", quote(door, slippage=slippage))
        assert status == 200, slippage


async def test_other_fields_that_are_bad_are_invalid_request(door: Door) -> None:
    bad = [
        {"type": "hold"},
        {"mode": "exact"},
        {"forBlock": -1},
        {"forBlock": 2**53},
        {"forBlock": "7"},
        {"forBlock": True},
        {"forBlock": 1.5},
        {"finality": "final"},
        {"more": 1},
        {"token_address": "0x"},
    ]
    for fields in bad:
        status, answer = await door.post("/api/trading/quote", quote(door, **fields))
        assert (status, answer["error"]["code"]) == (400, "invalid_request"), fields


async def test_several_faults_are_all_named(door: Door) -> None:
    body = {"tokenAddress": "0x1", "type": "buy", "amount": "-1", "slippage": "99"}
    _, answer = await door.post("/api/trading/quote", body)
    fields = {fault["field"] for fault in answer["error"]["details"]["fields"]}
    assert fields == {"tokenAddress", "amount", "slippage"}


async def test_unknown_token_is_token_not_found(door: Door) -> None:
    body = quote(door, tokenAddress="0x" + "12" * 20)
    status, answer = await door.post("/api/trading/quote", body)
    assert (status, answer["error"]["code"]) == (404, "token_not_found")


async def test_sell_of_more_than_sold_and_dust_have_their_codes(door: Door) -> None:
    cases = [
        (quote(door, type="sell", amount="800000000"), "exceeds_sold"),
        (quote(door, type="sell", mode="exactOut", amount="1000000"), "exceeds_sold"),
        (quote(door, type="sell", amount="0.000000000000000001"), "zero_output"),
    ]
    for body, code in cases:
        status, answer = await door.post("/api/trading/quote", body)
        assert (status, answer["error"]["code"]) == (409, code)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
LIKE_AMOUNTS = st.text("0123456789.-+eE xX_,٣", max_size=80) | ANYTHING


@FEW
@given(amount=LIKE_AMOUNTS)
async def test_any_amount_gives_an_answer_with_a_known_code(door: Door, amount: Any) -> None:
    status, answer = await door.post("/api/trading/quote", quote(door, amount=amount))
    assert status in (200, 400, 409)
    assert status == 200 or answer["error"]["code"] in CALLER_CODES


@FEW
@given(address=st.text("0123456789abcdefABCDEFxX ", max_size=44) | ANYTHING)
async def test_any_address_gives_an_answer_with_a_known_code(door: Door, address: Any) -> None:
    status, answer = await door.post("/api/trading/quote", quote(door, tokenAddress=address))
    assert status in (400, 404)
    assert answer["error"]["code"] in ("invalid_address", "token_not_found")


@FEW
@given(path=st.text(max_size=50))
async def test_any_path_segment_gives_an_answer_with_a_known_code(door: Door, path: str) -> None:
    for route in ("/api/tokens/{}", "/api/trading/tx/{}", "/api/trading/portfolio/{}"):
        async with door.session.get(door.url + route.format(path)) as response:
            assert response.status in (200, 400, 404), (route, path)


@FEW
@given(body=ANYTHING)
async def test_any_body_gives_an_answer_with_a_known_code(door: Door, body: Any) -> None:
    headers = await door.login()
    for path in ("/auth/connect", "/tokens/create", "/trading/buy", "/trading/submit"):
        status, answer = await door.post(
            f"/api{path}", body if body is not None else 0, headers=headers
        )
        assert status == 400
        assert answer["error"]["code"] in CALLER_CODES
