"""One gateway a test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import Door, open_door
from tests.support.lobby import lobby


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as opened:
        yield opened
        assert opened.log.errors == []


@pytest.fixture
async def people_door(mongodb_url: str, redis_url: str) -> AsyncIterator[Door]:
    """With real stores of people."""
    async with lobby(mongodb_url, redis_url) as opened:
        yield opened
        assert opened.log.errors == []
