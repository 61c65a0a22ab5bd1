"""One gateway a test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import Door, open_door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as opened:
        yield opened
        assert opened.log.errors == []
