"""How each door is spoken to: the bytes of one quote, and how its answer is recognised.

A wire never parses an answer as JSON: a load generator that does measures itself. It reads the
id, and whether the answer is a quote or a refusal.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

from engine.text import units

ETH = 10**18
CHOICES = 512
"""Different quotes a client asks in turn."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One quote to ask for: buys of ETH, and sells of tokens, exact-in and exact-out."""

    token: str
    side: str
    mode: str
    amount_wei: int


@dataclass(frozen=True, slots=True)
class Wire:
    """`head` + id + `tail(choice)` asks; `id_of` reads the id of an answer, -1 when it is none
    (a ping of the library); `good` whether it is a quote."""

    name: str
    path: str
    is_http: bool
    head: bytes
    tail: Callable[[Choice], bytes]
    id_of: Callable[[bytes], int]
    good: Callable[[bytes], bool]


MIX = {"buy": 4.0, "sell": 2.0}


def choices(
    tokens: Sequence[str],
    seed: int,
    *,
    zipf: bool = False,
    mix: Mapping[str, float] = MappingProxyType(MIX),
) -> list[Choice]:
    """Quotes in a random order that the seed fixes: `mix` says how many of each side, and three
    of four are exact-in."""
    dice = random.Random(seed)
    weights = list(accumulate(1 / (rank + 1) if zipf else 1 for rank in range(len(tokens))))
    made = []
    for _ in range(CHOICES):
        token = dice.choices(tokens, cum_weights=weights)[0]
        side = dice.choices(list(mix), weights=list(mix.values()))[0]
        mode = dice.choices(["exactIn", "exactOut"], weights=[3, 1])[0]
        in_eth = (side == "buy") == (mode == "exactIn")
        amount = dice.randrange(10**13, 10**15) if in_eth else dice.randrange(10**20, 10**21)
        made.append(Choice(token, side, mode, amount))
    return made


def _stream_tail(choice: Choice) -> bytes:
    fields = {"token": choice.token, "side": choice.side, "mode": choice.mode}
    text = json.dumps(fields | {"amountWei": str(choice.amount_wei)}, separators=(",", ":"))
    return b"," + text[1:].encode()


_STREAM_HEAD = b'{"v":1,"op":"quote","id":'


def _stream_id(answer: bytes) -> int:
    if not answer.startswith(_STREAM_HEAD):
        return -1
    return int(answer[len(_STREAM_HEAD) : answer.index(b",", len(_STREAM_HEAD))])


def _body(choice: Choice) -> str:
    fields = {"tokenAddress": choice.token, "type": choice.side, "mode": choice.mode}
    return json.dumps(fields | {"amount": units(choice.amount_wei)}, separators=(",", ":"))


def _socketio_id(answer: bytes) -> int:
    # 43<id>[…]: an acknowledgement.
    return int(answer[2 : answer.index(b"[")]) if answer.startswith(b"43") else -1


STREAM = Wire(
    "stream",
    "/v1",
    is_http=False,
    head=_STREAM_HEAD,
    tail=_stream_tail,
    id_of=_stream_id,
    good=lambda answer: b'"ok":true' in answer[:80],
)
SOCKETIO = Wire(
    "socketio",
    "/socket.io/?EIO=4&transport=websocket",
    is_http=False,
    head=b"42",
    tail=lambda choice: b'["quote",' + _body(choice).encode() + b"]",
    id_of=_socketio_id,
    good=lambda answer: b'"success":true' in answer[:80],
)


def post(path: str, body: bytes) -> bytes:
    """A request over a connection that is kept."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


REST = Wire(
    "rest",
    "/api/trading/quote",
    is_http=True,
    head=b"",
    tail=lambda choice: post("/api/trading/quote", _body(choice).encode()),
    id_of=lambda answer: 0,
    good=lambda answer: b'"success":true' in answer[:80],
)


def eth_call(call: Callable[[Choice], tuple[str, str]]) -> Wire:
    """`call` gives address and data of the contract's quote."""

    def tail(choice: Choice) -> bytes:
        to, data = call(choice)
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call"}
        return post(
            "/", json.dumps(body | {"params": [{"to": to, "data": data}, "latest"]}).encode()
        )

    return Wire(
        "eth_call",
        "/",
        is_http=True,
        head=b"",
        tail=tail,
        id_of=lambda answer: 0,
        good=lambda answer: b'"result"' in answer,
    )


WIRES = {wire.name: wire for wire in (STREAM, SOCKETIO, REST)}
