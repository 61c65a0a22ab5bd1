"""The stream door's codecs: what is asked is read exactly, what is answered is JSON."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves.curve import AMOUNT_MAX
from engine.errors import CallerError
from engine.limits import STREAM_OPS_PER_FRAME_MAX
from engine.messages import AsOf, QuoteReply, QuoteRequest
from engine.text import address
from gateway import stream_protocol as protocol
from gateway import view

TOKEN = bytes.fromhex("ab12cd34ef" * 4)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
IDS = st.none() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS
AMOUNTS = st.integers(1, AMOUNT_MAX)
NUMBERS = st.integers(0, 2**200)
AS_OF = st.builds(
    AsOf,
    block_number=st.integers(0, 2**53 - 1),
    block_hash=st.none() | st.binary(min_size=32, max_size=32),
    log_index=st.integers(-1, 10**6),
    status=st.sampled_from(["preconfirmed", "sealed", "finalised"]),
    version=st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1)),
)
AMOUNT_FIELDS = [
    name for name, one in QuoteReply.__dataclass_fields__.items() if one.type in (int, "int")
]
REPLIES = st.builds(
    QuoteReply,
    token=st.binary(min_size=20, max_size=20),
    phase=st.sampled_from(["curve", "graduated"]),
    as_of=AS_OF,
    **{name: NUMBERS for name in AMOUNT_FIELDS},
)


PLAIN = {
    "v": 1,
    "op": "quote",
    "id": 7,
    "token": address(TOKEN),
    "side": "buy",
    "mode": "exactIn",
    "amountWei": "5",
}


def one(**fields: Any) -> protocol.Op:
    found, is_array = protocol.read(orjson.dumps(fields))
    assert len(found) == 1 and not is_array
    return found[0]


def code(op: protocol.Op) -> str:
    assert isinstance(op, protocol.Fault), op
    return op.error.code


def quote(**fields: Any) -> protocol.Op:
    return one(**{"op": "quote", "token": address(TOKEN), "side": "buy", "amountWei": "5"} | fields)


@given(
    id=IDS,
    request=st.builds(
        QuoteRequest,
        token=st.binary(min_size=20, max_size=20),
        is_buy=st.booleans(),
        exact_out=st.booleans(),
        amount=AMOUNTS,
        slippage_bps=st.integers(0, 5_000),
        for_block=st.none() | st.integers(0, 2**53 - 1),
        sealed=st.booleans(),
    ),
    lower=st.booleans(),
)
def test_quote_is_read_as_it_was_meant(id: Any, request: QuoteRequest, lower: bool) -> None:
    token = "0x" + request.token.hex() if lower else address(request.token)
    asked = {
        "v": 1,
        "op": "quote",
        "id": id,
        "token": token,
        "side": "buy" if request.is_buy else "sell",
        "mode": "exactOut" if request.exact_out else "exactIn",
        "amountWei": str(request.amount),
        "slippageBps": request.slippage_bps,
        "forBlock": request.for_block,
        "finality": "sealed" if request.sealed else "preconfirmed",
    }
    assert one(**asked) == protocol.Quote(id, request)


def test_quote_has_the_defaults_of_the_other_doors() -> None:
    found = quote()
    assert isinstance(found, protocol.Quote)
    assert found.request == QuoteRequest(TOKEN, True, False, 5, 100, None, False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"amountWei": "1.5"}, "invalid_amount"),
        ({"amountWei": 5}, "invalid_amount"),
        ({"amountWei": "0"}, "invalid_amount"),
        ({"amountWei": "-1"}, "invalid_amount"),
        ({"amountWei": "+1"}, "invalid_amount"),
        ({"amountWei": "1e3"}, "invalid_amount"),
        ({"amountWei": " 1"}, "invalid_amount"),
        ({"amountWei": "\u0665"}, "invalid_amount"),
        ({"amountWei": "9" * 79}, "invalid_amount"),
        ({"amountWei": str(AMOUNT_MAX + 1)}, "amount_too_large"),
        ({"amountWei": None}, "invalid_amount"),
        ({"token": "0x12"}, "invalid_address"),
        ({"token": 7}, "invalid_address"),
        ({"token": address(TOKEN).swapcase().replace("0X", "0x")}, "invalid_address"),
        ({"slippageBps": 5_001}, "invalid_slippage"),
        ({"slippageBps": "100"}, "invalid_slippage"),
        ({"slippageBps": True}, "invalid_slippage"),
        ({"side": "hold"}, "invalid_request"),
        ({"side": ["buy"]}, "invalid_request"),
        ({"mode": None}, "invalid_request"),
        ({"forBlock": -1}, "invalid_request"),
        ({"forBlock": 1.0}, "invalid_request"),
        ({"finality": "soon"}, "invalid_request"),
        ({"amount": "5"}, "invalid_request"),
        ({"v": 2}, "invalid_request"),
        ({"v": True}, "invalid_request"),
        ({"op": "trade"}, "invalid_request"),
        ({"op": None}, "invalid_request"),
        ({"id": 1.5}, "invalid_request"),
        ({"id": True}, "invalid_request"),
        ({"id": "x" * 65}, "invalid_request"),
        ({"id": [1]}, "invalid_request"),
    ],
)
def test_quote_with_a_fault_says_which(fields: dict[str, Any], expected: str) -> None:
    assert code(quote(**fields)) == expected
    assert code(quote(**PLAIN | fields)) == expected


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "v": st.sampled_from([1, 1.0, True, 2, "1", None]),
            "op": st.sampled_from(["quote", "ping", None, ["quote"]]),
            "id": IDS | st.sampled_from([2**53, -(2**53), True, 1.5, [1]]),
            "token": st.sampled_from([address(TOKEN), address(TOKEN).upper(), "0x", 5, [], None]),
            "side": st.sampled_from(["buy", "sell", "", 1, []]),
            "mode": st.sampled_from(["exactIn", "exactOut", None, {}]),
            "amountWei": AMOUNTS.map(str) | st.sampled_from(["0", "\u0665", "5\n", str(2**112), 5]),
            "forBlock": st.none() | st.integers(0, 9),
        },
    )
)
def test_plain_quote_is_read_as_any_other(changed: dict[str, Any]) -> None:
    for found in (PLAIN | changed, changed):
        read = protocol.read_plain(found)
        assert read is None or read == protocol.read_any(found)
    assert protocol.read_plain(PLAIN) is not None


def test_fault_keeps_the_id_and_the_op() -> None:
    found = quote(id="mine", amountWei="1.5")
    assert isinstance(found, protocol.Fault) and (found.id, found.op) == ("mine", "quote")


def test_other_ops_are_read() -> None:
    assert one(op="ping", id=1) == protocol.Ping(1)
    assert one(op="unsubscribe", topic="trades") == protocol.Unsubscribe(None, "trades")
    since = {"since": 4, "generation": "g"}
    assert one(op="subscribe", topic="t", **since) == protocol.Subscribe(None, "t", 4, "g")
    assert one(op="authenticate", token="t") == protocol.Authenticate(None, "t", None)
    assert one(op="authenticate", apiKey="k") == protocol.Authenticate(None, None, "k")
    assert code(one(op="authenticate", token="t", apiKey="k")) == "invalid_request"
    assert code(one(op="authenticate")) == "invalid_request"
    assert code(one(op="subscribe")) == "invalid_request"


@pytest.mark.parametrize(
    "frame", [b"", b"{", b"7", b"null", b'"x"', b"[]", b"\xff", b"[" * 5_000, b'{"op":NaN}']
)
def test_frame_that_is_no_such_json_is_one_error(frame: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        protocol.read(frame)
    assert caught.value.code == "invalid_request"


def test_array_is_read_in_order_and_bounded() -> None:
    asked = [{"op": "ping", "id": 1}, 7, {"op": "ping", "id": 3}]
    found, is_array = protocol.read(orjson.dumps(asked))
    assert is_array and [found[0], found[2]] == [protocol.Ping(1), protocol.Ping(3)]
    assert code(found[1]) == "invalid_request"
    with pytest.raises(CallerError):
        protocol.read(orjson.dumps([{"op": "ping"}] * (STREAM_OPS_PER_FRAME_MAX + 1)))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_is_read_or_refused(frame: bytes) -> None:
    try:
        ops, _ = protocol.read(frame)
    except CallerError:
        return
    assert ops


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | TEXTS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["op", "id", "v", "token", "side", "amountWei", "topic"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        protocol.read(orjson.dumps(value))
    except CallerError as error:
        assert error.code == "invalid_request"


@given(IDS, REPLIES)
def test_answer_is_the_quote_of_the_other_doors_in_base_units(id: Any, reply: QuoteReply) -> None:
    found = json.loads(protocol.quote_answer(id, reply))
    assert (found["v"], found["op"], found["id"], found["ok"]) == (1, "quote", id, True)
    data, shown = found["data"], view.quote_data(reply)
    assert data["token"] == shown["tokenAddress"] and data["side"] == shown["type"]
    same = ("mode", "priceImpactBps", "clipped", "forBlock", "exactUntilBlock", "phase", "asOf")
    assert {name: data[name] for name in same} == {name: shown[name] for name in same}
    bound = "maxIn" if reply.exact_out else "minOut"
    for name in ("amountIn", "amountOut", "spent", "refund", bound):
        assert _whole(data[f"{name}Wei"], 18) == shown[name]
    for name in ("protocol", "creator", "launch"):
        assert _whole(data["fees"][f"{name}Wei"], 18) == shown["fees"][name]
    for name in ("spotPrice", "executionPrice"):
        assert _whole(data[f"{name}E18"], 36) == shown[name]


def _whole(amount: str, decimals: int) -> str:
    from engine.text import units

    assert amount.isdigit()
    return units(int(amount), decimals)


@given(IDS, TEXTS)
def test_refusal_is_json_with_its_code(id: Any, message: str) -> None:
    found = json.loads(protocol.refusal("quote", id, code="zero_output", message=message))
    assert found["error"] == {"code": "zero_output", "message": message}
    assert (found["id"], found["ok"]) == (id, False)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_frame_has_the_header_of_its_size(size: int) -> None:
    from websockets.frames import OP_TEXT
    from websockets.streams import StreamReader

    frame = protocol.framed(b"x" * size)
    reader = StreamReader()
    reader.feed_data(frame)
    reader.feed_eof()
    parsed = _parsed(reader)
    assert (parsed.opcode, parsed.fin, len(parsed.data)) == (OP_TEXT, True, size)


def _parsed(reader: Any) -> Any:
    from websockets.frames import Frame

    steps = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value
