"""The committed ABI and bytecode are what the sources compile to."""

import json
import secrets
import subprocess
from pathlib import Path

import pytest

from chain import abi
from tests.support.evm import ROOT, compile_sources

RUNTIME_BYTES_MAX = 24_576


def test_compile_afresh_equals_what_is_committed() -> None:
    done = subprocess.run(
        ["node", "chain/compile.mjs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_was_compiled_before_is_used_while_its_imports_are_the_same(tmp_path: Path) -> None:
    name = f"Small{secrets.token_hex(8)}"
    imported = "chain/contracts/ILaunchpad.sol"
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / f"{name}.sol").write_text(
        "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.28;\n"
        f'import {{ILaunchpad}} from "{imported}";\n'
        f"contract {name} {{ ILaunchpad public pad; }}\n"
    )

    def code() -> str:
        found = compile_sources(tmp_path / "sources", tmp_path / "out", quick=True)
        return str(found[name]["bytecode"])

    made = code()
    kept = ROOT / "node_modules/.cache/risecurve-solc"
    (entry,) = [file for file in kept.glob("*.json") if name in file.read_text()]
    document = json.loads(entry.read_text())
    (contract,) = document["output"]["contracts"][f"sources/{name}.sol"].values()
    contract["evm"]["bytecode"]["object"] = "dead"
    entry.write_text(json.dumps(document))
    assert code() == "0xdead"
    assert imported in document["imports"]
    document["imports"][imported] = "the digest of other bytes"
    entry.write_text(json.dumps(document))
    assert code() == made != "0xdead"
    entry.unlink()


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("Launchpad", RUNTIME_BYTES_MAX),
        ("LaunchToken", 8_192),
        ("LaunchpadLens", RUNTIME_BYTES_MAX),
        ("BridgeVault", 16_384),
    ],
)
def test_contract_stays_small(name: str, limit: int) -> None:
    size = (len(abi.load(name)["deployedBytecode"]) - 2) // 2
    assert 0 < size < limit <= RUNTIME_BYTES_MAX


def test_launchpad_takes_ether_of_trades_and_of_weth_only() -> None:
    # What `receive` takes, and from whom, is tried on the chain.
    kinds = {entry["type"] for entry in abi.load("Launchpad")["abi"]}
    assert kinds == {"constructor", "function", "event", "error", "receive"}
    payable = {
        entry.get("name", entry["type"])
        for entry in abi.load("Launchpad")["abi"]
        if entry.get("stateMutability") == "payable"
    }
    assert payable == {"create", "buy", "buyExactOut", "receive"}


def test_vault_takes_ether_of_deposits_and_liquidity_only() -> None:
    entries = abi.load("BridgeVault")["abi"]
    assert {entry["type"] for entry in entries} == {"constructor", "function", "event", "error"}
    payable = {entry["name"] for entry in entries if entry.get("stateMutability") == "payable"}
    assert payable == {"deposit", "addLiquidity"}


@pytest.mark.parametrize(
    "name", ["UniswapV2Factory", "UniswapV2Pair", "UniswapV2Router02", "WETH9"]
)
def test_shipped_artifact_has_code(name: str) -> None:
    artifact = abi.load(name)
    assert artifact["contractName"] == name
    assert len(artifact["bytecode"]) > 1_000 and artifact["abi"]
