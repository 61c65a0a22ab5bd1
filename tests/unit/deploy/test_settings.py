"""Settings: all faults at once, secrets unseen, production refusals, every variable listed."""

import re
import secrets
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from deploy import registry
from deploy.environment import SECRETS, Environment
from deploy.process import StartError
from deploy.settings import (
    SettingsError,
    chain_settings,
    compose,
    jwt_weakness,
    load_settings,
    rise_urls,
    secret_values,
    sepolia_urls,
)
from engine import text
from engine.settings import ActorSettings, GatewaySettings, Settings, VaultDeployment

ROOT = Path(__file__).parents[3]
LAUNCHPAD = "0x" + "11" * 20
ENTRY: dict[str, Any] = {
    "chainId": 11155931,
    "genesisHash": "0x" + "22" * 32,
    "launchpads": [{"address": LAUNCHPAD, "lens": "0x" + "33" * 20, "firstBlock": 7, "version": 1}],
    "weth": "0x" + "44" * 20,
    "factory": "0x" + "55" * 20,
    "router": "0x" + "66" * 20,
    "vault": None,
}
STRONG = "k9Xv2mQp7Lr4Zt8Wb3Nc6Hy1Jd5Gf0Sa"
PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://app:hunter22@db/risechain",
    "MONGODB_URL": "mongodb://mongo/?replicaSet=rs0",
    "REDIS_URL": "redis://cache:6379",
    "RISE_CHAIN_RPC": "https://testnet.riselabs.xyz",
    "JWT_SECRET": STRONG,
}


def composed(environment: Environment, folder: Path) -> Settings:
    entry = registry.parse(ENTRY)
    rise = chain_settings(environment, entry, rpc_url="http://n", ws_url="ws://n", local=True)
    return compose(
        environment,
        data_dir=folder,
        database_url="postgresql://x/y",
        mongodb_url="mongodb://x",
        redis_url="redis://x",
        rise=rise,
        sepolia=None,
    )


def test_load_settings_empty_environment_gives_defaults(tmp_path: Path) -> None:
    settings = composed(load_settings({"API_PORT": " ", "SHARDS": ""}), tmp_path)
    assert settings.gateway.api_port == 3000
    assert settings.actors.shards >= 2
    assert settings.rise.reorg_depth_max == 64
    assert settings.rise.first_block == 7


def test_chain_settings_know_the_vault_where_there_is_one(tmp_path: Path) -> None:
    assert composed(load_settings({}), tmp_path).rise.vault is None
    vault = {"address": "0x" + "77" * 20, "firstBlock": 9, "version": 1}
    entry = registry.parse(ENTRY | {"vault": vault})
    rise = chain_settings(load_settings({}), entry, rpc_url="http://n", ws_url="ws://n", local=True)
    assert rise.vault == VaultDeployment(address=b"\x77" * 20, first_block=9, version=1)


@pytest.mark.parametrize(
    ("vault", "fault"),
    [
        ("0x" + "77" * 20, "vault: address: is missing"),
        ({"address": "0x77", "firstBlock": 1, "version": 1}, "vault: address"),
        ({"address": "0x" + "77" * 20, "firstBlock": -1, "version": 1}, "vault: firstBlock"),
        ({"address": "0x" + "77" * 20, "firstBlock": 1, "version": 2}, "vault: version"),
    ],
)
def test_registry_wrong_vault_is_named(vault: Any, fault: str) -> None:
    with pytest.raises(StartError, match=fault):
        registry.parse(ENTRY | {"vault": vault})


def test_registry_from_before_the_bridge_is_read() -> None:
    older = {name: value for name, value in ENTRY.items() if name != "vault"}
    assert registry.parse(older).vault is None


def test_load_settings_all_faults_named_at_once_without_secrets() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(
            {
                "API_PORT": "99999",
                "APP_ENV": "staging",
                "DATABASE_URL": "mysql://root:hunter22@db",
                "PRIVATE_KEY": "hunter22",
                "INFURA_PROJECT_ID": "hunter22",
                "SEPOLIA_RPC": "https://sepolia.infura.io/v3/YOUR_KEY",
                "TOKEN_FACTORY_ADDRESS": "0x...",
                "CORS_ORIGINS": "https://a.example, nonsense",
                "RISE_BRIDGE_ADDRESS": "0x" + "11" * 20,
                "BRIDGE_CONTRACT_ADDRESS": "0x" + "22" * 20,
            }
        )
    message = str(raised.value)
    for name in (
        "API_PORT: expected to be less than or equal to 65535|API_PORT: expected less",
        "APP_ENV: expected 'development', 'test' or 'production', was 'staging'",
        "DATABASE_URL: expected a URL that begins with postgresql or postgres",
        "PRIVATE_KEY: expected 64 hex digits",
        "INFURA_PROJECT_ID: ",
        "SEPOLIA_RPC: expected a real value",
        "TOKEN_FACTORY_ADDRESS: expected 0x and 40 hex digits",
        "CORS_ORIGINS: expected an origin such as",
        "RISE_BRIDGE_ADDRESS: expected the same",
    ):
        assert re.search(name, message), (name, message)
    assert "hunter22" not in message


def test_load_settings_seed_example_names_what_is_no_value() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(
            {
                "DATABASE_URL": "postgresql://user:pass@localhost:5432/risechain",
                "REDIS_URL": "redis://localhost:6379",
                "RISE_CHAIN_RPC": "https://testnet.riselabs.xyz",
                "SEPOLIA_RPC": "https://sepolia.infura.io/v3/YOUR_KEY",
                "PRIVATE_KEY": "your_wallet_private_key",
                "TOKEN_FACTORY_ADDRESS": "0x...",
                "BRIDGE_CONTRACT_ADDRESS": "0x...",
                "JWT_SECRET": "your_jwt_secret",
                "API_PORT": "3000",
                "INFURA_PROJECT_ID": "your_infura_id",
            }
        )
    assert str(raised.value).count("\n") == 5


def test_load_settings_production_refuses_what_is_not_ours() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(
            {
                "APP_ENV": "production",
                "JWT_SECRET": "your_jwt_secret",
                "API_PORT": "x",
                "PRIVATE_KEY": "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
            }
        )
    message = str(raised.value)
    for name in ("DATABASE_URL", "MONGODB_URL", "REDIS_URL", "RISE_CHAIN_RPC"):
        assert f"{name}: expected a URL: embedded servers are refused" in message
    assert "JWT_SECRET: expected a strong secret in production, it has fewer" in message
    assert "PRIVATE_KEY: expected a key of your own" in message
    assert "API_PORT: " in message
    assert "ac0974be" not in message
    assert "your_jwt" not in message


def test_load_settings_production_complete_is_accepted() -> None:
    environment = load_settings(PRODUCTION | {"PRIVATE_KEY": "0x" + secrets.token_hex(32)})
    assert rise_urls(environment) == (
        "https://testnet.riselabs.xyz",
        "wss://testnet.riselabs.xyz/ws",
    )
    assert sepolia_urls(environment) == ("", "")


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "missing"),
        ("short", "fewer than 32"),
        ("a" * 64, "repeats"),
        ("abcdefghijklmnop" * 4, "repeats"),
        ("change-me-change-me-0123456789-abcdef", "common word"),
        ("My-Very-Secret-Value-0123456789-xyz", "common word"),
    ],
)
def test_jwt_weakness_weak_secret_is_named(secret: str, why: str) -> None:
    assert why in jwt_weakness(secret)


def test_jwt_weakness_random_secrets_pass() -> None:
    assert not any(jwt_weakness(secrets.token_hex(32)) for _ in range(200))


def test_load_settings_infura_project_makes_sepolia_urls() -> None:
    environment = load_settings({"INFURA_PROJECT_ID": "0123456789abcdef" * 2})
    rpc, ws = sepolia_urls(environment)
    assert rpc == "https://sepolia.infura.io/v3/" + "0123456789abcdef" * 2
    assert ws == "wss://sepolia.infura.io/ws/v3/" + "0123456789abcdef" * 2


def test_chain_settings_factory_address_disagrees_refused() -> None:
    entry = registry.parse(ENTRY)
    good = load_settings({"TOKEN_FACTORY_ADDRESS": text.address(bytes.fromhex(LAUNCHPAD[2:]))})
    assert chain_settings(good, entry, rpc_url="", ws_url="", local=False).reorg_depth_max == 1024
    bad = load_settings({"TOKEN_FACTORY_ADDRESS": "0x" + "99" * 20})
    with pytest.raises(SettingsError, match="TOKEN_FACTORY_ADDRESS: expected the deployments"):
        chain_settings(bad, entry, rpc_url="", ws_url="", local=False)


def test_environment_every_limit_is_a_variable_with_the_same_default(tmp_path: Path) -> None:
    settings = composed(load_settings({}), tmp_path)
    for kind, room in ((GatewaySettings, settings.gateway), (ActorSettings, settings.actors)):
        for field in fields(kind):
            if field.name in ("host", "jwt_secret", "shards"):
                continue
            assert field.name in Environment.model_fields
            assert getattr(room, field.name) == field.default, field.name


def test_compose_development_secret_is_made_once(tmp_path: Path) -> None:
    first, second = (composed(load_settings({}), tmp_path).gateway for _ in range(2))
    assert first.jwt_secret == second.jwt_secret
    assert not jwt_weakness(first.jwt_secret)
    assert (tmp_path / "jwt.secret").stat().st_mode & 0o777 == 0o600


def test_settings_text_shows_no_secret(tmp_path: Path) -> None:
    environment = load_settings(PRODUCTION | {"PRIVATE_KEY": "ab" * 32})
    shown = repr(environment) + str(environment) + repr(composed(environment, tmp_path))
    for secret in (STRONG, "hunter22", "ab" * 32):
        assert secret not in shown
    assert set(secret_values(environment)) == {STRONG, "hunter22", "ab" * 32}


def test_bucket_keys_are_for_those_who_use_it_and_are_never_shown(tmp_path: Path) -> None:
    given = {
        "MEDIA_S3_BUCKET": "images",
        "MEDIA_S3_KEY_ID": "AKIA-marked",
        "MEDIA_S3_SECRET_KEY": "marked-secret",
    }
    environment = load_settings(given)
    settings = composed(environment, tmp_path)
    assert settings.media.directory == str(tmp_path / "media")
    for role in ("gateway", "analytics", "supervisor"):
        assert settings.seen_by(role).media == settings.media
    for role in ("shard", "listener", "keeper"):
        assert settings.seen_by(role).media.secret_key == ""
    assert "marked" not in repr(environment) + repr(settings)
    assert set(secret_values(environment)) == {"AKIA-marked", "marked-secret"}
    with pytest.raises(SettingsError) as raised:
        load_settings(given | {"MEDIA_S3_SECRET_KEY": "", "MEDIA_S3_BUCKET": "No_Bucket"})
    assert "MEDIA_S3_SECRET_KEY: expected it with" in str(raised.value)
    assert "MEDIA_S3_BUCKET: " in str(raised.value) and "marked" not in str(raised.value)


def test_env_example_lists_every_variable_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    defaults = {name.upper(): one.default for name, one in Environment.model_fields.items()}
    assert set(listed) == set(defaults)
    for name, default in defaults.items():
        listing = isinstance(default, tuple)
        expected = ",".join(default) if listing else "" if default == b"" else str(default)
        assert listed[name].lower() == expected.lower(), name
    assert load_settings(listed) == load_settings({})
    assert set(Environment.model_fields) > SECRETS


def test_registry_round_trip_and_faults(tmp_path: Path) -> None:
    file = registry.path(tmp_path, 11155931)
    written = registry.write(file, ENTRY | {"curves": [1]})
    assert registry.read(file, chain_id=11155931) == written
    assert '"curves"' in file.read_text()
    broken = ENTRY | {"weth": "0x1", "launchpads": [{"address": LAUNCHPAD, "version": 9}]}
    with pytest.raises(StartError) as raised:
        registry.write(file, broken)
    for part in ("weth: ", "0.lens: is missing", "0.firstBlock: is missing", "0.version: "):
        assert part in str(raised.value)
    assert registry.read(file) == written
    with pytest.raises(StartError, match="chainId: expected 1, was 11155931"):
        registry.read(file, chain_id=1)
    with pytest.raises(StartError, match="no deployments file"):
        registry.read(tmp_path / "none.json")
    assert not [one for one in file.parent.iterdir() if one.name.startswith(".")]
