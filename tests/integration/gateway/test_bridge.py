"""The bridge's doors over real chains, vaults and stores: what is asked for is what happens."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio
from eth_account import Account

from deploy import datadir
from deploy.embedded import Embedded
from engine.text import address
from gateway import replies as r
from gateway.bridging import DEPOSIT_GAS
from tests.bridge.chains import ETHER, RISE, SEPOLIA
from tests.support.bridge_door import Bridged, bridged
from tests.support.gateway import Door, headers_of
from tests.support.lobby import ADMIN


@pytest.fixture(scope="module")
def nodes() -> Iterator[Embedded]:
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        yield embedded


@pytest.fixture
def urls(postgres_url: str, mongodb_url: str, redis_url: str) -> dict[str, str]:
    return {"postgres": postgres_url, "mongodb": mongodb_url, "redis": redis_url}


@pytest.fixture
async def idle(nodes: Embedded, urls: dict[str, str], tmp_path: Path) -> AsyncIterator[Bridged]:
    """Doors and chains; nobody works."""
    async with bridged(nodes, urls, tmp_path, working=False) as one:
        yield one


@pytest.fixture
async def busy(nodes: Embedded, urls: dict[str, str], tmp_path: Path) -> AsyncIterator[Bridged]:
    """Everybody works."""
    async with bridged(nodes, urls, tmp_path) as one:
        yield one


@pytest.mark.parametrize("way", ["deposit", "withdraw"])
async def test_transfer_asked_for_signed_and_sent_is_paid_once_and_shown_step_by_step(
    busy: Bridged, way: str
) -> None:
    recipient = Account.create().address
    status, answer = await busy.post(f"/bridge/{way}", amount="0.5", targetAddress=recipient)
    assert status == 200, answer
    begun = answer["data"]
    r.BridgeBegunData.model_validate(begun)
    assert (begun["fee"], begun["receives"], begun["queued"]) == ("0.0015", "0.4985", False)
    assert (await busy.status(begun["id"]))["step"] == "awaiting_deposit"
    receipt = await busy.send(begun["transaction"])
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) * 1.2 < DEPOSIT_GAS
    state = await busy.until(begun["id"], "released")
    r.BridgeTransferData.model_validate(state)
    assert (state["status"], state["userAddress"]) == ("COMPLETED", busy.wallet.address)
    assert state["sourceTxHash"] == receipt["transactionHash"]
    assert state["source"]["final"] and state["target"]["final"]
    assert state["source"]["confirmations"] > 8 and state["estimatedSeconds"] == 0
    target = busy.chains[SEPOLIA if way == "withdraw" else RISE]
    paid = await target.rpc.call("eth_getTransactionReceipt", [state["targetTxHash"]])
    assert paid["to"] == "0x" + target.vault.hex()
    balance = await target.rpc.call("eth_getBalance", [recipient, "latest"])
    assert int(balance, 16) == ETHER * 4985 // 10_000
    steps = [one["step"] for one in state["steps"]]
    assert steps[:2] == ["awaiting_deposit", "confirming"]
    assert steps[-2:] == ["releasing", "released"]
    # The vault's own id is as good.
    assert (await busy.status(state["messageId"]))["id"] == begun["id"]


async def test_wallets_topic_tells_each_step_of_its_own_transfers_in_order(busy: Bridged) -> None:
    pushed: list[dict[str, Any]] = []
    socket = socketio.AsyncClient(reconnection=False)
    socket.on("user", lambda message: pushed.append(message["data"]))
    token = busy.headers["Authorization"].split()[1]
    await socket.connect(busy.door.url, auth={"token": token}, transports=["websocket"])
    topic = {"topic": f"user:{busy.wallet.address.lower()}"}
    answer = await socket.call("subscribe", topic, timeout=5)
    assert answer["success"], answer
    _, begun = await busy.post("/bridge/deposit", amount="0.01")
    await busy.send(begun["data"]["transaction"])
    state = await busy.until(begun["data"]["id"], "released")
    async with asyncio.timeout(10):
        while not pushed or pushed[-1]["step"] != "released":
            await asyncio.sleep(0.05)
    await socket.disconnect()
    for one in pushed:
        r.realtime.UserBridgeData.model_validate(one)
    assert [one["step"] for one in pushed] == [one["step"] for one in state["steps"]]
    assert [one["number"] for one in pushed] == list(range(1, len(pushed) + 1))
    assert pushed[-1]["targetTxHash"] == state["targetTxHash"]


async def test_request_with_one_key_is_one_transfer_also_without_the_kept_answer(
    idle: Bridged,
) -> None:
    key = {"headers": {"Idempotency-Key": "transfer-1"}}
    _, first = await idle.post("/bridge/deposit", amount="0.5", **key)
    _, again = await idle.post("/bridge/deposit", amount="0.5", **key)
    assert again["data"] == first["data"]
    _, other = await idle.post("/bridge/withdraw", amount="0.5", **key)
    assert other["data"]["id"] != first["data"]["id"]
    # Redis has forgotten the answers.
    await idle.door.replays._client.flushdb()
    _, after = await idle.post("/bridge/deposit", amount="0.5", **key)
    assert after["data"]["id"] == first["data"]["id"]
    await idle.door.replays._client.flushdb()
    status, refused = await idle.post("/bridge/deposit", amount="0.6", **key)
    assert (status, refused["error"]["code"]) == (409, "idempotency_conflict")
    _, mine = await idle.door.get(f"/api/bridge/history/{idle.wallet.address}")
    assert mine["data"]["total"] == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"amount": "0.0009"}, 400, "below_minimum"),
        ({"amount": "100.1"}, 400, "above_limit"),
        ({"amount": "0"}, 400, "invalid_amount"),
        ({"amount": 1}, 400, "invalid_amount"),
        ({"amount": "1", "targetAddress": "0x" + "00" * 20}, 400, "invalid_address"),
        ({"amount": "1", "targetAddress": "0x12"}, 400, "invalid_address"),
        ({"amount": "1", "chainId": 1}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
    ],
)
async def test_request_that_the_vault_would_refuse_is_refused_by_code(
    idle: Bridged, body: dict[str, Any], status: int, code: str
) -> None:
    found, answer = await idle.post("/bridge/deposit", **body)
    assert (found, answer["error"]["code"]) == (status, code), answer
    _, mine = await idle.door.get(f"/api/bridge/history/{idle.wallet.address}")
    assert mine["data"]["total"] == 0


async def test_config_names_the_vaults_and_the_least_that_is_moved(idle: Bridged) -> None:
    _, answer = await idle.door.get("/api/config")
    data = r.ConfigData.model_validate(answer["data"])
    assert data.bridge is not None and data.bridge.minimum == "0.001"
    vaults = [address(idle.world.chains[chain].vault) for chain in (RISE, SEPOLIA)]
    assert [data.bridge.rise, data.bridge.sepolia] == vaults


async def test_request_without_relayer_or_login_is_refused(idle: Bridged) -> None:
    idle.staffed("bridge_checker")
    status, answer = await idle.post("/bridge/deposit", amount="1")
    assert (status, answer["error"]["code"]) == (503, "bridge_unavailable")
    status, answer = await idle.door.post("/api/bridge/withdraw", {"amount": "1"})
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


async def test_history_is_paged_by_number_and_cursor_newest_first(idle: Bridged) -> None:
    ids = []
    for amount in ("0.1", "0.2", "0.3"):
        _, begun = await idle.post("/bridge/withdraw", amount=amount)
        ids.append(begun["data"]["id"])
    path = f"/api/bridge/history/{idle.wallet.address}?limit=2"
    _, first = await idle.door.get(path)
    r.History[r.BridgeTransferData].model_validate(first["data"])
    _, second = await idle.door.get(f"{path}&page=2")
    _, after = await idle.door.get(f"{path}&cursor={first['data']['cursor']}")
    assert [one["id"] for one in first["data"]["items"]] == ids[:0:-1]
    assert [one["id"] for one in second["data"]["items"]] == ids[:1]
    assert after["data"]["items"] == second["data"]["items"]
    assert (first["data"]["total"], after["data"]["cursor"]) == (3, None)
    # The second names a year that no calendar has.
    for cursor in ("1.2", "9" * 18 + "." + "00" * 32):
        status, answer = await idle.door.get(f"{path}&cursor={cursor}")
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
    status, last = await idle.door.get(f"{path}&cursor={'9' * 17}.{'00' * 32}")
    assert status == 200 and len(last["data"]["items"]) == 2
    _, nobody = await idle.door.get(f"/api/bridge/history/0x{'01' * 20}")
    assert nobody["data"]["items"] == []


async def test_status_of_an_unknown_or_misspelt_id_has_its_code(idle: Bridged) -> None:
    status, answer = await idle.door.get(f"/api/bridge/status/0x{'ab' * 32}")
    assert (status, answer["error"]["code"]) == (404, "not_found")
    status, answer = await idle.door.get("/api/bridge/status/7")
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_stuck_transfer_is_listed_retried_and_both_deeds_stand_in_the_log(
    busy: Bridged,
) -> None:
    admin = headers_of(await busy.door.session_of(ADMIN))
    busy.world.town.silent.add("attestor")
    _, begun = await busy.post("/bridge/deposit", amount="0.5")
    id = begun["data"]["id"]
    await busy.send(begun["data"]["transaction"])
    await busy.until(id, "attesting")
    await asyncio.sleep(1.2)
    _, found = await busy.door.get("/api/admin/bridge/stuck?olderThan=1", headers=admin)
    (one,) = found["data"]["items"]
    assert one["id"] == id and "0 of 2 signatures" in one["reason"]
    _, none = await busy.door.get("/api/admin/bridge/stuck?olderThan=600", headers=admin)
    assert none["data"]["items"] == []
    busy.world.town.silent.clear()
    status, _ = await busy.door.post(f"/api/admin/bridge/{id}/retry", headers=admin)
    assert status == 200
    await busy.until(id, "released")
    status, answer = await busy.door.post(f"/api/admin/bridge/{id}/retry", headers=admin)
    assert (status, answer["error"]["code"]) == (409, "transfer_ended")
    _, log = await busy.door.get("/api/admin/audit", headers=admin)
    assert [(one["action"], one["target"]) for one in log["data"]["items"]] == [
        ("bridge_retry", id)
    ] * 2


async def test_pause_holds_both_vaults_at_once_and_the_doors_say_so(busy: Bridged) -> None:
    admin = headers_of(await busy.door.session_of(ADMIN))
    status, answer = await busy.door.post("/api/admin/bridge/pause", headers=admin)
    assert status == 200, answer
    r.BridgePausedData.model_validate(answer["data"])
    assert all(one["paused"] for one in answer["data"]["chains"])
    for end in busy.chains.ends.values():
        assert await end.view.paused()
    await asyncio.sleep(1.1)  # what the doors know of a vault is a second old at most
    for way in ("deposit", "withdraw"):
        status, answer = await busy.post(f"/bridge/{way}", amount="1")
        assert (status, answer["error"]["code"]) == (503, "bridge_paused")
    busy.staffed("relayer")
    status, answer = await busy.door.post("/api/admin/bridge/pause", headers=admin)
    assert (status, answer["error"]["code"]) == (503, "bridge_unavailable")
    _, log = await busy.door.get("/api/admin/audit", headers=admin)
    assert [one["action"] for one in log["data"]["items"]] == ["bridge_pause"] * 2


async def test_bridge_that_is_off_says_so_on_every_route(people_door: Door) -> None:
    user = await people_door.login()
    admin = headers_of(await people_door.session_of(ADMIN))
    for method, path, headers in (
        ("POST", "bridge/deposit", user),
        ("POST", "bridge/withdraw", user),
        ("GET", f"bridge/status/0x{'01' * 32}", {}),
        ("GET", f"bridge/history/0x{'01' * 20}", {}),
        ("GET", "admin/bridge/stuck", admin),
        ("POST", f"admin/bridge/0x{'01' * 32}/retry", admin),
        ("POST", "admin/bridge/pause", admin),
    ):
        status, answer = await people_door.ask(method, f"/api/{path}", headers=headers)
        assert (status, answer["error"]["code"]) == (501, "not_implemented"), path
