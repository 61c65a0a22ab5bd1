"""The servers really go away and come back on the same port."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy import datadir
from deploy.embedded import Embedded
from engine.errors import TransientError
from engine.messages import FeedPosition, Tick
from storage import documents, postgres, valkey
from storage.documents import Documents
from storage.events import EventStore
from storage.people import People
from storage.rates import RateLimits
from storage.ticks import Ticks
from tests.support.history import Historian, position_of
from tests.support.scenario import CHAIN_ID, Scenario


@pytest.fixture
def own() -> Iterator[Embedded]:
    """Servers of the test's own."""
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        yield embedded


def port_of(own: Embedded, name: str) -> int:
    return own.servers[name].port


async def unavailable(call) -> None:
    with pytest.raises(TransientError) as caught:
        await asyncio.wait_for(call(), 10)
    assert caught.value.code == "store_unavailable"


async def healed(call):
    for _ in range(100):
        try:
            return await call()
        except TransientError:
            await asyncio.sleep(0.1)
    raise AssertionError("Expected the store to heal")


async def test_postgres_away_then_back_has_what_was_written(own):
    pool = await postgres.connect(own.start_postgres(), timeout_s=2)
    await postgres.migrate(pool)
    events, historian, scenario = EventStore(pool, CHAIN_ID), Historian(), Scenario()
    scenario.launch("first")
    first, second = scenario.seal(), scenario.seal()
    incarnation = await events.claim()
    rows = [historian.rows(first), historian.rows(second)]
    await events.write(rows[:1], incarnation=incarnation, position=position_of(first))
    port = port_of(own, "postgres")
    own.stop("postgres")
    await unavailable(events.position)
    await unavailable(
        lambda: events.write(rows, incarnation=incarnation, position=position_of(second))
    )
    own.start_postgres(port=port)
    assert await healed(events.position) == position_of(first)
    assert await events.write(rows, incarnation=incarnation, position=position_of(second))
    assert await events.position() == position_of(second) != FeedPosition(-1, bytes(32))
    pool.terminate()


async def test_valkey_away_then_back_goes_on_listening(own):
    client = valkey.connect(own.start_valkey(), timeout_s=1)
    ticks, limits = Ticks(client), RateLimits(client)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    ready = asyncio.Event()

    async def listen() -> None:
        async for message in ticks.listen(ready.set):
            heard.put_nowait(message)

    task = asyncio.create_task(listen())
    tick = Tick("token:0xaa", "price", 1, "g", {})
    await asyncio.wait_for(ready.wait(), 5)
    assert await ticks.publish(1, 5, [tick])
    await asyncio.wait_for(heard.get(), 5)
    ready.clear()
    port = port_of(own, "valkey")
    own.stop("valkey")
    await unavailable(lambda: ticks.publish(1, 5, [tick]))
    await unavailable(lambda: limits.take("ip", 1, 1))
    own.start_valkey(port=port)
    await asyncio.wait_for(ready.wait(), 10)
    assert await healed(lambda: ticks.publish(1, 5, [tick]))
    await asyncio.wait_for(heard.get(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.aclose()


async def test_mongod_away_then_back_knows_its_users(own):
    client = documents.connect(own.start_mongod(), timeout_s=1)
    people = People(documents.database(client))
    token_documents = Documents(documents.database(client))
    await people.connect(bytes(20), 1)
    port = port_of(own, "mongod")
    own.stop("mongod")
    await unavailable(lambda: people.connect(bytes(20), 2))
    await unavailable(token_documents.ping)
    own.start_mongod(port=port)
    user = await healed(lambda: people.find(bytes(20)))
    assert user is not None and user["logins"] == 1
    await client.close()
