"""`risecurve bridge` over two real chains: a queued transfer is ended; an old vault is named."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from actors.bridge_health import BridgeHealth
from chain import vault as vault_codec
from deploy import bridge_commands
from deploy.process import StartError
from engine.bridge.messages import Fate
from engine.control import Instance
from engine.errors import CallerError, TransientError
from engine.settings import BridgeSettings, VaultDeployment
from gateway.bridging import TERMS_KEPT_S
from storage.bridge_beats import BridgeBeats
from tests.bridge.chains import ETHER, GUARDIAN_KEY, OWNER_KEY, RISE, SEPOLIA, End
from tests.support.bridge_door import Bridged
from tests.support.fakes import FakeSink


def running(busy: Bridged, *, checker: bool = True) -> Any:
    """What the command line sees of it."""

    def chain(end: End) -> Any:
        place = VaultDeployment(address=end.vault, first_block=end.first_block, version=1)
        return replace(end.settings, vault=place)

    async def answering(role: str) -> tuple[Instance, ...]:
        return (Instance("checker", role, "bridge_checker"),) if checker else ()

    rise, sepolia = (chain(busy.chains[one]) for one in (RISE, SEPOLIA))
    settings = SimpleNamespace(rise=rise, sepolia=sepolia, bridge=BridgeSettings())
    system = SimpleNamespace(answering=answering, cluster=busy.world.town)
    return SimpleNamespace(settings=settings, system=system)


def losing(run: Any, *, does: bool) -> Any:
    """The same, where no answer of a role arrives."""

    async def ask(name: str, message: Any, *, timeout_s: float) -> Any:
        if does:
            await run.system.cluster.ask(name, message, timeout_s=timeout_s)
        raise TransientError("shard_unavailable", f"Expected an answer of {name}")

    system = SimpleNamespace(answering=run.system.answering, cluster=SimpleNamespace(ask=ask))
    return SimpleNamespace(settings=run.settings, system=system)


async def moved(busy: Bridged, amount: str, *steps: str) -> dict[str, Any]:
    status, begun = await busy.post("/bridge/deposit", amount=amount)
    assert status == 200, begun
    await busy.send(begun["data"]["transaction"])
    return await busy.until(begun["data"]["id"], *steps)


async def test_queued_transfer_is_cancelled_by_either_guardian_and_refunded(busy: Bridged) -> None:
    run, target = running(busy), busy.chains[RISE]
    paid = await moved(busy, "100", "released")
    first, second = [await moved(busy, amount, "queued") for amount in ("7", "8")]
    ids = [bytes.fromhex(one["messageId"][2:]) for one in (paid, first, second)]
    with pytest.raises(CallerError, match="was RELEASED"):
        await bridge_commands.cancelled(run, ids[0], unsigned=True)
    with pytest.raises(CallerError, match="was RELEASED"):
        await bridge_commands.cancelled(run, ids[0], unsigned=False)
    # By the checker, which has the guardian's key, any number of times, also where its answer is
    # lost: before it did anything, which is no success, and after.
    with pytest.raises(TransientError, match="not cancelled as far as is known, ask again"):
        await bridge_commands.cancelled(losing(run, does=False), ids[1], unsigned=False)
    for one in (losing(run, does=True), run):
        done = await bridge_commands.cancelled(one, ids[1], unsigned=False)
        assert done.ok and done.data == {
            "id": first["messageId"],
            "chainId": RISE,
            "cancelled": True,
        }
    assert await target.view.fate(ids[1]) is Fate.CANCELLED
    printed = await bridge_commands.cancelled(run, ids[1], unsigned=True)
    assert printed.ok and printed.data == done.data, "there is nothing left to sign"
    # By another guardian, who signs what is printed; the owner is none.
    printed = await bridge_commands.cancelled(run, ids[2], unsigned=True)
    assert printed.data is not None and printed.data["chainId"] == RISE
    assert await target.view.fate(ids[2]) is Fate.QUEUED, "printing sends nothing"
    call = {"to": target.vault, "data": bytes.fromhex(printed.data["data"][2:])}
    assert printed.data["to"].lower() == "0x" + target.vault.hex()
    with pytest.raises(AssertionError):
        await target.done(OWNER_KEY, **call)
    await target.done(GUARDIAN_KEY, **call)
    for one in (first, second):
        ended = await busy.until(one["id"], "refunded")
        assert (ended["status"], ended["amount"]) == ("FAILED", one["amount"])
    balances = [await end.view.totals() for end in busy.chains.ends.values()]
    assert sorted(one.refunded for one in balances) == [0, 15 * ETHER]


async def test_cancel_of_what_nobody_deposited_or_with_nobody_there_says_so(busy: Bridged) -> None:
    for unsigned in (True, False):
        with pytest.raises(CallerError) as caught:
            await bridge_commands.cancelled(running(busy), bytes(32), unsigned=unsigned)
        assert caught.value.code == "not_found"
    with pytest.raises(StartError, match="--unsigned"):
        await bridge_commands.cancelled(running(busy, checker=False), bytes(32), unsigned=False)
    with pytest.raises(CallerError, match="Expected a hash"):
        bridge_commands.cancel("0x12", unsigned=False)


async def test_vault_from_before_there_was_a_minimum_is_said_to_be_deployed_anew(
    busy: Bridged,
) -> None:
    await busy.until_available()
    end, log = busy.chains[RISE], FakeSink()
    await without_minimum(end)
    for ask in (end.view.minimum(RISE), end.view.terms(RISE)):
        with pytest.raises(TransientError, match="older: deploy it anew") as caught:
            await ask
        assert caught.value.code == "bridge_unavailable"
    # The doors, as soon as what they know is a second old, and whoever says why.
    await asyncio.sleep(TERMS_KEPT_S)
    status, body = await busy.post("/bridge/deposit", amount="1")
    assert (status, body["error"]["code"]) == (503, "bridge_unavailable"), body
    relayer: Any = SimpleNamespace(closed_because="", turn_age_s=0.0)
    health = BridgeHealth(
        name="relayer",
        relayer=relayer,
        vaults={one.chain_id: one.view for one in busy.chains.ends.values()},
        beats=BridgeBeats(busy.world.pool),
        calls=busy.world.town,
        log=log,
    )
    await health.step()
    ((level, event, fields),) = log.lines
    assert (level, event) == ("error", "bridge_vault_outdated")
    assert f"on chain {RISE}" in fields["reason"]
    vault = await bridge_commands._each(running(busy), bridge_commands._terms)
    assert [one for one in vault if "trouble" in one] == [
        {"chainId": RISE, "vault": vault[0]["vault"], "trouble": fields["reason"]}
    ]


async def without_minimum(end: End) -> None:
    """As a vault was before: its code does not know that function."""
    place, selector = "0x" + end.vault.hex(), vault_codec.SELECTOR_OF["minimum"]
    code = await end.rpc.call("eth_getCode", [place, "latest"])
    known, unknown = "63" + selector.hex(), "63" + "ffffff00"
    assert code.count(known) == 1, "Expected one place in the code that knows it"
    await end.rpc.call("anvil_setCode", [place, code.replace(known, unknown)])
