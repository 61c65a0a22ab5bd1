"""What is spelled ahead of its turn."""

import asyncio
import contextlib

import pytest

from engine.errors import ConsistencyError
from storage import statements


async def test_ahead_gives_the_same_in_order_and_makes_no_more_than_its_bound():
    made = []

    def numbers():
        for number in range(10 * statements.PIECES_AHEAD_MAX):
            made.append(number)
            yield number

    found = []
    async with contextlib.aclosing(statements.ahead(numbers())) as pieces:
        async for piece in pieces:
            found.append(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(made) <= len(found) + statements.PIECES_AHEAD_MAX + 1
            assert found[-1] > 100 or len(made) > len(found)
    assert found == list(range(10 * statements.PIECES_AHEAD_MAX))


async def test_ahead_raises_what_ended_it_after_what_was_made():
    def broken():
        yield 1
        raise ConsistencyError("inconsistent_history", "Expected a row, was none")

    found = []
    with pytest.raises(ConsistencyError, match="Expected a row"):
        async with contextlib.aclosing(statements.ahead(broken())) as pieces:
            async for piece in pieces:
                found.append(piece)
    assert found == [1]


async def test_ahead_makes_nothing_after_it_is_closed():
    made = []

    def numbers():
        for number in range(1_000):
            made.append(number)
            yield number

    async with contextlib.aclosing(statements.ahead(numbers())) as pieces:
        assert await anext(pieces) == 0
    count = len(made)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(made) == count < 1_000
    assert len(asyncio.all_tasks()) == 1
