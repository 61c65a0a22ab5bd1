"""The bridge's endpoints: whose are whose, what is too few, and what production refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from eth_account import Account

from deploy import bridge_commands, bridge_endpoints, bridge_keys, bridge_slots, registry
from deploy.environment import ENDPOINTS_MAX
from deploy.process import StartError
from deploy.settings import SettingsError, chain_settings, compose, load_settings, secret_values
from engine.errors import TransientError
from engine.settings import Settings
from tests.unit.deploy.test_settings import ENTRY, PRODUCTION

A, B, C = "https://a.example/key1", "https://b.example/v3", "https://c.example"
KEYS = {
    "ATTESTOR_KEYSTORES": "one,two,three",
    "ATTESTOR_PASSPHRASE_FILE": "words",
    "RELAYER_KEY": "0x" + "ab" * 32,
    "GUARDIAN_KEY": "0x" + "cd" * 32,
    "RISE_CHAIN_RPC": A,
    "SEPOLIA_RPC": A,
}
TWO = {"RISE_CHAIN_RPC_2": B, "SEPOLIA_RPC_2": B}


def composed(folder: Path, given: dict[str, str]) -> Settings:
    environment = load_settings(given)
    vault = {"address": "0x" + "77" * 20, "firstBlock": 9, "version": 1}
    chains = {
        chain_id: chain_settings(
            environment,
            registry.parse(ENTRY | {"vault": vault, "chainId": chain_id}),
            rpc_url=A,
            ws_url="",
            local=False,
        )
        for chain_id in (11155931, 11155111)
    }
    return compose(
        environment,
        data_dir=folder,
        database_url="postgresql://x/y",
        mongodb_url="mongodb://x",
        redis_url="redis://x",
        rise=chains[11155931],
        sepolia=chains[11155111],
    )


def test_everybody_shares_the_chains_nodes_unless_he_has_his_own(tmp_path: Path) -> None:
    own = {"ATTESTOR_RISE_RPCS": f"{B},{C};;{C}", "CHECKER_SEPOLIA_RPCS": C}
    settings = composed(tmp_path, KEYS | TWO | own)
    assert bridge_slots.refusal(settings) == ""
    of = [bridge_endpoints.of_attestor(settings, "rise", number) for number in range(3)]
    assert of == [(B, C), (A, B), (C,)]
    assert bridge_endpoints.of_attestor(settings, "sepolia", 0) == (A, B)
    assert bridge_endpoints.of_checker(settings, "sepolia") == (C,)
    assert bridge_endpoints.of_checker(settings, "rise") == (A, B)
    # A role sees its own only, the attestor as the first.
    seen = settings.seen_by("attestor", "attestor-2")
    assert bridge_endpoints.of_attestor(seen, "rise", 0) == (C,)
    assert seen.bridge.checker_sepolia_rpcs == ()
    for role in ("relayer", "gateway", "vault_listener"):
        assert settings.seen_by(role).bridge.attestor_rise_rpcs == ()
    assert settings.seen_by("bridge_checker").bridge.checker_sepolia_rpcs == (C,)
    assert "example" not in repr(settings.bridge)


def test_two_urls_of_one_host_are_one_endpoint() -> None:
    urls = ["https://n.example/1", "https://n.example:443/2", "http://n.example:8545", "http://m"]
    places = bridge_endpoints.by_place(urls)
    assert [len(own) for own in places.values()] == [2, 1, 1]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "RISE_CHAIN_RPC_2 or ATTESTOR_RISE_RPCS: expected a second endpoint"),
        ({"RISE_CHAIN_RPC_2": B}, "SEPOLIA_RPC_2 or ATTESTOR_SEPOLIA_RPCS"),
        ({"RISE_CHAIN_RPC_2": A + "2", "SEPOLIA_RPC_2": B}, "3 of 3 attestors"),
        (TWO | {"BRIDGE_ATTEST_QUORUM": "1"}, "3 of 3 attestors"),
        (TWO | {"ATTESTOR_RISE_RPCS": f"{A};{A};{B},{C}"}, "2 of 3 attestors"),
    ],
)
def test_endpoint_that_most_attestors_believe_alone_is_refused_in_production_only(
    tmp_path: Path, given: dict[str, str], fault: str
) -> None:
    assert fault in bridge_endpoints.alone(composed(tmp_path, KEYS | given))
    with pytest.raises(SettingsError, match=fault) as raised:
        composed(tmp_path, PRODUCTION | KEYS | given)
    assert "example" not in str(raised.value)
    off = composed(tmp_path, PRODUCTION | KEYS | given | {"BRIDGE": "false"})
    assert not off.bridge.runs


@pytest.mark.parametrize(
    "given",
    [TWO, TWO | {"BRIDGE_ATTEST_QUORUM": "2"}, TWO | {"ATTESTOR_RISE_RPCS": f"{A};{B};{C}"}],
)
def test_endpoints_of_which_none_is_enough_alone_are_accepted_in_production(
    tmp_path: Path, given: dict[str, str]
) -> None:
    settings = composed(tmp_path, PRODUCTION | KEYS | given)
    assert bridge_endpoints.alone(settings) == ""


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"BRIDGE_ATTEST_QUORUM": "3"}, "BRIDGE_ATTEST_QUORUM: expected at most the 2"),
        ({"ATTESTOR_RISE_RPCS": f"{A};{B}"}, "ATTESTOR_RISE_RPCS: expected 3 lists, was 2"),
    ],
)
def test_endpoints_that_cannot_be_meant_are_refused_everywhere(
    tmp_path: Path, given: dict[str, str], fault: str
) -> None:
    with pytest.raises(SettingsError, match=fault):
        composed(tmp_path, KEYS | TWO | given)


def test_urls_of_lists_are_checked_bounded_and_never_shown() -> None:
    for name in ("ATTESTOR_RISE_RPCS", "CHECKER_RISE_RPCS"):
        for wrong in ("ws://hunter22.example", ",".join([A] * (ENDPOINTS_MAX + 1))):
            with pytest.raises(SettingsError) as raised:
                load_settings({name: wrong})
            assert str(raised.value).count(name) == 1
            assert "hunter22" not in str(raised.value) and "key1" not in str(raised.value)
    environment = load_settings({"ATTESTOR_RISE_RPCS": f"https://u:hunter22@h;{A}"})
    assert "hunter22" in secret_values(environment)


@pytest.fixture
def keystore(tmp_path: Path) -> dict[str, str]:
    document = Account.encrypt("0x" + "17" * 32, "words", kdf="pbkdf2", iterations=1)
    files = {"store": tmp_path / "store.json", "words": tmp_path / "words"}
    files["store"].write_bytes(orjson.dumps(document))
    files["words"].write_text("words\n")
    for one in files.values():
        one.chmod(0o600)
    return {name: str(one) for name, one in files.items()}


def with_keys(folder: Path, files: dict[str, str], app_env: str) -> Settings:
    settings = composed(folder, KEYS | TWO)
    bridge = replace(
        settings.bridge,
        attestor_keystores=(files["store"],),
        attestor_passphrase_file=files["words"],
    )
    return replace(settings, app_env=app_env, bridge=bridge)


@pytest.mark.parametrize("which", ["store", "words"])
def test_key_file_that_others_may_read_is_refused_in_production(
    tmp_path: Path, keystore: dict[str, str], which: str
) -> None:
    key = bridge_keys.attestor(with_keys(tmp_path, keystore, "production"), "attestor-0")
    assert "0x" + key.address.hex() == Account.from_key("0x" + "17" * 32).address.lower()
    for mode in (0o640, 0o604, 0o660):
        Path(keystore[which]).chmod(mode)
        with pytest.raises(StartError, match=f"mode 0600.*was {mode:04o}"):
            bridge_keys.attestor(with_keys(tmp_path, keystore, "production"), "attestor-0")
        assert bridge_keys.attestor(with_keys(tmp_path, keystore, "development"), "attestor-0")


def test_key_file_of_mode_0400_is_private_enough(tmp_path: Path, keystore: dict[str, str]) -> None:
    Path(keystore["words"]).chmod(0o400)
    assert bridge_keys.attestor(with_keys(tmp_path, keystore, "production"), "attestor-0")


async def test_status_turns_to_the_second_node_while_the_first_is_away(tmp_path: Path) -> None:
    class Node:
        def __init__(self, url: str) -> None:
            self._url = url

        async def call(self, *_: Any, **__: Any) -> str:
            if self._url == A:
                raise TransientError("stale_chain", "away")
            return "0x1"

    nodes = bridge_commands._nodes(composed(tmp_path, KEYS | TWO).rise)
    for one in nodes._nodes:
        fake: Any = Node(one.endpoint.rpc_url)
        one.rpc = fake
    await bridge_commands._awake(nodes)
    assert await nodes.call("eth_call") == "0x1"
