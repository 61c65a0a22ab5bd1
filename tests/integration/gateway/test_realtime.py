"""Socket.IO over the real application, with the stock Python client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import socketio

from engine import text
from engine.limits import SOCKET_MESSAGE_BYTES_MAX, SOCKET_QUEUE_MAX, SOCKET_TOPICS_MAX
from engine.messages import Refusal
from tests.support.gateway import Door, open_door


class Listener:
    """A client that keeps what it is pushed."""

    def __init__(self) -> None:
        self.socket = socketio.AsyncClient(reconnection=False)
        self.pushed: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        for event in ("price", "transaction", "graduation"):
            self.socket.on(event, self._keep(event))

    def _keep(self, event: str) -> Any:
        async def keep(message: dict[str, Any]) -> None:
            await self.pushed.put((event, message))

        return keep

    async def call(self, event: str, data: Any = None) -> dict[str, Any]:
        answer: dict[str, Any] = await self.socket.call(event, data, timeout=5)
        return answer

    async def next(self) -> tuple[str, dict[str, Any]]:
        return await asyncio.wait_for(self.pushed.get(), 5)


@pytest.fixture(params=["websocket", "polling", "upgrade"])
async def listener(door: Door, request: pytest.FixtureRequest) -> AsyncIterator[Listener]:
    one = Listener()
    transports = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": None}
    await one.socket.connect(door.url, transports=transports[request.param])
    yield one
    await one.socket.disconnect()


def quote_of(door: Door, **fields: Any) -> dict[str, Any]:
    token = text.address(door.tokens[0])
    return {"tokenAddress": token, "type": "buy", "amount": "0.01"} | fields


async def test_quote_is_the_rest_envelope(door: Door, listener: Listener) -> None:
    answer = await listener.call("quote", quote_of(door))
    _, rest = await door.post("/api/trading/quote", quote_of(door))
    assert answer["success"] is True
    assert answer["data"] == rest["data"]
    answer = await listener.call("quote", quote_of(door, slippage=0.5))
    assert answer["success"] is True


async def test_quote_errors_are_the_rest_errors(door: Door, listener: Listener) -> None:
    for fields in ({"amount": "0"}, {"tokenAddress": "0x"}, {"amount": 1.5}, {"slippage": 99}):
        answer = await listener.call("quote", quote_of(door, **fields))
        _, rest = await door.post("/api/trading/quote", quote_of(door, **fields))
        assert answer["error"] == rest["error"]
    for message in (None, [], "text", 7, {}):
        answer = await listener.call("quote", message)
        assert answer["error"]["code"] in ("invalid_request", "invalid_address")


async def test_subscribe_gives_a_snapshot_then_every_message_in_order(
    door: Door, listener: Listener
) -> None:
    topic = f"token:{text.address(door.tokens[0])}"
    answer = await listener.call("subscribe", {"topic": topic})
    data = answer["data"]
    assert data["topic"] == topic.lower()
    assert data["snapshot"]["tokenAddress"] == text.address(door.tokens[0])
    assert data["snapshot"]["asOf"]["blockNumber"] == door.markets.head
    assert (data["seq"], data["generation"]) == (None, None)
    for seq, event in ((1, "transaction"), (2, "price"), (3, "graduation")):
        door.ticks.publish(topic=topic.lower(), event=event, seq=seq, data={"n": seq})
        shown = {"topic": topic.lower(), "seq": seq, "generation": "g", "data": {"n": seq}}
        spanned = {"fromSeq": seq, "toSeq": seq} if event == "price" else {}
        assert await listener.next() == (event, shown | spanned)
    again = (await listener.call("subscribe", {"topic": topic.lower()}))["data"]
    assert (again["seq"], again["generation"]) == (3, "g")
    left = await listener.call("unsubscribe", {"topic": topic})
    assert left["data"]["topic"] == topic.lower()
    door.ticks.publish(topic=topic.lower(), seq=4)
    await listener.call("subscribe", {"topic": "trades"})
    door.ticks.publish(topic="trades", seq=1, bucket=-1, incarnation=0, event="transaction")
    assert (await listener.next())[1]["topic"] == "trades"


async def test_messages_of_an_older_owner_and_repeats_are_dropped(
    door: Door, listener: Listener
) -> None:
    topic = text.topic_of_token(door.tokens[0])
    await listener.call("subscribe", {"topic": topic})
    door.ticks.publish(topic=topic, seq=1, bucket=5, incarnation=2, generation="new")
    door.ticks.publish(topic=topic, seq=9, bucket=5, incarnation=1, generation="old")
    door.ticks.publish(topic=topic, seq=1, bucket=5, incarnation=2, generation="new")
    door.ticks.publish(topic=topic, seq=2, bucket=5, incarnation=2, generation="new")
    heard = [(await listener.next())[1] for _ in range(2)]
    assert [(one["generation"], one["seq"]) for one in heard] == [("new", 1), ("new", 2)]
    assert listener.pushed.empty()


async def test_subscribe_refuses_what_is_no_topic(door: Door, listener: Listener) -> None:
    cases = [
        ({"topic": "token:0x12"}, "invalid_address"),
        ({"topic": f"user:{text.address(door.tokens[0])}"}, "forbidden"),
        ({"topic": "everything"}, "invalid_request"),
        ({"topic": "x" * 65}, "invalid_request"),
        ({"topic": 7}, "invalid_request"),
        ({}, "invalid_request"),
        (None, "invalid_request"),
    ]
    for message, code in cases:
        answer = await listener.call("subscribe", message)
        assert (answer["success"], answer["error"]["code"]) == (False, code)
    answer = await listener.call("nonsense", {})
    assert answer["error"]["code"] == "invalid_request"


async def test_subscribe_to_an_unknown_or_silent_market_leaves_no_subscription(
    door: Door, listener: Listener
) -> None:
    topic = f"token:0x{'12' * 20}"
    answer = await listener.call("subscribe", {"topic": topic})
    assert answer["error"]["code"] == "token_not_found"
    door.markets.refusal = Refusal("stale_chain", "Expected a block")
    answer = await listener.call("subscribe", {"topic": text.topic_of_token(door.tokens[0])})
    assert answer["error"]["code"] == "stale_chain"
    for seq, one in enumerate((topic, text.topic_of_token(door.tokens[0]))):
        door.ticks.publish(topic=one, seq=seq + 1)
    await listener.call("quote", {})
    assert listener.pushed.empty()


async def test_subscribe_waits_for_a_token_that_was_just_launched(
    door: Door, listener: Listener
) -> None:
    token = door.scenario.launch("goose")
    asked = asyncio.create_task(listener.call("subscribe", {"topic": text.topic_of_token(token)}))
    await asyncio.sleep(0.2)
    door.markets.take(door.scenario)
    answer = await asked
    assert answer["success"] is True


async def test_subscribe_beyond_the_bound_is_refused(door: Door) -> None:
    one = Listener()
    await one.socket.connect(door.url, transports=["websocket"])
    tokens = [door.scenario.launch(f"many {n}") for n in range(SOCKET_TOPICS_MAX + 1)]
    door.markets.take(door.scenario)
    answers = [
        await one.call("subscribe", {"topic": text.topic_of_token(token)}) for token in tokens
    ]
    assert [answer["success"] for answer in answers] == [True] * SOCKET_TOPICS_MAX + [False]
    assert answers[-1]["error"]["code"] == "invalid_request"
    await one.socket.disconnect()


async def open_socket(door: Door, session: aiohttp.ClientSession) -> Any:
    url = f"{door.url}/socket.io/?EIO=4&transport=websocket"
    socket = await session.ws_connect(url, max_msg_size=0)
    await socket.receive_str()
    await socket.send_str("40")
    assert (await socket.receive_str()).startswith("40")
    return socket


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "nonsense",
        "4",
        "4[[[[",
        "9",
        "2" + "[" * 5_000,
        "42" + "[" * 10_000,
        "42{}",
        "42[]",
        "42[7]",
        '42["connect"]',
        '42["disconnect"]',
        '42["quote",{"amount":NaN}]',
        "429999999999999999999999999999999[",
        '451-["quote",{"_placeholder":true,"num":0}]',
        '4599999999-["quote",{}]',
        "4²",
        "40[]",
        b"\x00\x01binary",
        "42" + "x" * (SOCKET_MESSAGE_BYTES_MAX + 1),
    ],
)
async def test_a_hostile_frame_ends_at_most_its_own_socket(door: Door, frame: str | bytes) -> None:
    hostile, honest = Listener(), Listener()
    await honest.socket.connect(door.url, transports=["websocket"])
    async with aiohttp.ClientSession() as session:
        socket = await open_socket(door, session)
        if isinstance(frame, bytes):
            await socket.send_bytes(frame)
        else:
            await socket.send_str(frame)
        await socket.send_str("3")
        assert (await honest.call("quote", quote_of(door)))["success"] is True
        await socket.close()
    assert hostile.pushed.empty()
    await honest.socket.disconnect()


async def test_hostile_polls_end_at_most_their_own_session(door: Door) -> None:
    base = f"{door.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session:
        for body in (b"", b"4", b"b////", b"\xff\xff", b"2" + b"[" * 9_000, b"4\x1e" * 30, b"0"):
            async with session.get(base) as response:
                sid = (await response.text()).split('"sid":"')[1].split('"')[0]
            async with session.post(f"{base}&sid={sid}", data=body) as response:
                assert response.status in (200, 400)
        async with session.post(f"{base}&sid=nobody", data=b"40") as response:
            assert response.status == 400
        async with session.get(f"{door.url}/socket.io/?EIO=3&transport=polling") as response:
            assert response.status == 400
        too_large = b"4" + b"x" * (SOCKET_MESSAGE_BYTES_MAX + 1)
        async with session.get(base) as response:
            sid = (await response.text()).split('"sid":"')[1].split('"')[0]
        async with session.post(f"{base}&sid={sid}", data=too_large) as response:
            assert response.status == 413


async def test_upgrade_from_a_foreign_origin_is_refused(door: Door) -> None:
    url = f"{door.url}/socket.io/?EIO=4&transport=websocket"
    for origin, allowed in (
        ("https://app.example", True),
        (door.url, True),
        ("https://evil.example", False),
        ("null", False),
    ):
        try:
            socket = await door.session.ws_connect(url, origin=origin)
            await socket.close()
            assert allowed, origin
        except aiohttp.WSServerHandshakeError as error:
            assert (error.status, allowed) == (400, False), origin


async def test_a_reader_that_does_not_read_is_evicted_and_hurts_nobody(door: Door) -> None:
    topic = text.topic_of_token(door.tokens[0])
    honest = Listener()
    await honest.socket.connect(door.url, transports=["websocket"])
    await honest.call("subscribe", {"topic": topic})
    async with aiohttp.ClientSession(read_bufsize=1024) as session:
        slow = await open_socket(door, session)
        await slow.send_str('421["subscribe",{"topic":"' + topic + '"}]')
        assert "success" in await slow.receive_str()
        # The client's end stops reading from its socket altogether.
        transport = slow._response.connection.transport
        transport.pause_reading()
        padding = "x" * 30_000
        sent = 0
        while not _evicted(door):
            for _ in range(50):
                sent += 1
                door.ticks.publish(topic=topic, seq=sent, data={"padding": padding})
            for _ in range(50):
                await honest.next()
            assert sent < 20 * SOCKET_QUEUE_MAX, "Expected an eviction"
        assert (await honest.call("quote", quote_of(door)))["success"] is True
        transport.abort()
    await honest.socket.disconnect()


def _evicted(door: Door) -> bool:
    return any(line[1] == "socket_evicted" for line in door.log.lines)


async def test_connect_storm_is_limited_by_address() -> None:
    async with open_door(reads_per_minute=3) as door:
        url = f"{door.url}/socket.io/?EIO=4&transport=polling"
        statuses = []
        for _ in range(5):
            async with door.session.get(url) as response:
                statuses.append(response.status)
    assert statuses == [200, 200, 200, 429, 429]


async def test_disconnect_forgets_the_sockets_topics(door: Door) -> None:
    one = Listener()
    await one.socket.connect(door.url, transports=["websocket"])
    await one.call("subscribe", {"topic": "trades"})
    await one.socket.disconnect()
    for _ in range(50):
        async with door.session.get(f"{door.url}/metrics") as response:
            exposed = await response.text()
        if "risecurve_subscriptions 0.0" in exposed and "risecurve_sockets 0.0" in exposed:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("Expected no subscriptions after the disconnect")
