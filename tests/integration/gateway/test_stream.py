"""The stream door over real sockets, asked by the stock `websockets` client."""

import asyncio
import json
import socket
from typing import Any

import pytest
import websockets
from eth_account import Account
from websockets.asyncio.client import connect

from engine import limits
from engine.control import Directory
from engine.errors import RiseCurveError
from engine.messages import BucketOwner, Refusal
from gateway import view
from gateway.quotes import QuoteRequest
from gateway.stream import StreamGateway
from tests.support.stream_door import StreamDoor, open_stream_door, settings


@pytest.fixture
async def door() -> Any:
    async with open_stream_door() as opened:
        yield opened
        assert opened.log.errors == []


def masked(head: int, payload: bytes) -> bytes:
    """A frame as a client sends it, with a mask of zeros."""
    assert len(payload) < 126
    return bytes((head, 0x80 | len(payload), 0, 0, 0, 0)) + payload


async def test_quotes_of_every_kind_are_those_of_the_market(door: StreamDoor) -> None:
    cases = [
        ("buy", "exactIn", 10**15),
        ("buy", "exactOut", 10**21),
        ("sell", "exactIn", 10**21),
        ("sell", "exactOut", 10**15),
    ]
    async with door.client() as client:
        for side, mode, amount in cases:
            fields = {"token": door.token, "side": side, "mode": mode, "amountWei": str(amount)}
            data = (await client.ask("quote", **fields))["data"]
            request = QuoteRequest(door.tokens[0], side == "buy", mode == "exactOut", amount)
            shown = view.quote_data(await door.markets.quote(request))  # type: ignore[arg-type]
            assert data["asOf"] == shown["asOf"]
            assert view.units(int(data["amountInWei"])) == shown["amountIn"]
            assert view.units(int(data["amountOutWei"])) == shown["amountOut"]


async def test_array_is_answered_by_an_array_in_its_order(door: StreamDoor) -> None:
    def quote(id: int, **fields: Any) -> dict[str, Any]:
        return {"op": "quote", "id": id, "token": door.token, "side": "buy"} | fields

    async with door.client() as client:
        asked = [quote(n, amountWei=str(10**15 + n)) for n in range(5)]
        asked[2] = quote(2, amountWei="1.5")
        await client.send([*asked, {"op": "ping", "id": "p"}])
        found = {True: None, False: None}
        for _ in range(2):
            one = await client.receive()
            found[isinstance(one, list)] = one
        answers = found[True]
        assert [one["id"] for one in answers] == [0, 1, 2, 3, 4]
        assert [one["ok"] for one in answers] == [True, True, False, True, True]
        assert answers[2]["error"]["code"] == "invalid_amount"
        assert found[False]["id"] == "p"


async def test_refusal_of_a_market_has_its_code(door: StreamDoor) -> None:
    door.markets.refusal = Refusal("market_halted", "Expected a market that adds up", 1, 1)
    async with door.client() as client:
        fields = {"token": door.token, "side": "buy", "amountWei": "1"}
        answer = await client.ask("quote", **fields)
        assert (answer["ok"], answer["error"]["code"]) == (False, "market_halted")
    assert door.gateway.status()["quotes_market_halted"] == 1


async def test_subscription_gives_its_place_and_snapshot_before_what_is_pushed(
    door: StreamDoor,
) -> None:
    door.ticks.keep(topic=door.topic, seq=4)
    async with door.client() as client:
        data = (await client.ask("subscribe", topic="token:0x" + door.token[2:].upper()))["data"]
        assert (data["topic"], data["seq"], data["generation"]) == (door.topic, 4, "g")
        assert int(data["snapshot"]["priceE18"]) > 0 and "missed" not in data
        door.ticks.publish(topic=door.topic, seq=5, data={"price": "0.25"})
        event = await client.receive()
        assert (event["op"], event["event"], event["seq"]) == ("event", "price", 5)
        assert (event["fromSeq"], event["toSeq"]) == (5, 5)
        assert event["data"] == {"priceE18": str(25 * 10**34)}
        await client.ask("unsubscribe", topic=door.topic)
        door.ticks.publish(topic=door.topic, seq=6)
        assert (await client.ask("ping"))["op"] == "ping"


async def test_what_is_pushed_during_the_subscription_follows_its_answer(door: StreamDoor) -> None:
    class Slow(type(door.markets)):  # type: ignore[misc]
        async def views(self, tokens: Any) -> Any:
            for seq in (3, 4, 5):
                door.ticks.publish(topic=door.topic, seq=seq, data={"n": seq})
            await asyncio.sleep(0.1)
            return await super().views(tokens)

    door.markets.__class__ = Slow
    for seq in (1, 2):
        door.ticks.keep(topic=door.topic, seq=seq, event="transaction", data={"n": seq})
    async with door.client() as client:
        answer = await client.ask("subscribe", topic=door.topic, since=1, generation="g")
        assert answer["op"] == "subscribe" and answer["data"]["seq"] == 2
        assert [one["seq"] for one in answer["data"]["missed"]] == [2]
        assert [(await client.receive())["seq"] for _ in range(3)] == [3, 4, 5]


async def test_since_that_is_gone_is_a_gap_with_a_snapshot(door: StreamDoor) -> None:
    door.ticks.keep(topic=door.topic, seq=9)
    async with door.client() as client:
        data = (await client.ask("subscribe", topic=door.topic, since=2, generation="g"))["data"]
        assert data["gap"] is True and data["snapshot"] and data["seq"] == 9
        data = (await client.ask("subscribe", topic=door.topic, since=9, generation="old"))["data"]
        assert data["gap"] is True


async def test_new_owner_of_a_quiet_bucket_is_a_gap(door: StreamDoor) -> None:
    async with door.client() as client:
        await client.ask("subscribe", topic=door.topic)
        for incarnation in (1, 2):
            owners = tuple(BucketOwner(bucket, "a", incarnation) for bucket in range(1024))
            door.gateway.route(Directory(incarnation, (), owners))
        event = await client.receive()
        assert (event["event"], event["topic"], event["seq"]) == ("gap", door.topic, None)


async def test_topic_that_is_none_is_an_error(door: StreamDoor) -> None:
    async with door.client() as client:
        for topic, code in (("weather", "invalid_request"), ("token:0x12", "invalid_address")):
            assert (await client.ask("subscribe", topic=topic))["error"]["code"] == code
        unknown = "token:0x" + "12" * 20
        assert (await client.ask("subscribe", topic=unknown))["error"]["code"] == "token_not_found"
        assert door.gateway.status()["subscriptions"] == 0


async def test_topics_of_one_connection_are_bounded(
    door: StreamDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOCKET_TOPICS_MAX", 1)
    async with door.client() as client:
        assert (await client.ask("subscribe", topic="trades"))["ok"]
        assert (await client.ask("subscribe", topic="trades"))["ok"]
        assert (await client.ask("subscribe", topic="tokens"))["error"]["code"] == "invalid_request"


async def test_own_topic_needs_the_login_of_its_wallet(door: StreamDoor) -> None:
    own = f"user:{door.account.address}"
    other = f"user:{Account.create().address}"
    async with door.client() as client:
        assert (await client.ask("subscribe", topic=own))["error"]["code"] == "forbidden"
        assert (await client.ask("authenticate", token="no"))["error"]["code"] == "unauthorized"
        data = (await client.ask("authenticate", token=door.access_token()))["data"]
        assert data == {"address": door.account.address, "role": "user"}
        assert (await client.ask("subscribe", topic=own))["ok"]
        assert (await client.ask("subscribe", topic=other))["error"]["code"] == "forbidden"


@pytest.mark.parametrize("way", ["header", "query"])
async def test_login_comes_with_the_upgrade_too(door: StreamDoor, way: str) -> None:
    token = door.access_token()
    options: dict[str, Any] = {"additional_headers": {"Authorization": f"Bearer {token}"}}
    path = "" if way == "header" else f"?token={token}"
    async with door.client(path, **(options if way == "header" else {})) as client:
        assert (await client.ask("subscribe", topic=f"user:{door.account.address}"))["ok"]


async def test_upgrade_with_a_bad_login_is_told_why_and_ended(door: StreamDoor) -> None:
    async with door.client("?token=bad") as client:
        assert (await client.receive())["error"]["code"] == "unauthorized"
        assert await client.closed() == (1008, "unauthorized")


async def test_login_that_expires_ends_what_hangs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.stream.LOGINS_LOOKED_AT_S", 0.05)
    now = [1_800_000_000.0]
    async with open_stream_door(wall=lambda: now[0]) as door:
        own = f"user:{door.account.address}".lower()
        async with door.client(f"?token={door.access_token()}") as client:
            assert (await client.ask("subscribe", topic=own))["ok"]
            now[0] += 3_600
            event = await client.receive()
            assert (event["event"], event["data"]) == ("user", {"event": "signed_out"})
            door.ticks.publish(topic=own, seq=1, event="user")
            assert (await client.ask("ping"))["op"] == "ping"


# ------------------------------------------------------------------------- faulty clients


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_request"),
        (b'{"op":"ping"}', "invalid_request"),
        ("x" * (limits.STREAM_FRAME_BYTES_MAX + 1), "too_large"),
        ('{"op":"dance"}', "invalid_request"),
    ],
)
async def test_faulty_frame_is_an_error_and_repeated_the_end(
    door: StreamDoor, frame: Any, code: str
) -> None:
    async with door.client() as client:
        await client.send(frame)
        answer = await client.receive()
        assert (answer["op"], answer["ok"], answer["error"]["code"]) == ("error", False, code)
        assert (await client.ask("ping"))["op"] == "ping"
        await client.send(*[frame] * limits.STREAM_FAULTS_MAX)
        for _ in range(limits.STREAM_FAULTS_MAX):
            assert (await client.receive())["error"]["code"] == code
        assert await client.closed() == (1008, "too many faulty frames")


async def test_frame_far_too_large_is_not_even_read(door: StreamDoor) -> None:
    async with door.client() as client:
        with pytest.raises(websockets.ConnectionClosed):
            await client.send("x" * (limits.STREAM_FRAME_BYTES_CUT + 1))
            await client.receive()
        assert client.socket.close_code == 1009


async def test_message_in_fragments_is_one_message(door: StreamDoor) -> None:
    async with door.client() as client:
        await client.socket.send(iter(['{"op":', '"ping",', '"id":7}']))
        assert (await client.receive())["id"] == 7
        with pytest.raises(websockets.ConnectionClosed):
            await client.socket.send(iter(["x" * 60_000] * 6))
            await client.receive()
        assert client.socket.close_code == 1009


async def test_ops_above_the_budget_are_refused_with_a_time_to_wait() -> None:
    async with open_stream_door(stream_ops_per_s=1) as door, door.client() as client:
        await client.send([{"op": "ping"}] * limits.STREAM_OPS_PER_FRAME_MAX)
        for _ in range(limits.STREAM_OPS_PER_FRAME_MAX):
            assert (await client.receive())["ok"]
        error = (await client.ask("ping"))["error"]
        assert error["code"] == "rate_limited" and 0 < error["details"]["retryAfterMs"] <= 1_001


async def test_login_has_a_budget_of_its_own() -> None:
    async with open_stream_door(stream_ops_per_s=1, stream_key_ops_per_s=10_000) as door:
        pings = [{"op": "ping"}] * limits.STREAM_OPS_PER_FRAME_MAX
        async with door.client(f"?token={door.access_token()}") as client:
            for _ in range(3):
                await client.send(pings)
                found = [await client.receive() for _ in pings]
                assert all(one["ok"] for one in found)


async def test_bytes_above_the_budget_are_refused() -> None:
    async with open_stream_door(stream_bytes_per_s=1) as door, door.client() as client:
        padded = json.dumps({"op": "ping"}) + " " * 60_000
        await client.send(padded)
        assert (await client.receive())["ok"]
        await client.send(padded)
        assert (await client.receive())["error"]["code"] == "rate_limited"


async def test_client_that_never_slows_down_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_REFUSED_MAX", 1_000)
    async with open_stream_door(stream_ops_per_s=1) as door, door.client() as client:
        await client.send(*[[{"op": "ping"}] * limits.STREAM_OPS_PER_FRAME_MAX] * 3)
        assert (await client.closed())[1] == "too many ops above the budget"


# -------------------------------------------------------------------------- who is let in


async def refused(url: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connect(url, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


async def test_page_of_a_stranger_is_not_let_in(door: StreamDoor) -> None:
    assert await refused(door.url, origin="https://evil.example") == (403, "forbidden")
    async with connect(door.url, origin="https://app.example") as opened:
        await opened.send('{"op":"ping"}')
        assert json.loads(await opened.recv())["ok"]


async def test_path_that_is_none_is_not_found(door: StreamDoor) -> None:
    assert await refused(door.url.replace("/v1", "/v9")) == (404, "not_found")


async def test_more_connections_than_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_stream_door(stream_connections_per_address=2) as door:
        async with door.client() as one, door.client() as two:
            assert (await one.ask("ping"))["ok"] and (await two.ask("ping"))["ok"]
            async with door.client() as three:
                assert (await three.receive())["error"]["code"] == "overloaded"
                assert (await three.closed())[0] == 1008
            monkeypatch.setattr(limits, "STREAM_CONNECTIONS_MAX", 2)
            assert await refused(door.url) == (503, "overloaded")
        async with asyncio.timeout(5):
            while door.gateway.status()["connections"]:
                await asyncio.sleep(0.01)
        async with door.client() as again:
            assert (await again.ask("ping"))["ok"]


async def test_connects_of_one_address_are_counted_over_all_doors() -> None:
    async with open_stream_door(reads_per_minute=2) as door:
        for _ in range(2):
            async with door.client() as client:
                assert (await client.ask("ping"))["ok"]
        async with door.client() as client:
            assert (await client.receive())["error"]["code"] == "rate_limited"
            await client.closed()
    assert set(door.rates.used) == {"connect:127.0.0.1"}


async def test_blocked_network_and_wallet_are_refused() -> None:
    blocked = ("127.0.0.0/8",)
    async with open_stream_door(blocked_networks=blocked) as door, door.client() as client:
        assert (await client.receive())["error"]["code"] == "forbidden"
        await client.closed()
    account = Account.create()
    wallet = bytes.fromhex(account.address[2:])
    async with open_stream_door(blocked_wallets=(wallet,)) as door, door.client() as client:
        answer = await client.ask("authenticate", token=door.access_token(address=wallet))
        assert answer["error"]["code"] == "forbidden"


async def test_frames_sent_before_the_admission_are_heard_after_it() -> None:
    class Slow:
        async def take(self, key: str, limit: int, window_s: float) -> tuple[bool, int, float]:
            await asyncio.sleep(0.1)
            return True, 1, 1.0

    async with open_stream_door(stores={"rates": Slow()}) as door, door.client() as client:
        await client.send(*({"op": "ping", "id": n} for n in range(3)))
        assert [(await client.receive())["id"] for _ in range(3)] == [0, 1, 2]


async def test_nothing_is_compressed(door: StreamDoor) -> None:
    async with connect(door.url, compression="deflate") as opened:
        assert opened.response.headers.get("Sec-WebSocket-Extensions") is None


# --------------------------------------------------------------------- slow readers, the end


async def test_slow_reader_gets_the_newest_price_and_every_trade(door: StreamDoor) -> None:
    async with door.client(max_queue=1) as client:
        await client.ask("subscribe", topic=door.topic)
        raw = client.socket.transport
        raw.pause_reading()
        big = "x" * 2_000
        for seq in range(1, 2_001):
            event = "transaction" if seq % 20 == 0 else "price"
            door.ticks.publish(topic=door.topic, seq=seq, event=event, data={"n": seq, "x": big})
        async with asyncio.timeout(60):
            while (
                door.gateway.status()["slow"] == 0
                or door.gateway.fanout.last(door.topic).seq < 2_000
            ):  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        raw.resume_reading()
        reached, trades, messages = 0, [], 0
        while reached < 2_000:
            event = await client.receive()
            assert event.get("fromSeq", event["seq"]) == reached + 1
            reached, messages = event["seq"], messages + 1
            trades += [event["data"]["n"]] if event["event"] == "transaction" else []
        assert trades == list(range(20, 2_001, 20))
        assert messages < 1_000
        assert event["event"] == "transaction" or event["data"]["n"] == 2_000
        assert (await client.ask("ping"))["ok"]


async def test_reader_that_never_reads_is_cut_off_and_holds_nothing(
    door: StreamDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_STALLED_S", 1.5)
    monkeypatch.setattr("gateway.stream.SWEEP_S", 0.05)
    async with door.client(max_queue=1, close_timeout=0.1) as client, door.client() as other:
        await client.ask("subscribe", topic="trades")
        await other.ask("subscribe", topic="trades")
        client.socket.transport.pause_reading()
        big = "x" * 10_000
        for seq in range(1, 1_001):
            door.ticks.publish(
                topic="trades", seq=seq, bucket=-1, event="transaction", data={"x": big}
            )
        seen = [(await other.receive())["seq"] for _ in range(1_000)]
        assert seen == list(range(1, 1_001))
        async with asyncio.timeout(10):
            while door.gateway.status()["evicted"] == 0:
                await asyncio.sleep(0.02)
            # Cut off: the loop tells the door of it in a later turn.
            while door.gateway.status()["connections"] != 1:
                await asyncio.sleep(0.02)
        assert door.gateway.status()["evicted"] == 1


async def test_drain_answers_what_is_under_way_then_says_goodbye() -> None:
    async with open_stream_door() as door, door.client() as client:
        door.markets.delay_s = 0.2
        await client.send(
            {"op": "quote", "id": 9, "token": door.token, "side": "buy", "amountWei": "1000000"}
        )
        async with asyncio.timeout(5):
            while not door.markets.calls:
                await asyncio.sleep(0.01)
        stopping = asyncio.create_task(door.gateway.stop())
        answer = await client.receive()
        assert (answer["id"], answer["ok"]) == (9, True)
        assert await client.closed() == (1001, "draining")
        await stopping


async def test_two_processes_share_the_port_and_a_stranger_does_not(door: StreamDoor) -> None:
    port = door.gateway.port
    parts = door.gateway.parts
    second = StreamGateway(settings=settings(stream_port=port), parts=parts)
    await second.start()
    try:
        for _ in range(40):
            async with door.client() as client:
                assert (await client.ask("ping"))["ok"]
            served = [one.status() for one in (door.gateway, second)]
        assert all(one["port"] == port for one in served)
        assert all(one["served"] > 0 for one in served)
    finally:
        await second.stop()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = settings(stream_port=stranger.getsockname()[1])
        with pytest.raises(RiseCurveError) as caught:
            await StreamGateway(settings=taken, parts=parts).start()
        assert caught.value.code == "port_in_use"


async def test_message_of_endless_empty_fragments_ends_the_connection(door: StreamDoor) -> None:
    async with door.client() as client:
        raw = client.socket.transport
        raw.write(masked(0x01, b"{"))
        raw.write(masked(0x00, b"") * 20_000)
        assert (await client.closed())[0] == 1009


async def test_logging_in_again_gives_no_new_budget() -> None:
    async with open_stream_door(stream_ops_per_s=1, stream_key_ops_per_s=1) as door:
        token = door.access_token()
        async with door.client() as client:
            pings = [{"op": "ping", "id": number} for number in range(500)]
            await client.send(pings)
            for _ in pings:
                assert (await client.receive())["ok"]
            assert (await client.ask("authenticate", token=token))["ok"]
            await client.send(pings)
            for _ in pings:
                assert (await client.receive())["error"]["code"] == "rate_limited"


async def test_guessing_at_keys_ends_the_connection() -> None:
    class Keys:
        asked = 0

        async def find(self, id: str) -> None:
            self.asked += 1

    keys = Keys()
    async with open_stream_door(stores={"api_keys": keys}) as door, door.client() as client:
        for number in range(40):
            guess = f"rk_{number:016x}_{'A' * 43}"
            await client.send({"op": "authenticate", "apiKey": guess})
        assert await client.closed() == (1008, "too many logins that are none")
        assert keys.asked == limits.STREAM_FAULTS_MAX + 1


async def test_asking_too_often_what_was_missed_is_a_gap() -> None:
    async with open_stream_door(reads_per_minute=20) as door, door.client() as client:
        door.ticks.keep(topic=door.topic, seq=1)
        door.ticks.keep(topic=door.topic, seq=2)
        asked = {"topic": door.topic, "since": 1, "generation": "g"}
        data = [(await client.ask("subscribe", **asked))["data"] for _ in range(21)]
        assert [len(one.get("missed", ())) for one in data] == [1] * 20 + [0]
        assert data[-1]["gap"] is True and data[-1]["snapshot"]
