"""What a killed role leaves behind is collected in the test that killed it."""

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.simulation.run import migrate


@pytest.fixture(scope="session")
def url(postgres_server_url: str) -> str:
    """A migrated database of these tests alone."""
    made = urlsplit(postgres_server_url)._replace(path="/simulation").geturl()

    async def make() -> None:
        connection = await asyncpg.connect(postgres_server_url)
        await connection.execute("CREATE DATABASE simulation")
        await connection.close()
        await migrate(made)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result(timeout=60)
    return made


@pytest.fixture(autouse=True)
def left_behind() -> Iterator[None]:
    """Connections of the dead are closed by nobody, as after kill -9: no fault of these tests."""
    yield
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/simulation" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )
