"""What is really there, for the paths and bodies of the requests: people who logged in, traded,
moved ETH between the chains, were brought and own keys and sessions. Without it random requests
see little but 404s.
"""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from chain.rpc import JsonRpc
from deploy.demo import funding
from deploy.demo.client import ApiError, Client
from engine.points import rules
from engine.points.rules import DAY_S
from storage import documents
from storage.point_days import PointDays
from tests.fuzz.system import System

ETH = 10**18
WAIT_S = 90.0
DOCUMENT = {"name": "Fuzz Token", "symbol": "FUZZ"}
PUT_DOCUMENT = "PUT /api/tokens/{address}/metadata"
OWN = 12
"""Sessions and keys of a caller that may be ended."""


@dataclass
class Caller:
    """`headers` are what requests carry; `own` dictionaries replace the shared ones."""

    name: str
    headers: dict[str, str]
    key: str = ""
    own: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class Real:
    """`shared`: name of a dictionary → values; by "METHOD /path": `bodies` are whole bodies, and
    `paths` the parameters of paths that such a body goes to.
    """

    callers: list[Caller]
    shared: dict[str, list[Any]]
    bodies: dict[str, list[Any]]
    paths: dict[str, list[dict[str, str]]]


async def prepare(system: System) -> Real:
    """Makes it all by the public API; only the end of a day is brought forward in MongoDB."""
    rpc = JsonRpc(system.run.rise_rpc, timeout_s=10.0)
    first = Client(system.url, Account.create(), 0)
    chain_id = (await first.post("/api/auth/nonce"))["chainId"]
    await first.close()
    accounts = [Account.create(), system.admin, *(Account.create() for _ in range(4))]
    people = [Client(system.url, one, chain_id) for one in accounts]
    try:
        traders = [one.address for one in people[:3]]
        await funding.fund(rpc, chain_id, addresses=traders, amount_wei=5 * ETH)
        for one in people:  # in this order: who brings somebody joined before
            await one.login()
        return await _prepared(system, people, accounts)
    finally:
        for one in people:
            await one.close()
        await rpc.close()


async def _prepared(system: System, people: list[Client], accounts: list[LocalAccount]) -> Real:
    referrer, admin, user, *victims = people
    codes = [f"fuzz{secrets.token_hex(3)}", f"ref{secrets.token_hex(3)}"]
    await referrer.post("/api/referral/code", code=codes[0])
    await admin.post("/api/referral/code", code=codes[1])
    await admin.post("/api/referral/bind", code=codes[0])
    await user.post("/api/referral/bind", code=codes[1])
    transfers, waiting = await _transfers(system, user, admin)
    hashes, raws, launched = [], [], []
    for one in (admin, user):
        made = await _trade(one)
        hashes += made["hashes"]
        raws += made["raws"]
        launched.append(made["token"])
    listed = (await referrer.get("/api/tokens", limit="20"))["items"]
    tokens = [one["address"] for one in listed] + launched
    wallets = [one.address for one in people]
    creators = [one["creator"] for one in listed[:3]]
    await _count(system, admin, wallets[:3])
    shared = {
        "tokens": list(dict.fromkeys(tokens)),
        "wallets": wallets + creators,
        "pointed": wallets[1:3],
        "victims": [one.address for one in victims],
        "hashes": hashes,
        "codes": codes,
        "transfers": transfers,
        "waiting": waiting,
        "seasons": [rules.ours().seasons[0].id],
        "words": ["Tide", "crane", "co", "0x", tokens[0]],
        "cursors": await _cursors(referrer, tokens[0]),
        "amounts": ["0.001", "0.01", "1", "0.000000000000000001"],
    }
    caller = [await _caller("admin", admin, system), await _caller("user", user, system)]
    key = Caller("key", {"X-API-Key": caller[0].key}, own=caller[0].own)
    callers = [Caller("stranger", {}), *caller, key]
    paths = {PUT_DOCUMENT: [{"address": token} for token in launched]}
    return Real(callers, shared, _bodies(shared, raws), paths)


async def _trade(client: Client) -> dict[str, Any]:
    # A launch, a buy and a sell, mined; the raw transactions too.
    raws: list[str] = []
    post = client.post

    async def noting(path: str, **body: Any) -> Any:
        if path.endswith("/submit"):
            raws.append(body["rawTransaction"])
        return await post(path, **body)

    client.post = noting  # type: ignore[method-assign]
    made = await client.post("/api/tokens/create", **DOCUMENT, initialBuyEth="0.02")
    token, states = made["tokenAddress"], [await client.send(made["transaction"])]
    await _listed(client, token)
    for path, body in (
        ("buy", {"ethAmount": "0.05"}),
        ("sell", {"tokenAmount": "1000"}),
    ):
        asked = await client.post(f"/api/trading/{path}", tokenAddress=token, slippage="50", **body)
        states.append(await client.send(asked["transaction"]))
    assert all(one["status"] == "CONFIRMED" for one in states), states
    return {"token": token, "hashes": [one["txHash"] for one in states], "raws": raws}


async def _transfers(system: System, *people: Client) -> tuple[list[str], list[str]]:
    # (ids of transfers whose deposit is on the chain, ids of those that wait for one)
    sepolia = JsonRpc(system.run.sepolia_rpc, timeout_s=10.0)
    chain_id = int(await sepolia.call("eth_chainId", []), 16)
    addresses = [one.address for one in people]
    ids, waiting = [], []
    try:
        await funding.fund(sepolia, chain_id, addresses=addresses, amount_wei=ETH)
        for one in people:
            begun = await one.post("/api/bridge/deposit", amount="0.01")
            ids.append(begun["id"])
            await _deposited(sepolia, one, begun)
            for way in ("deposit", "withdraw"):
                waiting.append((await one.post(f"/api/bridge/{way}", amount="0.02"))["id"])
    finally:
        await sepolia.close()
    return ids, waiting


async def _deposited(rpc: JsonRpc, client: Client, begun: dict[str, Any]) -> None:
    wanted = ("to", "data", "value", "chainId", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
    fields: dict[str, Any] = {name: begun["transaction"][name] for name in wanted}
    signed = client.account.sign_transaction(fields | {"nonce": 0, "type": 2})
    await rpc.call("eth_sendRawTransaction", [signed.raw_transaction.to_0x_hex()])
    deadline = time.monotonic() + WAIT_S
    while (await client.get(f"/api/bridge/status/{begun['id']}"))["messageId"] is None:
        assert time.monotonic() < deadline, f"Expected a deposit within {WAIT_S} s"
        await asyncio.sleep(0.2)


async def _listed(client: Client, token: str) -> None:
    # A token that was just mined reaches its shard, and the recorder, a block later.
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            await client.get(f"/api/tokens/{token}")
            return
        except ApiError as error:
            assert error.code == "token_not_found" and time.monotonic() < deadline, error
        await asyncio.sleep(0.2)


async def _count(system: System, client: Client, wallets: list[str]) -> None:
    # Until the ledger has what they did; then today gets its root, so that there are proofs.
    deadline = time.monotonic() + WAIT_S
    while True:
        found = [await client.get(f"/api/points/{wallet}") for wallet in wallets]
        if all(one["entries"] for one in found[1:]):
            break
        assert time.monotonic() < deadline, f"Expected points within {WAIT_S} s, was {found}"
        await asyncio.sleep(0.5)
    mongo = documents.connect(system.run.mongodb_url)
    season = rules.ours().seasons[0].id
    days = PointDays(documents.database(mongo))
    await days.close(season, found[0]["countedTime"] // DAY_S)
    await mongo.close()


async def _caller(name: str, client: Client, system: System) -> Caller:
    keys = [
        await client.post("/api/keys", name=f"key {number}", scopes=["read", "trade"])
        for number in range(OWN)
    ]
    kept = client._token
    for _ in range(OWN):
        await client.login()
    client._token = kept
    sessions = (await client.get("/api/auth/sessions"))["items"]
    own = {
        "sids": [one["sid"] for one in sessions if not one["current"]],
        "keys": [one["id"] for one in keys[1:]],
    }
    if name == "admin":
        for _ in range(2):
            path = f"/api/admin/users/{Account.create().address}/logout"
            await client.post(path)
        audit = await client.get("/api/admin/audit", limit="1")
        own["audit"] = [audit["cursor"]]
    return Caller(name, {"Authorization": f"Bearer {kept}"}, keys[0]["key"], own)


async def _cursors(client: Client, token: str) -> list[str]:
    found = [
        await client.get("/api/trades", limit="1"),
        await client.get(f"/api/tokens/{token}/transactions", limit="1"),
    ]
    return [one["cursor"] for one in found if one["cursor"]]


def _bodies(shared: dict[str, list[Any]], raws: list[str]) -> dict[str, list[Any]]:
    tokens = shared["tokens"]
    trades = [{"tokenAddress": one, "ethAmount": "0.001", "slippage": 50} for one in tokens[:6]]
    sells = [{"tokenAddress": one, "tokenAmount": "10"} for one in tokens[-2:]]
    quotes = [
        {"tokenAddress": one, "type": "buy", "amount": amount, "mode": mode}
        for one, amount, mode in zip(
            tokens,
            ["0.01", "1", "100", "0.3"],
            ["exactIn", "exactIn", "exactOut"] * 2,
            strict=False,
        )
    ]
    return {
        "POST /api/trading/buy": trades,
        "POST /api/trading/sell": sells,
        "POST /api/trading/quote": quotes,
        "POST /api/trading/submit": [{"rawTransaction": one} for one in raws],
        "POST /api/tokens/create": [
            {"name": "Morning Tide", "symbol": "TIDE"},
            {"name": "海", "symbol": "SEA", "curve": "linear", "initialBuyEth": "0.1"},
        ],
        PUT_DOCUMENT: [DOCUMENT],
        "POST /api/bridge/deposit": [
            {"amount": "0.01"},
            {"amount": "1.5", "targetAddress": shared["wallets"][0]},
        ],
        "POST /api/bridge/withdraw": [{"amount": "0.001"}],
        "POST /api/keys": [{"name": "bot", "scopes": ["read"]}],
        "POST /api/referral/code": [{}, {"code": "Moon1"}],
        "POST /api/referral/bind": [{"code": one} for one in shared["codes"]],
        "PATCH /api/users/me": [
            {"profile": {"name": "Ann", "bio": None}},
            {"settings": {"currency": "USD", "slippage": 1.5}},
        ],
        "PUT /api/admin/users/{address}/role": [{"role": "user"}, {"role": "moderator"}],
    }


# What of it goes where: (methods and path, parameter) → dictionary.
SHARED = {
    "path.address": "tokens",
    "path.hash": "hashes",
    "path.code": "codes",
    "query.season": "seasons",
    "query.search": "words",
    "body.tokenAddress": "tokens",
    "body.amount": "amounts",
}
OF_PATHS = {
    "/api/users/{address}": {"path.address": "wallets"},
    "/api/creators/{address}/tokens": {"path.address": "wallets"},
    "/api/trading/portfolio/{address}": {"path.address": "wallets"},
    "/api/bridge/history/{address}": {"path.address": "wallets"},
    "/api/bridge/status/{id}": {"path.id": "transfers"},
    "/api/admin/bridge/{id}/retry": {"path.id": "waiting"},
    "/api/points/{address}": {"path.address": "wallets"},
    "/api/points/proof/{address}": {"path.address": "pointed"},
    "/api/points/ledger": {"query.address": "pointed"},
    "/api/admin/users/{address}/role": {"path.address": "victims"},
    "/api/admin/users/{address}/logout": {"path.address": "victims"},
    "/api/tokens/{address}/transactions": {"query.cursor": "cursors"},
    "/api/trades": {"query.cursor": "cursors"},
    "/api/admin/audit": {"query.cursor": "audit"},
    "/api/auth/sessions/{sid}": {"path.sid": "sids"},
    "/api/keys/{id}": {"path.id": "keys"},
}
SHARE = 0.6


def settings(real: Real, caller: Caller) -> str:
    """`schemathesis.toml` of a round."""
    values = real.shared | caller.own
    lines = []
    for name, entries in values.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(entries)}"]
    lines += ["[parameters]", *_bound(SHARED, values)]
    for path, bound in OF_PATHS.items():
        found = _bound(bound, values)
        if found:
            lines += ["[[operations]]", f"include-path = {json.dumps(path)}"]
            lines += ["[operations.parameters]", *found]
    return "\n".join(lines) + "\n"


def _bound(bound: dict[str, str], values: dict[str, list[Any]]) -> list[str]:
    # A value now and then: not each request is to have a cursor or a word.
    return [
        f"{json.dumps(parameter)} = {{ dictionary = {json.dumps(name)},"
        f" probability = {SHARE if parameter.startswith('path') else SHARE / 2} }}"
        for parameter, name in bound.items()
        if values.get(name)
    ]
