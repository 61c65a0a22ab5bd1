"""Quotes that are taken before the library: nothing about them is different but their speed."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import socketio

from engine import text
from engine.limits import SOCKET_QUEUE_MAX
from engine.messages import Refusal
from gateway import realtime, socket_client
from gateway.intake import Intake
from gateway.quick_quotes import QuickQuotes
from gateway.sockets import encode_event
from tests.integration.gateway.test_realtime import Listener, open_socket, quote_of
from tests.support.gateway import Door, open_door
from tests.support.lobby import Clock
from tests.unit.gateway.test_quote_frames import BAD, GOOD, RAW

QUOTES = 300


@dataclass
class Seen:
    """How many quotes went the quick way."""

    quick: int = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    found, real = Seen(), QuickQuotes.take

    def take(self: QuickQuotes, client: Any, frame: str) -> bool:
        taken = real(self, client, frame)
        found.quick += taken
        return taken

    monkeypatch.setattr(QuickQuotes, "take", take)
    yield found


@dataclass
class Raw:
    """A WebSocket that sends frames as they are, and keeps acknowledgements by their id."""

    socket: Any
    answers: dict[int, Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    async def until(self, ids: set[int]) -> None:
        async with asyncio.timeout(10):
            while not ids <= self.answers.keys():
                self.hear(await self.socket.receive_str())

    def hear(self, frame: str) -> None:
        if frame.startswith("43"):
            id, _, body = frame[2:].partition("[")
            assert int(id) not in self.answers, "Expected one answer"
            self.answers[int(id)] = json.loads("[" + body)[0]
        self.events.append(frame[:2])

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            while True:
                message = await self.socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return True
                self.hear(message.data)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def raw(door: Door, session: aiohttp.ClientSession) -> Raw:
    return Raw(await open_socket(door, session))


def frame(door: Door, id: int, **fields: Any) -> str:
    return f'42{id}["quote",{json.dumps(quote_of(door, **fields), separators=(",", ":"))}]'


def blank(frame: str) -> str:
    """With a blank before the last bracket it is the library's."""
    return frame[:-1] + " ]"


def clients(door: Door) -> list[Any]:
    return list(door.gateway._realtime._clients.values())


def in_flight(door: Door) -> int:
    return door.gateway._context.in_flight.now


async def quiet(door: Door) -> None:
    """Nothing under way any more."""
    async with asyncio.timeout(10):
        while in_flight(door) or any(one.calls for one in clients(door)):
            await asyncio.sleep(0.01)


def without_time(answer: Any) -> Any:
    assert answer.pop("timestamp")
    return answer


# ----------------------------------------------------------------------- the same answers


def random_frames(door: Door, seed: int) -> list[str]:
    dice, made = random.Random(seed), []
    tokens = [text.address(one) for one in (*door.tokens, bytes(20))]
    for id in range(QUOTES):
        body = {"tokenAddress": dice.choice(tokens), "type": dice.choice(["buy", "sell"])}
        body["amount"] = dice.choice(["0.01", "1", "0.5", "250000000", "99999999999"])
        for name in dice.sample(sorted(GOOD), 2):
            if name not in body and dice.random() < 0.7:
                body[name] = dice.choice(GOOD[name])
        if dice.random() < 0.3:
            name = dice.choice(sorted(BAD))
            body[name] = dice.choice(BAD[name])
        shown = json.dumps(body, separators=(",", ":"))
        if dice.random() < 0.2:
            extra = dice.choice(RAW)
            shown = f"{shown[:-1]},{extra}}}" if extra else shown
        made.append(f'42{id}["quote",{shown}{dice.choice(["]", "]", "]", "]", ",1]", " ]"])}')
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_quotes_are_answered_as_by_the_library(
    session: aiohttp.ClientSession, seen: Seen, seed: int
) -> None:
    async with open_door() as door:
        quick, slow = await raw(door, session), await raw(door, session)
        clients(door)[1].socket.take = None
        # What no JSON parser of the library takes is not answered at all.
        frames = [
            one for one in random_frames(door, seed) if "NaN" not in one and "1e999" not in one
        ]
        ids = {int(one[2 : one.index("[")]) for one in frames}
        for one in frames:
            await quick.socket.send_str(one)
            await slow.socket.send_str(one)
        await quick.until(ids)
        await slow.until(ids)
        assert 50 < seen.quick < len(frames) - 50, "Expected both kinds of frames"
        codes: Counter[str] = Counter()
        for one in frames:
            id = int(one[2 : one.index("[")])
            answers = [without_time(side.answers[id]) for side in (quick, slow)]
            assert answers[0] == answers[1], one
            codes[answers[0].get("error", {}).get("code", "ok")] += 1
        assert len(codes) >= 5 and codes["ok"] > 30, codes
        assert door.log.errors == []


@pytest.mark.parametrize("code", ["stale_chain", "exceeds_sold", "market_halted", "made_up"])
async def test_refusal_of_the_market_is_the_librarys(
    session: aiohttp.ClientSession, code: str
) -> None:
    async with open_door() as door:
        quick, slow = await raw(door, session), await raw(door, session)
        clients(door)[1].socket.take = None
        door.markets.refusal = Refusal(code, "Expected better times")
        for side in (quick, slow):
            await side.socket.send_str(frame(door, 1))
            await side.until({1})
        assert without_time(quick.answers[1]) == without_time(slow.answers[1])
        # A code that is none is a bug of ours: it is logged, and shows nothing.
        assert [line[1] for line in door.log.errors] == ["socket_call_failed"] * 2 * (
            code == "made_up"
        )
        async with door.session.get(f"{door.url}/metrics") as response:
            exposed = await response.text()
        shown = "internal_error" if code == "made_up" else code
        assert f'risecurve_quotes_total{{door="socketio",outcome="{shown}"}} 2.0' in exposed


@pytest.mark.parametrize(("transports", "quick"), [(["websocket"], 2), (["polling"], 0), (None, 2)])
async def test_stock_client_works_unchanged_on_every_transport(
    door: Door, seen: Seen, transports: list[str] | None, quick: int
) -> None:
    one = Listener()
    await one.socket.connect(door.url, transports=transports)
    _, rest = await door.post("/api/trading/quote", quote_of(door))
    assert (await one.call("quote", quote_of(door)))["data"] == rest["data"]
    assert (await one.call("quote", quote_of(door, slippage=0.5)))["success"]
    assert (await one.call("quote", quote_of(door, amount="0")))["error"][
        "code"
    ] == "invalid_amount"
    assert seen.quick == quick
    await one.socket.disconnect()


# ---------------------------------------------------------------------- the same moments


async def test_quote_before_the_handshake_or_after_the_goodbye_is_not_answered(
    door: Door, session: aiohttp.ClientSession, seen: Seen
) -> None:
    for handshake in (False, True):
        url = f"{door.url}/socket.io/?EIO=4&transport=websocket"
        one = Raw(await session.ws_connect(url))
        await one.socket.receive_str()
        if handshake:
            await one.socket.send_str("40")
            assert (await one.socket.receive_str()).startswith("40")
            await one.socket.send_str("41")
        await one.socket.send_str(frame(door, 1))
        if not handshake:
            await one.socket.send_str("40")
            assert (await one.socket.receive_str()).startswith("40")
            await one.socket.send_str(frame(door, 2))
            await one.until({2})
            await one.socket.send_str("41")
        assert await one.ended()
        assert 1 not in one.answers
    assert seen.quick == 1


async def test_quote_in_the_middle_of_an_upgrade_is_the_librarys(
    door: Door, session: aiohttp.ClientSession, seen: Seen
) -> None:
    base = f"{door.url}/socket.io/?EIO=4"
    async with session.get(base + "&transport=polling") as response:
        sid = (await response.text()).split('"sid":"')[1].split('"')[0]
    async with session.post(f"{base}&transport=polling&sid={sid}", data=b"40") as response:
        assert response.status == 200
    socket = await session.ws_connect(f"{base}&transport=websocket&sid={sid}")
    await socket.send_str(frame(door, 1))
    # The library wants the probe first, and nothing else.
    assert (await socket.receive()).type is not aiohttp.WSMsgType.TEXT
    assert seen.quick == 0


async def test_answer_stands_behind_what_was_sent_before_it(
    door: Door, session: aiohttp.ClientSession
) -> None:
    one = await raw(door, session)
    (client,) = clients(door)
    for number in range(3):
        client.push(encode_event("price", b"%d" % number))
    client.acknowledge('431["first"]')
    for _ in range(4):
        one.hear(await one.socket.receive_str())
    assert one.events == ["42", "42", "42", "43"]
    await asyncio.sleep(0.05)  # The library's writer waits again.
    client.acknowledge('432["second"]')
    client.push(encode_event("price", b"4"))
    for _ in range(2):
        one.hear(await one.socket.receive_str())
    assert one.events[4:] == ["43", "42"]


async def test_quotes_and_pushes_come_in_the_order_in_which_they_were_sent(
    door: Door, session: aiohttp.ClientSession
) -> None:
    # Each push counts up, and each answer shows how far the count was when it was made.
    one = await raw(door, session)
    (client,) = clients(door)
    count = 0
    for id in range(200):
        for _ in range(random.Random(id).randrange(3)):
            count += 1
            client.push(encode_event("price", b"%d" % count))
        client.acknowledge(f"43{id}[{count}]")
        if id % 7 == 0:
            await asyncio.sleep(0)
    heard = 0
    while len(one.answers) < 200:
        got = await asyncio.wait_for(one.socket.receive_str(), 5)
        if got.startswith("42"):
            heard += 1
        one.hear(got)
        if got.startswith("43"):
            assert got.endswith(f"[{heard}]"), got


# ------------------------------------------------------------------------ the same bounds


async def test_budget_is_one_for_both_ways_and_counted_once(
    session: aiohttp.ClientSession, seen: Seen
) -> None:
    async with open_door(socket_quotes_per_minute=40) as door:
        quick, polled = await raw(door, session), socketio.AsyncClient(reconnection=False)
        await polled.connect(door.url, transports=["polling"])
        answers: list[Any] = []
        for id in range(25):
            await quick.socket.send_str(frame(door, 2 * id))
            await quick.socket.send_str(blank(frame(door, 2 * id + 1)))
            answers.append(await polled.call("quote", quote_of(door), timeout=5))
        await quick.until(set(range(50)))
        answers += quick.answers.values()
        assert sum(one["success"] for one in answers) == 40
        refused = [one["error"] for one in answers if not one["success"]]
        assert {one["code"] for one in refused} == {"rate_limited"}
        assert all(one["details"]["retryAfterSeconds"] > 0 for one in refused)
        assert seen.quick == 25
        assert door.rates.used["socket_quote:127.0.0.1"] == 40
        await quiet(door)
        await polled.disconnect()


async def test_store_of_budgets_that_is_away_ends_no_quote(session: aiohttp.ClientSession) -> None:
    async with open_door() as door:
        door.rates.down = True
        one = await raw(door, session)
        for id in range(50):
            await one.socket.send_str(frame(door, id))
        await one.until(set(range(50)))
        assert all(answer["success"] for answer in one.answers.values())
        await quiet(door)


async def test_login_in_the_middle_spends_the_wallets_budget_from_then_on(
    session: aiohttp.ClientSession, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "LOGINS_LOOKED_AT_S", 0.05)
    clock = Clock()
    async with open_door(socket_quotes_per_minute=10, clock=clock) as door:
        login = await door.session_of()
        one, ids = await raw(door, session), iter(range(1_000))

        async def ask(count: int) -> list[bool]:
            asked = [next(ids) for _ in range(count)]
            for id in asked:
                await one.socket.send_str(frame(door, id))
            await one.until(set(asked))
            return [one.answers[id]["success"] for id in asked]

        assert await ask(12) == [True] * 10 + [False] * 2
        await one.socket.send_str(f'42999["authenticate",{json.dumps({"token": login["token"]})}]')
        await one.until({999})
        assert await ask(12) == [True] * 10 + [False] * 2
        clock.now += 10_000
        async with asyncio.timeout(5):
            while clients(door)[0].identity is not None:
                await asyncio.sleep(0.02)
        # The address has spent its own already.
        assert await ask(1) == [False]
        assert seen.quick == 25
        mine = f"socket_quote:{door.account.address.lower()}"
        assert (door.rates.used[mine], door.rates.used["socket_quote:127.0.0.1"]) == (10, 10)


async def test_calls_under_way_are_bounded_over_both_ways(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_client, "SOCKET_CALLS_MAX", 4)
    async with open_door() as door:
        one = await raw(door, session)
        door.markets.delay_s = 0.3
        for id in range(8):
            # The library's take some turns to begin, so they are sent first.
            asked = frame(door, id)
            await one.socket.send_str(blank(asked) if id < 2 else asked)
            await asyncio.sleep(0.01)
        await one.until(set(range(8)))
        found = [one.answers[id].get("error", {}).get("code") for id in range(8)]
        assert found == [None] * 4 + ["overloaded"] * 4
        await quiet(door)


async def test_requests_under_way_are_bounded_with_those_of_rest(
    session: aiohttp.ClientSession,
) -> None:
    async with open_door(requests_in_flight_max=3) as door:
        one = await raw(door, session)
        door.markets.delay_s = 0.3
        for id in range(5):
            await one.socket.send_str(frame(door, id))
        await asyncio.sleep(0.1)
        assert (await door.post("/api/trading/quote", quote_of(door)))[0] == 503
        await one.until(set(range(5)))
        found = [one.answers[id].get("error", {}).get("code") for id in range(5)]
        assert found == [None] * 3 + ["overloaded"] * 2
        await quiet(door)
        assert (await door.post("/api/trading/quote", quote_of(door)))[0] == 200


async def test_messages_above_the_sockets_rate_are_refused_and_a_flood_is_cut(
    session: aiohttp.ClientSession, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No second passes, however slow the machine.
    stands = Clock()
    monkeypatch.setattr(realtime, "Intake", lambda fields, _, who: Intake(fields, stands, who))
    async with open_door(socket_messages_per_s=5) as door:
        one = await raw(door, session)
        for id in range(12):
            await one.socket.send_str(frame(door, id))
        await one.until(set(range(12)))
        refused = [answer["error"] for answer in one.answers.values() if not answer["success"]]
        assert len(refused) == 12 - (10 - 1), "the handshake's own message counts too"
        assert {error["code"] for error in refused} == {"rate_limited"}
        assert refused[-1]["details"] == {"retryAfterSeconds": 1}
        for id in range(12, 40):
            await one.socket.send_str(frame(door, id))
        assert await one.ended()
        assert 12 < seen.quick < 40
        await quiet(door)


async def test_market_that_never_answers_is_given_up(session: aiohttp.ClientSession) -> None:
    async with open_door(quote_timeout_s=0.1) as door:
        one = await raw(door, session)
        door.markets.begin = lambda request, done: None  # type: ignore[method-assign]
        door.gateway._realtime._quick._patience_s = 0.3
        await one.socket.send_str(frame(door, 1))
        await one.until({1})
        assert one.answers[1]["error"]["code"] == "shard_unavailable"
        await quiet(door)
        assert door.gateway._realtime._quick._open == {}


# ---------------------------------------------------------------------------- the end


async def test_reader_that_never_reads_its_answers_is_evicted_and_hurts_nobody() -> None:
    fields = {"socket_messages_per_s": 10**6, "socket_bytes_per_s": 10**9}
    async with open_door(socket_quotes_per_minute=10**9, **fields) as door:
        honest = Listener()
        await honest.socket.connect(door.url, transports=["websocket"])
        async with aiohttp.ClientSession(read_bufsize=1024) as session:
            slow = await open_socket(door, session)
            engine = clients(door)[1].socket
            transport = slow._response.connection.transport
            transport.pause_reading()
            asked = waiting = held = 0
            async with asyncio.timeout(60):
                while not _evicted(door):
                    for _ in range(50):
                        asked += 1
                        if not slow.closed:
                            await slow.send_str(frame(door, asked))
                    await asyncio.sleep(0.005)
                    waiting = max(waiting, engine.queue.qsize())
                    raw = engine.guard._raw
                    held = max(held, raw.get_write_buffer_size())
            assert (await honest.call("quote", quote_of(door)))["success"]
            # Beside packets the queue takes ends, a few.
            assert waiting <= SOCKET_QUEUE_MAX + 8 and held < 512 * 1024, (waiting, held)
            await quiet(door)
            transport.abort()
        await honest.socket.disconnect()


def _evicted(door: Door) -> bool:
    return any(line[1] == "socket_evicted" for line in door.log.lines)


async def test_stop_with_quotes_under_way_ends_soon_and_leaves_nothing(
    session: aiohttp.ClientSession,
) -> None:
    async with open_door() as door:
        one = await raw(door, session)
        door.markets.delay_s = 0.5
        for id in range(20):
            await one.socket.send_str(frame(door, id))
        await asyncio.sleep(0.1)
        assert in_flight(door) == 20
        async with asyncio.timeout(3):
            await door.gateway.stop()
        assert await one.ended()
        assert one.answers == {}
        await quiet(door)
        assert door.log.errors == []


async def test_socket_that_goes_with_quotes_under_way_leaves_nothing(
    session: aiohttp.ClientSession,
) -> None:
    async with open_door() as door:
        one = await raw(door, session)
        (client,) = clients(door)
        door.markets.delay_s = 0.3
        for id in range(20):
            await one.socket.send_str(frame(door, id))
        await asyncio.sleep(0.1)
        one.socket._response.connection.transport.abort()
        await quiet(door)
        assert client.calls == 0 and client.socket.take is None and door.log.errors == []
