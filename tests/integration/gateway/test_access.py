"""The access matrix: who may ask what, for every route of the table and every kind of caller."""

import re
import time
from typing import Any

import pytest

from gateway.auth import access_tokens
from gateway.routes import API, SYSTEM, Route
from tests.support.gateway import Door, settings
from tests.support.scenario import CHAIN_ID

OPEN, USER, MODERATOR, ADMIN = "open", "user", "moderator", "admin"
# Written by hand, beside the table: a route without a row here fails, as does a changed one.
WANTED = {
    ("POST", "/auth/nonce"): OPEN,
    ("POST", "/auth/connect"): OPEN,
    ("POST", "/auth/refresh"): OPEN,
    ("POST", "/auth/verify"): USER,
    ("POST", "/auth/logout"): USER,
    ("GET", "/auth/sessions"): USER,
    ("DELETE", "/auth/sessions/{sid}"): USER,
    ("GET", "/users/me"): USER,
    ("PATCH", "/users/me"): USER,
    ("GET", "/users/{address}"): OPEN,
    ("POST", "/tokens/create"): USER,
    ("PUT", "/tokens/{address}/metadata"): OPEN,
    ("POST", "/uploads/image"): USER,
    ("GET", "/tokens"): OPEN,
    ("GET", "/tokens/{address}"): OPEN,
    ("GET", "/tokens/{address}/chart"): OPEN,
    ("GET", "/tokens/{address}/transactions"): OPEN,
    ("GET", "/tokens/{address}/holders"): OPEN,
    ("GET", "/creators/{address}/tokens"): OPEN,
    ("GET", "/trades"): OPEN,
    ("GET", "/analytics/overview"): OPEN,
    ("GET", "/analytics/trending"): OPEN,
    ("GET", "/analytics/top-creators"): OPEN,
    ("GET", "/analytics/king-of-the-hill"): OPEN,
    ("GET", "/analytics/leaderboard"): OPEN,
    ("POST", "/bridge/deposit"): USER,
    ("POST", "/bridge/withdraw"): USER,
    ("GET", "/bridge/status/{id}"): OPEN,
    ("GET", "/bridge/history/{address}"): OPEN,
    ("POST", "/trading/quote"): OPEN,
    ("POST", "/trading/buy"): USER,
    ("POST", "/trading/sell"): USER,
    ("POST", "/trading/submit"): OPEN,
    ("GET", "/trading/tx/{hash}"): OPEN,
    ("GET", "/trading/portfolio/{address}"): OPEN,
    ("POST", "/keys"): USER,
    ("GET", "/keys"): USER,
    ("DELETE", "/keys/{id}"): USER,
    ("GET", "/referral"): USER,
    ("POST", "/referral/code"): USER,
    ("POST", "/referral/bind"): USER,
    ("GET", "/referral/tree"): USER,
    ("GET", "/referral/earnings"): USER,
    ("GET", "/referral/{code}"): OPEN,
    ("GET", "/points/leaderboard"): OPEN,
    ("GET", "/points/ledger"): OPEN,
    ("GET", "/points/roots"): OPEN,
    ("GET", "/points/rules"): OPEN,
    ("GET", "/points/proof/{address}"): OPEN,
    ("GET", "/points/{address}"): OPEN,
    ("GET", "/config"): OPEN,
    ("PUT", "/admin/users/{address}/role"): ADMIN,
    ("POST", "/admin/users/{address}/logout"): ADMIN,
    ("GET", "/admin/audit"): ADMIN,
    ("GET", "/admin/bridge/stuck"): ADMIN,
    ("POST", "/admin/bridge/{id}/retry"): ADMIN,
    ("POST", "/admin/bridge/pause"): ADMIN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("GET", "/media/{name}"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/asyncapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/{file}"): OPEN,
}
NEARBY = {("GET", "/metrics")}
"""Open to METRICS_ALLOWED only, as these callers are; others are tried with the metrics."""

RANKS = (OPEN, USER, MODERATOR, ADMIN)
CALLERS = ("nobody", "broken", "expired", *RANKS[1:])
ALL = [(route, "/api") for route in API] + [(route, "") for route in SYSTEM]


def test_matrix_has_a_row_for_every_route_and_no_other() -> None:
    assert {(route.method, route.path) for route, _ in ALL} == WANTED.keys()
    assert {(route.method, route.path) for route, _ in ALL if route.nearby} == NEARBY


def header(caller: str) -> dict[str, str]:
    if caller == "nobody":
        return {}
    tokens = access_tokens(settings(), clock=(lambda: 1.0) if caller == "expired" else time.time)
    role = caller if caller in RANKS else USER
    token = tokens.issue(address=b"\x42" * 20, chain_id=CHAIN_ID, role=role, sid="ab" * 16)
    return {"Authorization": f"Bearer {token}{'x' if caller == 'broken' else ''}"}


async def status_of(door: Door, route: Route, prefix: str, caller: str) -> tuple[int, Any]:
    path = re.sub(r"\{[a-z]+\}", "0x" + "42" * 20, prefix + route.path)
    async with door.session.request(
        route.method,
        door.url + path,
        headers=header(caller),
        data=b"{" if route.method != "GET" else None,
    ) as response:
        return response.status, response.headers.get("WWW-Authenticate")


@pytest.mark.parametrize("place", ALL, ids=lambda one: f"{one[0].method} {one[0].path}")
async def test_matrix_of_callers(people_door: Door, place: tuple[Route, str]) -> None:
    route, prefix = place
    wanted = WANTED[route.method, route.path]
    for caller in CALLERS:
        status, challenge = await status_of(people_door, route, prefix, caller)
        if wanted == OPEN or (caller in RANKS and RANKS.index(caller) >= RANKS.index(wanted)):
            assert status not in (401, 403), caller
        elif caller in RANKS:
            assert status == 403, caller
        else:
            assert (status, challenge) == (401, "Bearer"), caller
