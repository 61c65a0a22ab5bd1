"""Health, configuration, ids, CORS, limits, sizes: what holds for every route."""

import asyncio
import gzip
import re

import aiohttp
import pytest

from engine import text
from engine.errors import RiseCurveError
from gateway.kept import Kept
from gateway.routes import API, SYSTEM
from tests.support.chain_settings import LAUNCHPAD
from tests.support.gateway import Door, open_door


async def test_health_ready_and_degraded_name_each_dependency(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kept, "_old", True)  # what is kept for a moment is tested by itself
    assert (await door.get("/healthz"))[0] == 200
    status, answer = await door.get("/readyz")
    names = {"markets", "recorder", "postgres", "mongodb", "redis", "rise"}
    assert (status, answer["data"]["status"]) == (200, "ok")
    assert answer["data"]["dependencies"].keys() == names
    for name, port in (
        ("postgres", door.reads),
        ("mongodb", door.documents),
        ("redis", door.rates),
        ("rise", door.node),
    ):
        port.down = True
        status, answer = await door.get("/readyz")
        data = answer["data"]
        assert (status, data["status"]) == (200, "degraded")
        assert [n for n, found in data["dependencies"].items() if not found["ok"]] == [name]
        port.down = False
    door.markets.answers = {"shard-0": None, "recorder": {}}
    assert (await door.get("/readyz"))[0] == 503


async def test_metrics_count_requests_and_quotes(door: Door) -> None:
    body = {"tokenAddress": text.address(door.tokens[0]), "type": "buy", "amount": "1"}
    await door.post("/api/trading/quote", body)
    async with door.session.get(f"{door.url}/metrics") as response:
        exposed = await response.text()
    assert 'risecurve_quotes_total{door="rest",outcome="ok"} 1.0' in exposed
    assert 'route="/trading/quote",status="200"' in exposed
    assert 'risecurve_role_up{slot="shard-0"} 1.0' in exposed
    assert 'risecurve_role{name="buckets",slot="shard-0"} 1024.0' in exposed


FAR, NEAR = "203.0.113.9", "10.1.2.3"


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ([], 200),
        ([NEAR], 200),
        (["::ffff:10.1.2.3"], 200),
        ([FAR], 403),
        ([f"{NEAR}, {FAR}"], 403),
        ([f"{FAR}, {NEAR}"], 403),
        ([NEAR, FAR], 403),
        (["2001:db8::1"], 403),
        (["nobody"], 403),
        ([""], 403),
    ],
)
@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
async def test_metrics_are_for_those_nearby_whom_nobody_speaks_through(
    trusted: tuple[str, ...], forwarded: list[str], status: int
) -> None:
    headers = [("X-Forwarded-For", one) for one in forwarded]
    async with (
        open_door(trusted_proxies=trusted) as door,
        door.session.get(f"{door.url}/metrics", headers=headers) as response,
    ):
        assert response.status == status
        if status == 403:
            assert (await response.json())["error"]["code"] == "forbidden"


@pytest.mark.parametrize("allowed", [("10.0.0.0/8",), ()])
@pytest.mark.parametrize("said", [None, NEAR, "127.0.0.1"])
async def test_metrics_are_not_for_a_peer_that_only_says_it_is_near(
    allowed: tuple[str, ...], said: str | None
) -> None:
    headers = {} if said is None else {"X-Forwarded-For": said}
    async with open_door(metrics_allowed=allowed, trusted_proxies=("127.0.0.0/8",)) as door:
        status, answer = await door.get("/metrics", headers=headers)
        assert (status, answer["error"]["code"]) == (403, "forbidden")
        assert (await door.get("/healthz", headers=headers))[0] == 200
        assert (await door.get("/readyz", headers=headers))[0] == 200


async def test_config_names_chains_contracts_and_limits(door: Door) -> None:
    _, answer = await door.get("/api/config")
    data = answer["data"]
    assert data["rise"]["chainId"] == 11155931
    assert data["rise"]["launchpads"][0]["address"] == text.address(LAUNCHPAD)
    assert data["publicUrl"] == "https://risecurve.example"
    assert data["limits"]["transactionGas"] == 16_000_000
    assert data["bridge"] is None


async def test_v1_is_the_same_as_no_version(door: Door) -> None:
    old, new = await door.get("/api/config"), await door.get("/api/v1/config")
    assert old[1]["data"] == new[1]["data"]


async def test_every_route_of_the_table_answers_under_both_prefixes(people_door: Door) -> None:
    door = people_door
    paths = [(r.method, f"/api{v}{r.path}") for r in API for v in ("", "/v1")]
    paths += [
        (route.method, route.path) for route in SYSTEM if route.path in ("/healthz", "/readyz")
    ]
    for method, path in paths:
        filled = path.replace("{address}", text.address(door.tokens[0]))
        filled = re.sub(r"\{[a-z]+\}", "0x0", filled)
        status, answer = await door.ask(method, filled)
        assert status in (200, 400, 401, 404, 501), (method, path, answer)
        assert answer["success"] or "known request" not in answer["error"]["message"]
        assert "timestamp" in answer


async def test_unknown_paths_and_methods_have_the_errors_shape(door: Door) -> None:
    status, answer = await door.get("/api/nothing")
    assert (status, answer["success"], answer["error"]["code"]) == (404, False, "not_found")
    async with door.session.get(f"{door.url}/api/trading/quote") as response:
        answer = await response.json()
        assert (response.status, answer["error"]["code"]) == (405, "invalid_request")
        assert response.headers["Allow"] == "POST"


async def test_request_ids_are_taken_when_plain_else_made(door: Door) -> None:
    for given, kept in (("abc-1:2.3_", True), ("a" * 65, False), ("a b", False), ("é", False)):
        headers = {"X-Request-Id": given, "X-Correlation-Id": given}
        async with door.session.get(f"{door.url}/healthz", headers=headers) as response:
            assert (response.headers["X-Request-Id"] == given) == kept
            assert (response.headers["X-Correlation-Id"] == given) == kept


async def test_cors_names_exact_origins_only(door: Door) -> None:
    preflight = {"Access-Control-Request-Method": "POST"}
    for origin, allowed in (
        ("https://app.example", True),
        ("https://risecurve.example", True),
        ("https://app.example.evil.example", False),
        ("http://app.example", False),
        ("null", False),
    ):
        headers = {"Origin": origin}
        async with door.session.get(f"{door.url}/api/config", headers=headers) as response:
            assert (response.headers.get("Access-Control-Allow-Origin") == origin) == allowed
        async with door.session.options(
            f"{door.url}/api/trading/quote", headers=headers | preflight
        ) as response:
            assert (response.status == 204) == allowed


async def test_rate_limits_are_counted_told_and_enforced() -> None:
    async with open_door(reads_per_minute=2, writes_per_window=1) as door:
        for left in (1, 0):
            async with door.session.get(f"{door.url}/api/config") as response:
                assert response.headers["RateLimit-Limit"] == "2"
                assert response.headers["RateLimit-Remaining"] == str(left)
        async with door.session.get(f"{door.url}/api/config") as response:
            answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (429, "rate_limited")
            assert int(response.headers["Retry-After"]) > 0
        assert (await door.post("/api/auth/nonce"))[0] == 200
        assert (await door.post("/api/auth/nonce"))[0] == 429
        assert (await door.get("/healthz"))[0] == 200


async def test_rate_limits_go_on_locally_while_the_store_is_away() -> None:
    async with open_door(reads_per_minute=3) as door:
        door.rates.down = True
        statuses = [(await door.get("/api/config"))[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert [line[1] for line in door.log.lines if line[0] == "warning"] == ["rate_limits_local"]


async def test_rate_limits_follow_the_client_behind_trusted_proxies_only() -> None:
    headers = [{"X-Forwarded-For": f"203.0.113.{n}"} for n in range(3)]
    async with open_door(reads_per_minute=1) as door:
        statuses = [(await door.get("/api/config", headers=one))[0] for one in headers]
        assert statuses == [200, 429, 429]
    async with open_door(reads_per_minute=1, trusted_proxies=("127.0.0.0/8",)) as door:
        statuses = [(await door.get("/api/config", headers=one))[0] for one in headers]
        assert statuses == [200, 200, 200]


async def test_bodies_too_large_or_not_json_are_refused(door: Door) -> None:
    url = f"{door.url}/api/trading/quote"
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (b"x" * 70_000, {}, 413, "too_large"),
        (gzip.compress(b" " * 10**7), {"Content-Encoding": "gzip"}, 400, "invalid_request"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "invalid_request"),
        (b"{", {}, 400, "invalid_request"),
        (b"[" * 60_000, {}, 400, "invalid_request"),
        (b"\xff\xfe\xfd", {}, 400, "invalid_request"),
        (b"[]", {}, 400, "invalid_request"),
        (b"null", {}, 400, "invalid_request"),
        (b'"text"', {}, 400, "invalid_request"),
        (b'{"amount": NaN}', {}, 400, "invalid_request"),
        (b'{"tokenAddress": Infinity}', {}, 400, "invalid_request"),
        (b'{"tokenAddress": -Infinity}', {}, 400, "invalid_request"),
        (b'{"type": ' + b"9" * 60_000 + b"}", {}, 400, "invalid_request"),
    ]
    for body, headers, expected, code in cases:
        async with door.session.post(url, data=body, headers=headers) as response:
            answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (expected, code), body[:30]


async def test_a_handler_that_hangs_ends_as_overloaded() -> None:
    async with open_door(request_timeout_s=0.2) as door:

        async def never(**query: object) -> object:
            await asyncio.sleep(60)
            return [], 0

        door.reads.tokens = never  # type: ignore[method-assign, assignment]
        status, answer = await door.get("/api/tokens")
    assert (status, answer["error"]["code"]) == (503, "overloaded")


async def test_a_bug_is_logged_once_and_shows_nothing_inside() -> None:
    async with open_door() as door:

        async def broken(**query: object) -> object:
            raise KeyError("a secret detail")

        door.reads.tokens = broken  # type: ignore[method-assign, assignment]
        status, answer = await door.get("/api/tokens")
    assert (status, answer["error"]["code"]) == (500, "internal_error")
    assert "secret" not in str(answer)
    assert [line[1] for line in door.log.errors] == ["request_failed"]


async def test_a_port_in_use_is_one_sentence() -> None:
    async with open_door() as door:
        with pytest.raises(RiseCurveError, match="set API_PORT"):
            async with open_door(api_port=door.gateway.port):
                pass


async def test_stop_ends_open_connections_and_frees_the_port() -> None:
    async with open_door() as door:
        port = door.gateway.port
        await door.get("/healthz")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{port}/healthz")


async def test_plain_path_beside_a_variable_refuses_the_other_methods(door: Door) -> None:
    async with door.session.get(f"{door.url}/api/tokens/create") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    async with door.session.delete(f"{door.url}/api/tokens/create") as response:
        assert response.status == 405
