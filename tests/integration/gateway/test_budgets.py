"""Budgets of sockets and of users, and floods: who floods is held off, who is honest is served."""

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import socketio

from engine import text
from engine.limits import SOCKET_MESSAGE_BYTES_MAX
from tests.integration.gateway.test_realtime import open_socket, quote_of
from tests.support.gateway import Door, headers_of, open_door
from tests.support.lobby import lobby

HONEST_CALLS = 20


async def connect(door: Door, transport: str = "websocket") -> socketio.AsyncClient:
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(door.url, transports=[transport])
    return client


async def quote(door: Door, client: socketio.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = await client.call("quote", quote_of(door), timeout=5)
    return answer


async def ended(client: socketio.AsyncClient) -> bool:
    async with asyncio.timeout(5):
        while client.connected:
            await asyncio.sleep(0.02)
    return True


async def honest_success(door: Door, during: Any) -> float:
    """The share of honest calls that are served while something else goes on."""
    client, served = await connect(door), 0
    task = asyncio.create_task(during)
    for _ in range(HONEST_CALLS):
        served += (await quote(door, client))["success"]
        await asyncio.sleep(0.01)
    await task
    await client.disconnect()
    return served / HONEST_CALLS


async def test_messages_above_the_sockets_rate_are_refused_with_a_time_to_wait() -> None:
    async with open_door(socket_messages_per_s=5) as door:
        for transport in ("websocket", "polling"):
            client, other = await connect(door, transport), await connect(door)
            answers = await asyncio.gather(*(quote(door, client) for _ in range(13)))
            refused = [one["error"] for one in answers if not one["success"]]
            assert len(refused) == 13 - (10 - 1), "the handshake's own message counts too"
            assert {one["code"] for one in refused} == {"rate_limited"}
            wait_s = refused[-1]["details"]["retryAfterSeconds"]
            assert 0 < wait_s <= 2
            assert (await quote(door, other))["success"], "another socket is another budget"
            await asyncio.sleep(wait_s)
            assert (await quote(door, client))["success"]
            await client.disconnect()
            await other.disconnect()


async def test_socket_that_does_not_wait_is_ended() -> None:
    async with open_door(socket_messages_per_s=5) as door:
        client, other = await connect(door), await connect(door)
        for _ in range(40):
            await client.emit("quote", quote_of(door))
        assert await ended(client)
        assert (await quote(door, other))["success"]
        # By polls the same; the library takes sixteen packets in one at most.
        polled = await connect(door, "polling")
        for number in range(60):
            if polled.connected:
                await polled.emit("nonsense", {})
            await asyncio.sleep(0.05 * (number % 10 == 9))
        assert await ended(polled)
        assert any(line[2].get("why") == "floods" for line in door.log.lines)
        await other.disconnect()


async def test_bytes_above_the_sockets_rate_are_refused() -> None:
    async with open_door(socket_bytes_per_s=1_000) as door:
        client = await connect(door)
        large = {"topic": "x" * (SOCKET_MESSAGE_BYTES_MAX - 200)}
        codes = []
        for _ in range(3):
            answer = await client.call("subscribe", large, timeout=5)
            codes.append(answer["error"]["code"])
        assert codes == ["invalid_request", "invalid_request", "rate_limited"]
        assert answer["error"]["details"]["retryAfterSeconds"] > 1
        await client.disconnect()


async def test_quotes_of_one_address_are_bounded_over_its_sockets() -> None:
    async with open_door(socket_quotes_per_minute=10) as door:
        clients = [await connect(door) for _ in range(3)]
        answers = [await quote(door, one) for _ in range(4) for one in clients]
        assert [one["success"] for one in answers] == [True] * 10 + [False] * 2
        assert answers[-1]["error"]["code"] == "rate_limited"
        assert (await door.post("/api/trading/quote", quote_of(door)))[0] == 200
        await asyncio.gather(*(one.disconnect() for one in clients))


async def test_user_has_a_budget_beside_those_of_address_and_key(
    mongodb_url: str, redis_url: str
) -> None:
    limits = {"reads_per_minute": 6, "user_reads_per_minute": 4, "user_writes_per_window": 1}
    async with lobby(mongodb_url, redis_url, **limits) as door:
        mine = headers_of(await door.session_of())
        url = f"{door.url}/api/trading/quote"
        for left in (3, 2, 1, 0):
            async with door.session.post(url, json=quote_of(door), headers=mine) as response:
                assert response.status == 200
                assert response.headers["RateLimit-Limit"] == "4"
                assert response.headers["RateLimit-Remaining"] == str(left)
        async with door.session.post(url, json=quote_of(door), headers=mine) as response:
            assert response.status == 429 and int(response.headers["Retry-After"]) > 0
        assert (await door.get("/api/users/me", headers=mine))[0] == 429, "one budget of reads"
        # The address has its own; a token that is no good spends that one.
        bad = {"Authorization": "Bearer nonsense"}
        assert [(await door.get("/api/config", headers=bad))[0] for _ in range(2)] == [200] * 2
        assert [(await door.get("/api/config"))[0] for _ in range(5)] == [200] * 4 + [429]
        change = {"profile": {"name": "Tide"}}
        statuses = [
            (await door.ask("PATCH", "/api/users/me", json=change, headers=mine))[0]
            for _ in range(2)
        ]
        assert statuses == [200, 429]


async def test_connect_storm_leaves_room_for_others() -> None:
    fields = {"connects_per_s": 3, "trusted_proxies": ("127.0.0.0/8",)}
    async with open_door(**fields) as door:
        url = f"{door.url}/socket.io/?EIO=4&transport=polling"

        async def come(who: str) -> tuple[int, str | None]:
            headers = {"X-Forwarded-For": who}
            async with door.session.get(url, headers=headers) as response:
                return response.status, response.headers.get("Retry-After")

        storm = Counter([await come("203.0.113.1") for _ in range(60)])
        assert storm[200, None] <= 3 * 2 + 3 * 10 and storm[429, "1"] >= 20
        assert [await come(f"198.51.100.{n}") for n in range(20)] == [(200, None)] * 20
    async with open_door(connects_per_s_all=2, trusted_proxies=("127.0.0.0/8",)) as door:
        url = f"{door.url}/socket.io/?EIO=4&transport=polling"
        statuses = Counter([(await come(f"198.51.100.{n}"))[0] for n in range(60)])
        assert statuses[503] >= 20 and statuses[200] >= 4


async def test_message_storm_leaves_honest_clients_served() -> None:
    async with open_door(socket_messages_per_s=20) as door:
        flooders = [await connect(door) for _ in range(8)]
        assert await honest_success(door, _storm(door, flooders)) == 1.0
        assert all([await ended(one) for one in flooders])


async def _storm(door: Door, flooders: list[socketio.AsyncClient]) -> None:
    topic = {"topic": text.topic_of_token(door.tokens[0])}
    for _ in range(100):
        for one in flooders:
            if one.connected:
                for event, data in (("quote", quote_of(door)), ("subscribe", topic), ("x", {})):
                    await one.emit(event, data)
        await asyncio.sleep(0)


async def test_oversize_frames_leave_honest_clients_served(door: Door) -> None:
    async def flood() -> None:
        frame = '42["quote",{"a":"' + "x" * SOCKET_MESSAGE_BYTES_MAX + '"}]'
        async with aiohttp.ClientSession() as session:
            for _ in range(30):
                socket = await open_socket(door, session)
                await socket.send_str(frame)
                closed = await asyncio.wait_for(socket.receive(), 5)
                assert closed.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

    assert await honest_success(door, flood()) == 1.0
