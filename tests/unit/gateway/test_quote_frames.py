"""Quotes read and written by hand: never another request, never another answer."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.messages import QuoteReply, QuoteRequest
from engine.text import address
from gateway import quote_frames, view
from gateway.errors import failure, success
from gateway.models import QuoteBody
from gateway.quotes import quote_request
from gateway.sockets import TextPacket, _well_formed
from tests.unit.gateway.test_stream_protocol import REPLIES

TOKEN = address(bytes.fromhex("ab12cd34ef" * 4))
BODY = {"tokenAddress": TOKEN, "type": "buy", "amount": "0.01"}
GOOD: dict[str, list[Any]] = {
    "tokenAddress": [TOKEN, TOKEN.lower(), "0x" + TOKEN[2:].upper()],
    "type": ["buy", "sell"],
    "amount": ["1", "0.000000000000000001", "007.50", "5192296858534827"],
    "mode": ["exactIn", "exactOut"],
    "slippage": [0, 1, 50, "0.5", "50.00", 0.5, 1.25, 50.0],
    "forBlock": [None, 0, 7, 2**53 - 1],
    "finality": ["preconfirmed", "sealed"],
}
BAD: dict[str, list[Any]] = {
    "tokenAddress": [TOKEN.swapcase(), TOKEN[:-1], "", 7, None, [TOKEN], {}],
    "type": ["Buy", "", None, True, ["buy"], {"buy": 1}],
    "amount": ["0", "-1", "1e3", ".5", "1.", "٣", "9" * 40, 1, 1.5, None, ["1"], "1\n", " 1"],
    "mode": ["exact", None, 0, ["exactIn"]],
    "slippage": [51, -1, "51", "1.234", 0.125, 1e-7, 50.01, 1e300, None, True, [1], "½"],
    "forBlock": [-1, 2**53, 2**70, 10**50, 1.0, "7", True, [7]],
    "finality": ["final", None, ["sealed"], 1],
    "more": [1],
}
# As JSON has it, and as orjson may see it otherwise: fractions, exponents, escapes, doubles.
RAW = [
    '"slippage":0.50',
    '"slippage":0.500',
    '"slippage":5e-1',
    '"slippage":1E1',
    '"slippage":1.0',
    '"slippage":-0.0',
    '"slippage":-0',
    '"slippage":1e999',
    '"slippage":NaN',
    '"slippage":0.5,"slippage":1',
    '"slippage":1,"slippage":0.5',
    '"slippage":0.1000000000000000055511151231257827',
    '"forBlock":-0',
    '"forBlock":1e2',
    '"forBlock":18446744073709551616',
    '"forBlock":9007199254740991',
    '"forBlock":' + "9" * 60,
    '"amount":"\\u0031"',
    '"amount":"\\ud800"',
    '"amount":"1","amount":"2"',
    '"t\\u0079pe":"sell"',
    '"type":"buy","type":"sell"',
    '"mode":"exactIn\\u0000"',
    '"extra":{}',
    "",
]


def slow(frame: str) -> tuple[int, QuoteRequest] | None:
    """What the library and the models make of a frame; None: an error, or no quote."""
    try:
        packet = TextPacket(encoded_packet=frame[1:])
        assert _well_formed(frame) and packet.packet_type == 2 and packet.namespace is None
        name, body = packet.data
        assert name == "quote" and packet.id is not None
        return packet.id, quote_request(QuoteBody.model_validate(body))
    except (ValueError, AssertionError, RecursionError):
        return None
    except Exception as error:
        assert type(error).__name__ == "CallerError", error
        return None


def quick(frame: str) -> tuple[int, QuoteRequest] | None:
    read = quote_frames.read(frame)
    return None if read is None else (int(read[0]), read[1])


def frame_of(body: Any, id: Any = 7) -> str:
    return f'42{id}["quote",{json.dumps(body, separators=(",", ":"))}]'


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    made = dict(BODY)
    for name in draw(st.sets(st.sampled_from([*GOOD, "more"]), max_size=4)):
        values = BAD[name] if name == "more" or draw(st.booleans()) else GOOD[name]
        made[name] = draw(st.sampled_from(values))
    if draw(st.integers(0, 9)) == 0:
        made.pop(draw(st.sampled_from(sorted(made))))
    return made


@st.composite
def frames(draw: st.DrawFn) -> str:
    text = json.dumps(draw(bodies()), separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])))
    raw = draw(st.sampled_from(RAW))
    text = f"{text[:-1]},{raw}}}" if raw else text
    head = draw(st.sampled_from(["42", "42", "42", "43", "40", "45", "4", "42/x,", "421-", ""]))
    id = draw(st.sampled_from(["0", "7", "07", "1234567", "9" * 15, "9" * 16, "9" * 101, "", "²"]))
    tail = draw(st.sampled_from(["]", "]", "]", "] ", ",1]", ",{}]", "]]", "", "\n]"]))
    name = draw(st.sampled_from(['"quote"', '"quote"', '"Quote"', '"quot\\u0065"', '"quote" ']))
    return f"{head}{id}[{name},{text}{tail}"


@settings(max_examples=1_500)
@given(frames())
@example('421["quote",{"tokenAddress":"' + TOKEN + '","type":"buy","amount":"1"},{}]')
@example('421["quote",{}],["quote",{}]')
@example('421["quote",' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "]")
def test_what_is_read_by_hand_the_library_and_the_models_read_alike(frame: str) -> None:
    found = quick(frame)
    assert found is None or found == slow(frame)


@settings(max_examples=500)
@given(st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in GOOD.items()}))
def test_good_quote_is_read_by_hand(fields: dict[str, Any]) -> None:
    found = quick(frame_of(BODY | fields, 12))
    assert found is not None and found == slow(frame_of(BODY | fields, 12))


@pytest.mark.parametrize("name", BAD)
def test_bad_quote_is_left_to_the_models(name: str) -> None:
    for value in BAD[name]:
        frame = frame_of(BODY | {name: value})
        assert slow(frame) is None, value
        assert quick(frame) is None, value


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "2",
        "42",
        "40",
        f'42["quote",{json.dumps(BODY)}]',
        f'42007["quote",{json.dumps(BODY)}]',
        f'42/x,7["quote",{json.dumps(BODY)}]',
        f'437["quote",{json.dumps(BODY)}]',
        f'427["subscribe",{json.dumps(BODY)}]',
        f'427["quote",{json.dumps(BODY)},1]',
        f'427["quote",[{json.dumps(BODY)}]]',
        f'42٣["quote",{json.dumps(BODY)}]',
        '427["quote"]',
        '427["quote",null]',
        '427["quote",{}]',
        f'427["quote",{json.dumps(BODY)}]\n',
    ],
)
def test_frame_of_another_shape_is_left_to_the_library(frame: str) -> None:
    assert quote_frames.read(frame) is None


@given(reply=REPLIES, id=st.integers(0, 10**15 - 1).map(str))
def test_answer_is_the_envelope_letter_by_letter(reply: QuoteReply, id: str) -> None:
    text = quote_frames.answer(id, reply, "now")
    body = success(view.quote_data(reply)) | {"timestamp": "now"}
    assert text == f"43{id}[{json.dumps(body, separators=(',', ':'))}]"


def test_acknowledgement_is_the_librarys() -> None:
    body = failure("rate_limited", "Expected „less“", {"retryAfterSeconds": 1})
    packet = TextPacket(3, data=[body], id=7)
    assert quote_frames.acknowledgement("7", body) == "4" + packet.encode()
    assert orjson.loads(packet.encode()[2:]) == [body]
