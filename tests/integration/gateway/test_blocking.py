"""Blocking rules: off by default, and on every door when they are on."""

from typing import Any

import pytest
import socketio
from eth_account import Account

from gateway.blocking import Blocking
from tests.support.gateway import headers_of, settings
from tests.support.lobby import lobby

BAD = Account.create()


def proxied(address: str, country: str = "") -> dict[str, str]:
    headers = {"X-Forwarded-For": address}
    return headers | ({"CF-IPCountry": country} if country else {})


def test_nothing_configured_refuses_nobody() -> None:
    rules = Blocking(settings())
    rules.check_caller(None, "203.0.113.9", behind_proxy=True)  # type: ignore[arg-type]
    rules.check_wallet(b"\1" * 20)


async def test_networks_are_refused_on_rest_and_on_sockets(
    mongodb_url: str, redis_url: str
) -> None:
    rules = {"blocked_networks": ("203.0.113.0/24", "2001:db8:1::/48")}
    fields: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",)} | rules
    async with lobby(mongodb_url, redis_url, **fields) as door:
        for address, status in (
            ("203.0.113.7", 403),
            ("203.0.114.7", 200),
            ("2001:db8:1:2::5", 403),
            ("2001:db8:2::5", 200),
            ("::ffff:203.0.113.7", 403),
        ):
            headers = proxied(address)
            assert (await door.get("/api/tokens", headers=headers))[0] == status, address
            assert (await door.get("/healthz", headers=headers))[0] == 200
        client = socketio.AsyncClient(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(door.url, headers=proxied("203.0.113.7"))
        await client.connect(door.url, headers=proxied("203.0.114.7"))
        await client.disconnect()


async def test_countries_are_believed_of_a_trusted_proxy_only(
    mongodb_url: str, redis_url: str
) -> None:
    rules = {"blocked_countries": ("xx", "KP")}
    async with lobby(mongodb_url, redis_url, trusted_proxies=("127.0.0.1",), **rules) as door:
        for country, status in (("KP", 403), ("kp", 403), ("XX", 403), ("DE", 200), ("", 200)):
            headers = proxied("198.51.100.1", country)
            assert (await door.get("/api/tokens", headers=headers))[0] == status, country
    async with lobby(mongodb_url, redis_url, **rules) as door:
        headers = proxied("198.51.100.1", "KP")
        assert (await door.get("/api/tokens", headers=headers))[0] == 200


async def test_wallet_that_is_blocked_neither_logs_in_nor_goes_on(
    mongodb_url: str, redis_url: str
) -> None:
    async with lobby(mongodb_url, redis_url) as door:
        session = await door.session_of(BAD)
        headers = headers_of(session)
        body = {"name": "bot", "scopes": ["read"]}
        _, key = await door.post("/api/keys", body, headers=headers)
    wallet = bytes.fromhex(BAD.address[2:])
    async with lobby(mongodb_url, redis_url, blocked_wallets=(wallet,)) as door:
        with pytest.raises(AssertionError, match="forbidden"):
            await door.session_of(BAD)
        for named in (headers, {"X-API-Key": key["data"]["key"]}):
            status, answer = await door.get("/api/users/me", headers=named)
            assert (status, answer["error"]["code"]) == (403, "forbidden")
        client = socketio.AsyncClient(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(door.url, auth={"token": session["token"]})
        await door.session_of()
