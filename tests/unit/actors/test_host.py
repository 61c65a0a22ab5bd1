"""What a host answers where a message cannot cross."""

import asyncio

from actors import wire
from actors.host import Host, Role
from engine.control import Failure
from tests.support.fake_roles import Log


def _host(answer: object) -> Host:
    host = Host.__new__(Host)  # no Ray here
    host._role = Role({str: lambda _: answer}, lambda: asyncio.sleep(0), Log())
    host._in_flight = 0
    return host


async def test_ask_that_is_no_message_is_answered_as_a_bug() -> None:
    reply = wire.unpacked(await _host("answer").ask(b"no pickle"))
    assert isinstance(reply, Failure) and reply.code == "bug"


async def test_answer_that_cannot_be_packed_is_answered_as_a_bug() -> None:
    assert wire.unpacked(await _host("answer").ask(wire.packed("one"))) == "answer"
    reply = wire.unpacked(await _host(lambda: None).ask(wire.packed("one")))
    assert isinstance(reply, Failure) and reply.code == "bug"
