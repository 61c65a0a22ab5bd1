"""The Socket.IO door asked at random: good calls, mutated ones, and packets that are none.

Every call that a living socket sent with an id is answered by the REST envelope with a code
that is documented; a socket may be ended, the server never: the next one connects, and at the
end a good quote is answered.
"""

import asyncio
import json
import random
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from gateway.codes import MEANINGS
from gateway.replies import ErrorReply

ANSWER_S = 20.0
IN_A_ROW = 25
"""Messages of one socket before its answers are waited for."""

EVENTS = ("quote", "subscribe", "unsubscribe", "authenticate")
SERVER_FAULTS = ("internal_error",)


@dataclass
class Found:
    """What became of the messages. `failures` are sentences, the first few of them."""

    sent: int = 0
    calls: int = 0
    answered: int = 0
    good: int = 0
    ended: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def fail(self, text: str) -> None:
        if len(self.failures) < 20:
            self.failures.append(text)

    def figures(self) -> dict[str, Any]:
        return {
            "messages": self.sent,
            "calls": self.calls,
            "answered": self.answered,
            "good": self.good,
            "sockets_ended": self.ended,
            "codes": dict(self.codes.most_common()),
            "failures": self.failures,
        }


async def fuzz(
    url: str, *, messages: int, seed: int, tokens: Sequence[str], access_token: str = ""
) -> Found:
    """About `messages` of them at the gateway at `url`."""
    dice, found = random.Random(seed), Found()
    maker = Maker(dice, tokens, access_token)
    async with aiohttp.ClientSession(url) as session:
        while found.sent < messages:
            await _one_socket(session, maker, found)
            await _polls(session, maker, found)
        await _still_well(session, maker, found)
    return found


# ------------------------------------------------------------------------- a socket


async def _one_socket(session: aiohttp.ClientSession, maker: "Maker", found: Found) -> None:
    path = "/socket.io/?EIO=4&transport=websocket"
    try:
        async with asyncio.timeout(ANSWER_S), session.ws_connect(path, max_msg_size=0) as socket:
            opened = await socket.receive_str()
            await socket.send_str("40" + maker.greeting())
            hello = await socket.receive_str()
            if opened[:1] != "0" or hello[:2] not in ("40", "44"):
                found.fail(f"Expected a handshake, was {opened[:80]} {hello[:80]}")
            if hello[:2] == "40":
                await _talk(socket, maker, found)
    except (aiohttp.ClientError, TypeError, TimeoutError) as error:
        found.fail(f"Expected a socket that opens and answers, was {error!r}")


async def _talk(socket: aiohttp.ClientWebSocketResponse, maker: "Maker", found: Found) -> None:
    waiting: dict[int, str] = {}
    for number in range(IN_A_ROW):
        frame, asks = maker.frame(number)
        found.sent += 1
        if asks:
            found.calls += 1
            waiting[number] = str(frame)[:300]
        try:
            if isinstance(frame, bytes):
                await socket.send_bytes(frame)
            else:
                await socket.send_str(frame)
        except (aiohttp.ClientError, ConnectionError):
            break
    while waiting:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            found.ended += 1
            return  # the socket was ended, and with it what it had asked
        _heard(message.data, waiting, found)
        if message.data == "2":
            await socket.send_str("3")


OUR_DIGITS_MAX = 9


def _heard(frame: str, waiting: dict[int, str], found: Found) -> None:
    digits = frame[2:].partition("[")[0]
    if not frame.startswith("43") or not digits.isdigit():
        return  # pushed, a ping, or a refused namespace
    if len(digits) > OUR_DIGITS_MAX:
        return  # a number that a mutation made of one of ours
    asked = waiting.pop(int(digits), None)
    if asked is None:
        found.fail(f"Expected no answer to what was not asked, was {frame[:200]}")
        return
    found.answered += 1
    _judge(json.loads(frame[2 + len(digits) :]), asked, found)


def _judge(answer: Any, asked: str, found: Found) -> None:
    whole = isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict)
    envelope = answer[0] if whole else {}
    if envelope.get("success") is True:
        found.good += 1
        if set(envelope) != {"success", "data", "timestamp"}:
            found.fail(f"Expected the envelope, was {sorted(envelope)} for {asked}")
        return
    try:
        code = ErrorReply.model_validate(envelope).error.code
    except ValueError:
        found.fail(f"Expected an envelope, was {str(answer)[:200]} for {asked}")
        return
    found.codes[code] += 1
    if code not in MEANINGS or code in SERVER_FAULTS:
        found.fail(f"Expected a documented code, was {code} for {asked}")


# ---------------------------------------------------------------------------- polls


async def _polls(session: aiohttp.ClientSession, maker: "Maker", found: Found) -> None:
    path = "/socket.io/?EIO=4&transport=polling"
    async with session.get(path) as answer:
        opened = await answer.text()
    if answer.status != 200 or not opened.startswith("0"):
        found.fail(f"Expected a poll that opens, was {answer.status} {opened[:100]}")
        return
    path += f"&sid={json.loads(opened[1:])['sid']}"
    body = "40"
    for _ in range(4):
        async with session.post(path, data=body) as answer:
            found.sent += 1
            if answer.status >= 500 and answer.status != 503:
                found.fail(f"Expected no {answer.status} of a poll with {body[:100]!r}")
            if answer.status != 200:
                found.ended += 1
                return
        body = maker.poll()
    async with session.post(path, data="1"):
        return


async def _still_well(session: aiohttp.ClientSession, maker: "Maker", found: Found) -> None:
    async with session.get("/healthz") as answer:
        if answer.status != 200:
            found.fail(f"Expected a server that is well, was {answer.status}")
    for _ in range(10):
        one = Found()
        good = maker.calm()
        await _one_socket(session, good, one)
        if not one.failures and one.good:
            return
        await asyncio.sleep(1)  # a market may be silent for a moment
    found.fail(f"Expected a good quote to be answered, was {one.figures()}")


# --------------------------------------------------------------------------- making


class Maker:
    """Frames at random. Of a `calm` one all are good quotes."""

    def __init__(
        self, dice: random.Random, tokens: Sequence[str], access_token: str, *, calm: bool = False
    ) -> None:
        self._dice = dice
        self._tokens = list(tokens)
        self._access_token = access_token
        self._is_calm = calm

    def calm(self) -> "Maker":
        return Maker(self._dice, self._tokens, self._access_token, calm=True)

    def greeting(self) -> str:
        """What follows the connect packet."""
        if self._is_calm or self._dice.random() < 0.6:
            return ""
        tokens = [self._access_token, "x", 7, None, {"a": []}]
        return self._json({"token": self._dice.choice(tokens)})

    def frame(self, number: int) -> tuple[str | bytes, bool]:
        """(a frame, whether it must be answered under `number`)."""
        pick = self._dice.random()
        if self._is_calm or pick < 0.55:
            return f"42{number}{self._json(self._call())}", True
        if pick < 0.8:
            return self._odd_call(number)
        if pick < 0.99:
            return self._dice.choice(
                ("2", "3", "3probe", f"43{number}[]", "42" + self._json([self._event(), {}]))
            ), False
        return self._broken(), False

    def poll(self) -> str:
        """Of packets with the separator of polls between."""
        packets = [
            self._dice.choice((str(self.frame(900)[0]), self._garbage(40), "2", "6", ""))
            for _ in range(self._dice.randrange(1, 6))
        ]
        return self._dice.choice(("\x1e", "\x1e\x1e", "")).join(packets)

    def _odd_call(self, number: int) -> tuple[str, bool]:
        event = self._dice.choice((*EVENTS, self._garbage(20), "", "message", "__proto__", "42"))
        rest = [self._value(4) for _ in range(self._dice.randrange(4))]
        return f"42{number}{self._json([event, *rest])}", True

    def _call(self) -> list[Any]:
        token = self._dice.choice(self._tokens)
        quote: dict[str, Any] = {"tokenAddress": token, "type": "buy", "amount": "0.001"}
        if self._is_calm:
            return ["quote", quote]
        topic = self._dice.choice((f"token:{token}", "trades", "tokens", "user:0x" + "1" * 40))
        place = self._dice.choice(({}, {"since": 1, "generation": "x"}))
        event, body = self._dice.choice(
            (
                ("quote", quote),
                ("subscribe", {"topic": topic} | place),
                ("unsubscribe", {"topic": topic}),
                ("authenticate", {"token": self._access_token}),
            )
        )
        if self._dice.random() < 0.2:
            event = self._event()
        while self._dice.random() < 0.4:
            body = self._mutated(body)
        return [event, body]

    def _event(self) -> str:
        return self._dice.choice(EVENTS)

    def _mutated(self, body: dict[str, Any]) -> dict[str, Any]:
        body = dict(body)
        name = self._dice.choice([*body, self._garbage(8), "slippage", "mode", "forBlock"])
        if self._dice.random() < 0.25:
            body.pop(name, None)
        else:
            body[name] = self._value(3)
        return body

    def _value(self, depth: int) -> Any:
        if depth and self._dice.random() < 0.25:
            many = self._dice.randrange(4)
            if self._dice.random() < 0.5:
                return [self._value(depth - 1) for _ in range(many)]
            return {self._garbage(6): self._value(depth - 1) for _ in range(many)}
        return self._dice.choice(
            (
                *(None, True, False, 0, -1, 2**53, 2**70, 1e308, -0.0, 0.1, ""),
                *("0x", "1" * 80, "1e5", "-1", "NaN", "\u202e", "\ud800", "\0", "é" * 30),
                *("token:", "token:0x" + "f" * 40, "user:", "__proto__", "$where"),
                *(self._tokens[0], self._garbage(40), "a" * self._dice.randrange(1, 12_000)),
            )
        )

    def _broken(self) -> str | bytes:
        return self._dice.choice(
            (
                *("", "4", "42", "42[", "42{}", "42[]", "42[1]", '42["connect"]', '42["*",{}]'),
                *("45-1[]", "46[]", "40/admin,", '42/admin,["quote",{}]', "41", "44", "49", "9"),
                *("1", "5", "6", "0{}", "2probe", "b4AAAA", '42999999999999999999["quote",{}]'),
                *(bytes(7), b"\x04\xff", "42" + "[" * 9_000, '42["quote",' + "{" * 200),
                *("42" + "x" * 20_000, '42["quote",{"a":' + "9" * 5_000 + "}]", self._garbage(60)),
            )
        )

    def _garbage(self, most: int) -> str:
        letters = string.printable + "é海\u202e"
        return "".join(self._dice.choice(letters) for _ in range(self._dice.randrange(most)))

    @staticmethod
    def _json(value: Any) -> str:
        return json.dumps(value)
