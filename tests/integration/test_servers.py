"""The fixtures of tests/support give what they say: real servers, fresh databases."""

from collections.abc import Callable

import asyncpg
import pymongo
import pytest
import redis
import websockets

from tests.support.servers import Anvil


@pytest.mark.parametrize("turn", [1, 2])
async def test_postgres_url_each_test_fresh(postgres_url: str, turn: int) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE once (n int)")
    await connection.close()


@pytest.mark.parametrize("turn", [1, 2])
async def test_mongodb_url_each_test_fresh_with_transactions(mongodb_url: str, turn: int) -> None:
    async with pymongo.AsyncMongoClient[dict[str, int]](mongodb_url) as client:
        numbers = client.get_default_database()["numbers"]
        assert await numbers.count_documents({}) == 0
        async with client.start_session() as session, await session.start_transaction():
            await numbers.insert_one({"n": turn}, session=session)
        assert await numbers.count_documents({}) == 1


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_url_each_test_fresh(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("n", turn)


async def test_anvil_shared_answers_on_both_urls(anvil: Anvil) -> None:
    assert int(anvil.rpc("eth_chainId"), 16) == anvil.chain_id
    async with websockets.connect(anvil.ws_url) as socket:
        await socket.send('{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
        assert hex(anvil.chain_id) in str(await socket.recv())


def test_make_anvil_two_chains_are_apart(make_anvil: Callable[..., Anvil]) -> None:
    first = make_anvil(block_time=None)
    second = make_anvil(11155111, block_time=None)
    first.rpc("anvil_mine", 3)
    assert int(first.rpc("eth_blockNumber"), 16) == 3
    assert int(second.rpc("eth_blockNumber"), 16) == 0
    assert len(first.keys()) == 10
