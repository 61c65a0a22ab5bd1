"""What the load generator sends is what our own doors read."""

import json

import pytest

from bench import loadgen
from bench.wires import REST, SOCKETIO, STREAM, Choice, choices
from engine.text import units
from gateway import stream_protocol as protocol
from gateway.models import QuoteBody
from gateway.quotes import quote_request

TOKENS = ["0x" + "ab" * 20, "0x" + "cd" * 20, "0x" + "ef" * 20]


def request_of(choice: Choice) -> object:
    body = {"tokenAddress": choice.token, "type": choice.side, "mode": choice.mode}
    amount = units(choice.amount_wei)
    return quote_request(QuoteBody.model_validate(body | {"amount": amount}))


@pytest.mark.parametrize("choice", choices(TOKENS, 1)[:40])
def test_every_door_is_asked_the_same(choice: Choice) -> None:
    wanted = request_of(choice)
    (op,), _ = protocol.read(b"%b%d%b" % (STREAM.head, 7, STREAM.tail(choice)))
    assert isinstance(op, protocol.Quote) and (op.id, op.request) == (7, wanted)
    packet = b"%b%d%b" % (SOCKETIO.head, 7, SOCKETIO.tail(choice))
    event, body = json.loads(packet[3:])
    assert packet[:3] == b"427" and event == "quote"
    assert quote_request(QuoteBody.model_validate(body)) == wanted
    head, _, body = REST.tail(choice).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert quote_request(QuoteBody.model_validate(json.loads(body))) == wanted


def test_choices_are_fixed_by_their_seed_and_cover_all_kinds() -> None:
    assert choices(TOKENS, 1) == choices(TOKENS, 1) != choices(TOKENS, 2)
    assert len({(one.side, one.mode) for one in choices(TOKENS, 1)}) == 4
    shares = [[one.token for one in choices(TOKENS, 1, zipf=True)].count(token) for token in TOKENS]
    assert shares[0] > shares[1] > shares[2] > 0


def test_answers_are_recognised() -> None:
    assert STREAM.id_of(b'{"v":1,"op":"quote","id":42,"ok":true,"data":{}}') == 42
    assert STREAM.id_of(b'{"v":1,"op":"event","event":"price"}') == -1
    assert STREAM.good(b'{"v":1,"op":"quote","id":42,"ok":true,"data":{}}')
    assert not STREAM.good(protocol.refusal("quote", 1, code="zero_output", message=""))
    assert SOCKETIO.id_of(b'43117[{"success":true}]') == 117
    assert SOCKETIO.id_of(b"2") == SOCKETIO.id_of(b'42["price",{}]') == -1


def test_http_answer_is_cut_at_its_length() -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nab"
    two = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length:3\r\n\r\ncde"
    body, rest = loadgen._response(one + two[:-1]) or (b"", b"")
    assert body == b"ab" and loadgen._response(rest) is None
    assert loadgen._response(rest + b"e") == (b"cde", b"")
