"""A bridge over two real chains, with all its roles at work."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy import datadir
from deploy.embedded import Embedded
from tests.support.bridge_door import Bridged, bridged


@pytest.fixture(scope="module")
def nodes() -> Iterator[Embedded]:
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        yield embedded


@pytest.fixture
async def busy(
    nodes: Embedded, postgres_url: str, mongodb_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Bridged]:
    """Everybody works."""
    urls = {"postgres": postgres_url, "mongodb": mongodb_url, "redis": redis_url}
    async with bridged(nodes, urls, tmp_path) as one:
        yield one
