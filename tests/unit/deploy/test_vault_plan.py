"""What `risecurve deploy` may be told about a vault."""

from typing import Any

import pytest
from eth_account import Account

from chain.vault_deployer import VaultConfig
from deploy import devnet_bridge
from deploy.devnet import DEVNET_KEY
from deploy.process import StartError
from deploy.settings import is_devnet_account
from deploy.vault_plan import VaultPlan
from engine import text

KEY = "0x" + "17" * 32
SENDER = bytes.fromhex(Account.from_key(KEY).address[2:])
ONE, TWO, THREE = ("0x" + digit * 40 for digit in "123")


def plan(**changes: Any) -> VaultPlan:
    values: dict[str, Any] = {"signers": f"{ONE},{TWO}", "threshold": 2, "guardians": THREE}
    values |= {"limit": "1.5", "minimum": "0.02", "fee_bps": 10, "delay_s": 7_200}
    return VaultPlan(**values | changes)


def test_plan_without_roles_gives_them_to_the_sender() -> None:
    config = plan().config(KEY, production=True)
    assert (config.owner, config.liquidity_providers) == (SENDER, (SENDER,))
    assert (config.limit_wei, config.minimum_wei) == (15 * 10**17, 2 * 10**16)
    assert config.guardians == (b"\x33" * 20,)


def test_plan_given_roles_are_kept() -> None:
    config = plan(owner=ONE, liquidity_providers=f"{TWO}, {THREE}").config(KEY, production=True)
    assert config.owner == b"\x11" * 20
    assert config.liquidity_providers == (b"\x22" * 20, b"\x33" * 20)
    assert plan(owner=ONE).config(KEY, production=True).liquidity_providers == (b"\x11" * 20,)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"signers": ""}, "--threshold"),
        ({"signers": "0x12"}, "--signers"),
        ({"signers": f"{ONE},{ONE}"}, "each address once"),
        ({"threshold": 0}, "was 0 of 2"),
        ({"threshold": 3}, "was 3 of 2"),
        ({"guardians": ""}, "--guardians"),
        ({"limit": "0"}, "--limit"),
        ({"limit": "much"}, "--limit"),
        ({"minimum": "0"}, "--minimum"),
        ({"minimum": "1.6"}, "--minimum: expected at most the limit"),
        ({"owner": "me"}, "--owner"),
    ],
)
def test_plan_that_cannot_be_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(StartError, match=fault):
        plan(**changes).config(KEY, production=False)


def test_plan_all_faults_are_named_at_once() -> None:
    with pytest.raises(StartError, match=r"--guardians.*--limit"):
        plan(guardians="", limit="no").config(KEY, production=False)


@pytest.mark.parametrize("role", ["signers", "guardians", "owner", "liquidity_providers"])
def test_plan_in_production_refuses_the_devnets_people(role: str) -> None:
    known = Account.from_key(devnet_bridge.ATTESTOR_KEYS[0]).address
    given = f"{ONE},{known}" if role == "signers" else known
    plan(**{role: given}).config(KEY, production=False)
    with pytest.raises(StartError, match=known):
        plan(**{role: given}).config(KEY, production=True)


def test_devnet_bridge_has_only_keys_that_production_refuses() -> None:
    for key in (*devnet_bridge.ATTESTOR_KEYS, devnet_bridge.GUARDIAN_KEY, DEVNET_KEY):
        assert is_devnet_account(Account.from_key(key).address)
    config = devnet_bridge.config(DEVNET_KEY)
    people = (config.owner, *config.signers, *config.guardians)
    assert len(set(people)) == 5
    assert (config.threshold, config.liquidity_providers) == (2, (config.owner,))


def test_vault_address_is_of_its_parameters_in_any_order_of_signers() -> None:
    def config(signers: tuple[bytes, ...], fee_bps: int = 1) -> VaultConfig:
        return VaultConfig(
            owner=SENDER,
            signers=signers,
            threshold=1,
            guardians=(),
            liquidity_providers=(),
            limit_wei=1,
            fee_bps=fee_bps,
            delay_s=60,
        )

    one, two = b"\1" * 20, b"\2" * 20
    place = config((one, two)).planned().address
    assert config((two, one)).planned().address == place
    assert config((one, two), fee_bps=2).planned().address != place
    assert len(text.address(place)) == 42
