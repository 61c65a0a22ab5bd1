"""Rotation of attestors as the runbook has it, while transfers are under way: each is paid once."""

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain.account import DigestKey
from tests.bridge.chains import ETHER, OWNER_KEY, RISE, SEPOLIA, SIGNER_KEYS, THRESHOLD
from tests.support.bridge_door import Bridged

DELAY_S = 60
NEW_KEY = b"\xa7" * 32


async def begun(busy: Bridged, way: str, amount: str) -> dict[str, Any]:
    status, answer = await busy.post(f"/bridge/{way}", amount=amount)
    assert status == 200, answer
    return dict(answer["data"])


async def moved(busy: Bridged, way: str, amount: str) -> str:
    one = await begun(busy, way, amount)
    await busy.send(one["transaction"])
    return str(one["id"])


async def by_owner(busy: Bridged, name: str, call: bytes) -> None:
    data = keccak(f"{name}(bytes)".encode())[:4] + encode(["bytes"], [call])
    for end in busy.chains.ends.values():
        await end.done(OWNER_KEY, to=end.vault, data=data)


def set_signers(keys: list[bytes]) -> bytes:
    addresses = sorted(DigestKey(key).address for key in keys)
    selector = keccak(b"setSigners(address[],uint256)")[:4]
    return selector + encode(["address[]", "uint256"], [addresses, THRESHOLD])


def halted(folder: Path, *, reason: str | None) -> None:
    said = {"halted": False} if reason is None else {"halted": True, "reason": reason}
    (folder / "halt.json").write_text(json.dumps(said))


async def test_rotated_signers_pay_what_waited_and_each_once(busy: Bridged, tmp_path: Path) -> None:
    attestors = busy.world.attestors
    await busy.until_available()
    await busy.until(await moved(busy, "deposit", "1"), "released")
    keys = [*SIGNER_KEYS[:2], NEW_KEY]
    await by_owner(busy, "schedule", set_signers(keys))
    # One that too few sign for waits over the rotation; the files are read each time.
    waits = await begun(busy, "deposit", "2")
    for name in ("attestor-0", "attestor-1"):
        halted(tmp_path / name, reason="by hand")
    await busy.until_available(so=False)
    await busy.send(waits["transaction"])
    await busy.until(waits["id"], "attesting")
    _, refused = await busy.post("/bridge/deposit", amount="2")
    assert refused["error"]["code"] == "bridge_unavailable"
    for end in busy.chains.ends.values():
        await end.pass_time(DELAY_S + 1)
    await by_owner(busy, "execute", set_signers(keys))
    # The new key with an empty folder in the old one's place. The first stays halted, so that each
    # transfer needs the new one.
    (tmp_path / "attestor-2").rename(tmp_path / "attestor-2-old")
    busy.world.keys[2] = NEW_KEY
    busy.world.attestor(2, {})
    halted(tmp_path / "attestor-1", reason=None)
    await busy.until_available()
    for one in (waits["id"], await moved(busy, "withdraw", "3")):
        await busy.until(one, "released")
    assert attestors["attestor-2"]._attested >= 2
    totals = {chain: await end.view.totals() for chain, end in busy.chains.ends.items()}
    assert totals[RISE].released == totals[SEPOLIA].released == 3 * ETHER
    assert totals[RISE].refunded == totals[SEPOLIA].refunded == 0
    assert busy.world.checker is not None and busy.world.checker.alarm is None
