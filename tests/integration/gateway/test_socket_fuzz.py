"""The Socket.IO door asked at random, and the same with faults put in: they are found."""

from typing import Any

import pytest

from engine import text
from gateway.realtime import Realtime
from tests.fuzz import sockets
from tests.support.gateway import Door, open_door

MESSAGES = 500


async def asked(door: Door, *, messages: int = MESSAGES, seed: int = 1) -> sockets.Found:
    headers = await door.login()
    return await sockets.fuzz(
        door.url,
        messages=messages,
        seed=seed,
        tokens=[text.address(one) for one in door.tokens],
        access_token=headers["Authorization"].removeprefix("Bearer "),
    )


async def test_random_messages_are_answered_by_the_envelope_and_end_no_server(door: Door) -> None:
    found = await asked(door)
    assert found.failures == []
    assert found.sent >= MESSAGES and found.answered > MESSAGES / 3
    assert found.good > 50 and len(found.codes) >= 4, found.figures()


@pytest.mark.parametrize("fault", ["no envelope", "unknown code", "breaks", "answers nothing"])
async def test_fault_of_the_door_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    real = Realtime._refused

    def refused(self: Realtime, name: str, error: Exception) -> Any:
        answer = real(self, name, error)
        if fault == "no envelope":
            return answer["error"]
        code = "teapot" if fault == "unknown code" else "internal_error"
        return answer | {"error": answer["error"] | {"code": code}}

    async def unknown(self: Realtime, *given: Any) -> None:
        return None

    name, wrong = ("_unknown", unknown) if fault == "answers nothing" else ("_refused", refused)
    monkeypatch.setattr(Realtime, name, wrong)
    async with open_door() as door:
        found = await asked(door, messages=60)
    assert found.failures
