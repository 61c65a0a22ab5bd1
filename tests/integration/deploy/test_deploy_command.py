"""`risecurve deploy` from the command line: the way from the devnet to a network."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from eth_account import Account

from deploy import cli, registry
from engine import text
from tests.support.servers import RISE, Anvil

CLI = str(Path(sys.executable).with_name("risecurve"))
COMMAND = ("deploy", "--chain", "rise", "--json")
CONTRACTS = {"WETH9", "UniswapV2Factory", "UniswapV2Router02", "Launchpad", "LaunchpadLens"}


def settings_of(node: Anvil, folder: Path, **variables: str) -> dict[str, str]:
    return {
        "APP_ENV": "test",
        "DATA_DIR": str(folder / "data"),
        "DEPLOYMENTS_FILE": str(folder / "deployments.json"),
        "RISE_CHAIN_RPC": node.rpc_url,
        "PRIVATE_KEY": "0x" + node.keys()[0].hex(),
        **variables,
    }


def deploy(node: Anvil, folder: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of `risecurve deploy --chain rise --json`, from
    its entry point: a process takes seconds to load.
    """
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ, settings_of(node, folder, **variables)),
        mock.patch.object(sys, "argv", [CLI, *COMMAND, *words]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, output.getvalue(), errors.getvalue()


def deploy_alone(node: Anvil, folder: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    """The same in a process of its own, as a user has it."""
    done = subprocess.run(
        [CLI, *COMMAND, *words],
        env=os.environ | settings_of(node, folder, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def document(
    node: Anvil, folder: Path, *words: str, run: Callable[..., tuple[int, str, str]] = deploy
) -> dict[str, Any]:
    """The JSON line of a deploy that succeeds."""
    code, output, errors = run(node, folder, *words)
    assert code == 0, errors
    lines = output.splitlines()
    assert len(lines) == 1, output
    found: dict[str, Any] = json.loads(lines[0])
    return found


def sent(node: Anvil) -> int:
    """How many transactions the deployer has sent."""
    address = Account.from_key(node.keys()[0]).address
    return int(node.rpc("eth_getTransactionCount", address, "pending"), 16)


def test_deploy_dry_run_then_real_then_again_sends_only_once(
    make_anvil: Callable[..., Anvil], tmp_path: Path
) -> None:
    node = make_anvil(RISE, block_time=None)
    file = tmp_path / "deployments.json"
    planned = document(node, tmp_path, "--dry-run")
    assert sent(node) == 0
    assert not file.exists()
    assert set(planned["gas"]) == CONTRACTS
    made = document(node, tmp_path, run=deploy_alone)
    assert sent(node) == len(CONTRACTS)
    assert [one["address"] for one in made["launchpads"]] == [
        one["address"] for one in planned["launchpads"]
    ]
    entry = registry.read(file, chain_id=RISE)
    assert made == json.loads(file.read_bytes())
    for address in (entry.launchpads[-1].address, entry.launchpads[-1].lens, entry.weth):
        assert len(node.rpc("eth_getCode", "0x" + address.hex(), "latest")) > 2
    assert document(node, tmp_path) == made
    assert document(node, tmp_path, "--dry-run")["gas"] == {}
    assert sent(node) == len(CONTRACTS)
    assert registry.read(file, chain_id=RISE) == entry


def test_deploy_with_signers_adds_a_vault_that_a_later_deploy_keeps(
    make_anvil: Callable[..., Anvil], tmp_path: Path
) -> None:
    node = make_anvil(RISE, block_time=None)
    people = ["0x" + digit * 40 for digit in "123"]
    words = ["--signers", ",".join(people), "--guardians", people[0], "--limit", "2.5"]
    made = document(node, tmp_path, *words)
    assert sent(node) == len(CONTRACTS) + 2, "the vault, and its peer"
    entry = registry.read(tmp_path / "deployments.json", chain_id=RISE)
    assert entry.vault is not None
    assert made["vault"] == {
        "address": text.address(entry.vault.address),
        "firstBlock": entry.vault.first_block,
        "version": 1,
    }
    assert document(node, tmp_path)["vault"] == made["vault"]
    assert document(node, tmp_path, *words)["vault"] == made["vault"]
    assert sent(node) == len(CONTRACTS) + 2
    code, output, errors = deploy(node, tmp_path, *words, "--threshold", "4")
    assert (code, output) == (1, "")
    assert "was 4 of 3" in errors


@pytest.mark.parametrize(
    ("run", "variables", "sentence"),
    [
        (deploy_alone, {"RISE_CHAIN_ID": "4153"}, "Expected chain 4153, was 11155931"),
        (deploy, {"PRIVATE_KEY": ""}, "PRIVATE_KEY"),
        (deploy, {"RISE_CHAIN_RPC": "http://127.0.0.1:1"}, "127.0.0.1"),
    ],
    ids=("chain", "key", "node"),
)
def test_deploy_that_cannot_be_is_one_sentence_and_no_file(
    anvil: Anvil,
    tmp_path: Path,
    *,
    run: Callable[..., tuple[int, str, str]],
    variables: dict[str, str],
    sentence: str,
) -> None:
    code, output, errors = run(anvil, tmp_path, **variables)
    assert (code, output) == (1, "")
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1, errors
    assert anvil.keys()[0].hex() not in errors
    assert not (tmp_path / "deployments.json").exists()
