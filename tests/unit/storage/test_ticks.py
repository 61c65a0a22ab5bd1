"""A publication of many lines, heard; what needs a server is tested against one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from storage.ticks import LINES_A_TURN, Ticks

LINES = 8 * LINES_A_TURN


async def test_others_have_the_loop_while_a_long_publication_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def subscribed(_: Ticks) -> AsyncIterator[tuple[str, bytes]]:
        yield "message", b"\n".join(b"%d" % number for number in range(LINES))
        await asyncio.Event().wait()

    monkeypatch.setattr(Ticks, "_subscribed", subscribed)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    heard = []
    async for message in Ticks(Redis()).listen():
        heard.append(int(message))
        if len(heard) == LINES:
            break
    counting.cancel()
    assert heard == list(range(LINES)) and turns >= LINES // LINES_A_TURN - 1
