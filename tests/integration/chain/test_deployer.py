"""Deploying on a real node: from nothing, again, without sending, over what is there."""

from typing import Any

import pytest
from eth_account import Account

from chain import abi
from chain.deployer import OP_STACK_WETH, default_curves
from engine.errors import CallerError
from tests.support.evm import Chain, Contract
from tests.support.servers import Anvil
from tests.support.stage import deploy_blocking

SALT = b"deployer".rjust(32, b"\0")


def _key(anvil: Anvil) -> bytes:
    return anvil.keys()[1]


def _nonce(chain: Chain, anvil: Anvil) -> int:
    sender = Account.from_key(_key(anvil)).address
    return int(chain.rpc("eth_getTransactionCount", sender, "latest"), 16)


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def test_deploy_dry_run_sends_nothing_and_names_what_deploy_makes(
    anvil: Anvil, chain: Chain
) -> None:
    before, lines = _nonce(chain, anvil), list[str]()
    options: dict[str, Any] = {"private_key": _key(anvil), "salt": SALT}
    planned = deploy_blocking(anvil, dry_run=True, progress=lines.append, **options)
    assert _nonce(chain, anvil) == before
    gas = planned.pop("gas")
    assert set(gas) == {
        "WETH9",
        "UniswapV2Factory",
        "UniswapV2Router02",
        "Launchpad",
        "LaunchpadLens",
    }
    assert all(100_000 < used < 16_000_000 for used in gas.values())
    assert len(lines) == 5
    made = deploy_blocking(anvil, **options)
    assert _nonce(chain, anvil) == before + 5
    for entry in (planned, made):
        entry["launchpads"][0]["firstBlock"] = 0
    assert made == planned
    again = deploy_blocking(anvil, **options)
    assert _nonce(chain, anvil) == before + 5, "nothing is sent twice"
    assert again["launchpads"][0].pop("firstBlock") > 0
    assert again["launchpads"][0]["address"] == made["launchpads"][0]["address"]


def test_deploy_entry_says_what_stands_on_the_chain(anvil: Anvil, chain: Chain) -> None:
    lines = list[str]()
    entry = deploy_blocking(anvil, private_key=_key(anvil), salt=SALT, progress=lines.append)
    launchpad = entry["launchpads"][0]
    pad = Contract(chain, abi.load("Launchpad"), _bytes(launchpad["address"]))
    assert len(lines) == 5
    assert entry["chainId"] == anvil.chain_id and entry["vault"] is None
    assert entry["genesisHash"] == chain.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    assert pad.call("factory") == _bytes(entry["factory"])
    assert pad.call("weth") == _bytes(entry["weth"])
    assert pad.call("owner") == _bytes(Account.from_key(_key(anvil)).address)
    assert pad.call("tokenImplementation") == _bytes(launchpad["tokenImplementation"])
    assert pad.call("firstBlock") == launchpad["firstBlock"]
    assert launchpad["version"] == 2
    fees = (100, 50, 2_000, 30, 0, 0)
    assert tuple(pad.call("fees").values()) == fees
    assert pad.call("curveCount") == len(entry["curves"]) == 2
    for index, curve in enumerate(default_curves()):
        expected = (curve.family, curve.a, curve.b, curve.curve_supply, curve.pool_supply)
        assert tuple(pad.call("curve", index).values()) == expected
        assert entry["curves"][index]["a"] == str(curve.a)
    query = {"fromBlock": hex(launchpad["firstBlock"]), "address": launchpad["address"]}
    logs = pad.events({"logs": chain.rpc("eth_getLogs", query)})
    assert [log.name for log in logs] == ["OwnerChanged", "FeesChanged", "CurveAdded", "CurveAdded"]
    assert [log.args["eventSeq"] for log in logs] == [1, 2, 3, 4]


def test_deploy_after_a_broken_off_run_goes_on(anvil: Anvil, chain: Chain) -> None:
    before, salt = _nonce(chain, anvil), b"broken".rjust(32, b"\0")
    broken = [0]

    def progress(line: str) -> None:
        broken[0] += 1
        if broken[0] == 1:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        deploy_blocking(anvil, private_key=_key(anvil), salt=salt, progress=progress)
    entry = deploy_blocking(anvil, private_key=_key(anvil), salt=salt)
    assert _nonce(chain, anvil) == before + 5
    assert len(chain.rpc("eth_getCode", entry["launchpads"][0]["address"], "latest")) > 2


def test_deploy_over_given_contracts_uses_them(anvil: Anvil, chain: Chain) -> None:
    base = deploy_blocking(anvil, private_key=_key(anvil), salt=SALT)
    given = {name: _bytes(base[name]) for name in ("weth", "factory", "router")}
    owner = chain.account("another owner")
    entry = deploy_blocking(
        anvil,
        private_key=_key(anvil),
        owner=owner,
        curves=default_curves(3 * 10**18),
        dry_run=True,
        **given,
    )
    assert set(entry["gas"]) == {"Launchpad", "LaunchpadLens"}
    assert [entry[name] for name in given] == [base[name] for name in given]
    assert entry["curves"][0]["a"] == str(3 * 10**18)
    assert entry["launchpads"][0]["address"] != base["launchpads"][0]["address"]


def test_deploy_on_an_op_stack_uses_its_weth(anvil: Anvil, chain: Chain) -> None:
    place = "0x" + OP_STACK_WETH.hex()
    chain.rpc("anvil_setCode", place, abi.load("WETH9")["deployedBytecode"])
    try:
        entry = deploy_blocking(anvil, private_key=_key(anvil), dry_run=True)
        assert entry["weth"] == place
        assert "WETH9" not in entry["gas"]
    finally:
        chain.rpc("anvil_setCode", place, "0x")


def test_deploy_on_another_chain_is_refused(anvil: Anvil) -> None:
    with pytest.raises(CallerError, match="wrong_chain"):
        deploy_blocking(anvil, chain_id=1, private_key=_key(anvil))


def test_deploy_with_an_invalid_curve_is_refused_before_sending(anvil: Anvil, chain: Chain) -> None:
    before = _nonce(chain, anvil)
    with pytest.raises(CallerError, match="Launchpad cannot be deployed"):
        deploy_blocking(anvil, private_key=_key(anvil), curves=default_curves(0), salt=SALT)
    assert _nonce(chain, anvil) == before
