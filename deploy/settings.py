"""Environment → checked, frozen settings. All faults are named at once, no secret is shown.

`load_settings` checks what stands in the environment (and in `.env`); `chain_settings` and
`compose` add what bringing the system up found: URLs of embedded servers, deployments.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings.sources.providers.dotenv import read_env_file

from deploy import bridge_endpoints, bridge_slots, datadir, devnet_bridge
from deploy.environment import SECRETS, Environment, is_private_key
from deploy.process import StartError
from deploy.registry import Entry
from engine import text
from engine.limits import MAX_REORG_DEPTH
from engine.settings import (
    ActorSettings,
    BridgeSettings,
    ChainSettings,
    GatewaySettings,
    KeeperSettings,
    LogSettings,
    MediaSettings,
    Settings,
    StoreSettings,
)

__all__ = [
    "Environment",
    "SettingsError",
    "chain_settings",
    "compose",
    "jwt_weakness",
    "load_settings",
    "rise_urls",
    "secret_values",
    "sepolia_urls",
    "websocket_url",
]

JWT_SECRET_BYTES_MIN = 32
JWT_SECRET_VARIETY_MIN = 10
SHARDS_MIN = 2
DEVNET_BLOCK_TIME_S = 1.0
DEVNET_REORG_DEPTH_MAX = 64
# One URL each, or the embedded server: never in production.
PRODUCTION_URLS = ("database_url", "mongodb_url", "redis_url", "rise_chain_rpc")

_EXAMPLE = re.compile(r"secret|change.?me|your_|example|password|default|risecurve", re.IGNORECASE)
# Known to everybody, the second of anvil's accounts; refused in production like the others.
DEVNET_RELAYER_KEY = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"
DEVNET_KEEPER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
# anvil's ten accounts ("test test … junk"): their keys are known to all.
_DEVNET_ACCOUNTS = frozenset(
    {
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
    }
)

Kind = TypeVar("Kind")


class SettingsError(StartError):
    """The settings as they stand cannot be used; the message names every fault."""


def load_settings(environ: Mapping[str, str] | None = None) -> Environment:
    """The checked environment: `environ`, or the process's own over the clone's `.env`.

    With APP_ENV=test no `.env` is read: tests must not meet a developer's databases.
    Raises SettingsError with every fault, by variable, and never a secret's value.
    """
    values = _own_environment() if environ is None else dict(environ)
    known = {
        name: values[name.upper()].strip()
        for name in Environment.model_fields
        if values.get(name.upper(), "").strip()
    }
    faults = _cross_faults(known)
    environment = Environment()
    try:
        environment = Environment.model_validate(known)
    except ValidationError as error:
        faults = [_sentence(one) for one in error.errors()] + faults
    if faults:
        raise SettingsError("The settings are wrong:\n" + "\n".join(f"  {one}" for one in faults))
    return environment


def sepolia_urls(environment: Environment) -> tuple[str, str]:
    """(RPC, WebSocket) of Sepolia, by Infura if only its project is given; empty if neither."""
    project = environment.infura_project_id
    if not environment.sepolia_rpc and project:
        rpc = f"https://sepolia.infura.io/v3/{project}"
        return rpc, environment.sepolia_ws or f"wss://sepolia.infura.io/ws/v3/{project}"
    return environment.sepolia_rpc, environment.sepolia_ws or websocket_url(environment.sepolia_rpc)


def rise_urls(environment: Environment) -> tuple[str, str]:
    """(RPC, WebSocket) of RISE; empty for the devnet."""
    rpc = environment.rise_chain_rpc
    return rpc, environment.rise_chain_ws or websocket_url(rpc)


def websocket_url(rpc_url: str) -> str:
    """Where a node with this HTTP URL has its WebSocket, when nobody said.

    The same place on a local node; RISE's own nodes have it at `/ws`.
    """
    if not rpc_url:
        return ""
    parts = urlsplit(rpc_url)
    host = parts.hostname or ""
    at_ws = host.endswith((".riselabs.xyz", ".risechain.com")) and parts.path in ("", "/")
    path = "/ws" if at_ws else parts.path
    return parts._replace(scheme=parts.scheme.replace("http", "ws", 1), path=path).geturl()


def chain_settings(
    environment: Environment, entry: Entry, *, rpc_url: str, ws_url: str, local: bool
) -> ChainSettings:
    """Settings of the chain that `entry` describes (RISE or Sepolia by its id), or our devnet's.

    Raises SettingsError: a chain that is neither, or TOKEN_FACTORY_ADDRESS is not the
    newest launchpad of the entry.
    """
    rise = entry.chain_id == environment.rise_chain_id
    if not rise and entry.chain_id != environment.sepolia_chain_id:
        raise SettingsError(
            f"Expected deployments of chain {environment.rise_chain_id} or"
            f" {environment.sepolia_chain_id}, was {entry.chain_id}."
        )
    second = environment.rise_chain_rpc_2 if rise else environment.sepolia_rpc_2
    newest = entry.launchpads[-1].address
    # Our own Sepolia mines as fast as our own RISE.
    sepolia_s = DEVNET_BLOCK_TIME_S if local else environment.sepolia_block_time_s
    if rise and environment.token_factory_address not in (b"", newest):
        raise SettingsError(
            f"TOKEN_FACTORY_ADDRESS: expected the deployments file's launchpad"
            f" {text.address(newest)}, was {text.address(environment.token_factory_address)}."
        )
    return ChainSettings(
        chain_id=entry.chain_id,
        rpc_url=rpc_url,
        ws_url=ws_url,
        genesis_hash=entry.genesis_hash,
        launchpads=entry.launchpads,
        weth=entry.weth,
        factory=entry.factory,
        router=entry.router,
        block_time_s=environment.rise_block_time_s if rise else sepolia_s,
        finality_mode=environment.finality_mode,
        finality_depth=environment.finality_depth,
        reorg_depth_max=environment.max_reorg_depth
        or (DEVNET_REORG_DEPTH_MAX if local else MAX_REORG_DEPTH),
        rpc_timeout_s=environment.rpc_timeout_s,
        explorer_url=environment.rise_explorer_url if rise else environment.sepolia_explorer_url,
        faucet_url=environment.rise_faucet_url if rise else "",
        rpc_url_2=second,
        ws_url_2=websocket_url(second),
        vault=entry.vault,
    )


def compose(
    environment: Environment,
    *,
    data_dir: Path,
    database_url: str,
    mongodb_url: str,
    redis_url: str,
    rise: ChainSettings,
    sepolia: ChainSettings | None,
    local: bool = False,
) -> Settings:
    """Everything a role may need. Without a JWT_SECRET (not in production) one is made and
    kept in the data folder, so that logins outlive a restart. On our own `local` chain one of
    its known accounts pays for the keeper where no PRIVATE_KEY is given.
    """
    secret = environment.jwt_secret or datadir.secret(data_dir, "jwt.secret")
    cores = os.cpu_count() or 1
    settings = Settings(
        app_env=environment.app_env,
        data_dir=str(data_dir),
        rise=rise,
        sepolia=sepolia,
        stores=StoreSettings(
            database_url=database_url,
            database_read_url=environment.database_read_url or database_url,
            mongodb_url=mongodb_url,
            redis_url=redis_url,
            timeout_s=environment.store_timeout_s,
        ),
        actors=_room(
            ActorSettings, environment, shards=environment.shards or max(SHARDS_MIN, cores)
        ),
        gateway=_room(
            GatewaySettings,
            environment,
            host=environment.api_host,
            public_url=_public_url(environment),
            jwt_secret=secret,
        ),
        keeper=KeeperSettings(
            private_key=environment.private_key or (DEVNET_KEEPER_KEY if local else "")
        ),
        media=MediaSettings(
            directory=str(data_dir / "media"),
            directory_bytes_max=environment.media_directory_bytes_max,
            bucket=environment.media_s3_bucket,
            endpoint=environment.media_s3_endpoint,
            region=environment.media_s3_region,
            key_id=environment.media_s3_key_id,
            secret_key=environment.media_s3_secret_key,
            document_kept_s=environment.document_kept_s,
            image_kept_s=environment.image_kept_s,
        ),
        bridge=_bridge(environment, local=local),
        logs=LogSettings(
            level=environment.log_level,
            format=environment.log_format,
            directory=environment.log_dir,
        ),
    )
    _must_have_endpoints(settings)
    return settings


def _must_have_endpoints(settings: Settings) -> None:
    if bridge_slots.refusal(settings):
        return
    fault = bridge_endpoints.fault(settings)
    if not fault and settings.app_env == "production":
        fault = bridge_endpoints.alone(settings)
    if fault:
        raise SettingsError(f"The bridge's endpoints are wrong:\n  {fault}")


def _bridge(environment: Environment, *, local: bool) -> BridgeSettings:
    # Keys that everybody knows, on our own local chains only.
    known = local and not environment.attestor_keystores
    return BridgeSettings(
        runs=environment.bridge,
        attestor_keys=devnet_bridge.ATTESTOR_KEYS if known else (),
        attestor_keystores=environment.attestor_keystores,
        attestor_passphrase_file=environment.attestor_passphrase_file,
        relayer_key=environment.relayer_key
        or (DEVNET_RELAYER_KEY if local else environment.private_key),
        guardian_key=environment.guardian_key or (devnet_bridge.GUARDIAN_KEY if local else ""),
        attestor_rise_rpcs=environment.attestor_rise_rpcs,
        attestor_sepolia_rpcs=environment.attestor_sepolia_rpcs,
        checker_rise_rpcs=environment.checker_rise_rpcs,
        checker_sepolia_rpcs=environment.checker_sepolia_rpcs,
        attest_quorum=environment.bridge_attest_quorum,
        fee_cap_gwei=environment.bridge_fee_cap_gwei,
        finality_patience_s=environment.bridge_finality_patience_s,
        retry_s_max=environment.bridge_retry_s_max,
        minimum_wei=environment.bridge_minimum_wei,
    )


def _public_url(environment: Environment) -> str:
    if "public_url" in environment.model_fields_set:
        return environment.public_url
    return f"http://localhost:{environment.api_port}"


def secret_values(environment: Environment) -> list[str]:
    """What logs must never show, for `logs.hide`."""
    keys = ("private_key", "relayer_key", "guardian_key", "jwt_secret")
    names = (*keys, "media_s3_key_id", "media_s3_secret_key")
    named = [getattr(environment, name) for name in names]
    named += environment.jwt_secrets_old
    texts = [getattr(environment, name) for name in SECRETS - {"jwt_secrets_old"}]
    passwords = [urlsplit(one).password for one in _flat(texts)]
    return [one for one in [*named, *passwords, environment.infura_project_id] if one]


def _flat(values: Iterable[Any]) -> Iterator[str]:
    for one in values:
        if isinstance(one, str):
            yield one
        else:
            yield from _flat(one)


def _room(kind: type[Kind], environment: Environment, **special: Any) -> Kind:
    # Fields and variables have the same names, so a new limit needs no third place.
    names = [one.name for one in fields(kind) if one.name not in special]  # type: ignore[arg-type]
    return kind(**{name: getattr(environment, name) for name in names} | special)


def _own_environment() -> dict[str, str]:
    file = datadir.clone_root() / ".env"
    if os.environ.get("APP_ENV") == "test" or not file.is_file():
        return dict(os.environ)
    written = read_env_file(file, case_sensitive=True)
    return {name: value or "" for name, value in written.items()} | dict(os.environ)


def _sentence(error: Any) -> str:
    name = str(error["loc"][0])
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    shown = error["type"] == "value_error" or name in SECRETS
    was = "" if shown else f", was {error['input']!r}"
    return f"{name.upper()}: {message[:1].lower()}{message[1:]}{was}"


def _cross_faults(values: Mapping[str, str]) -> list[str]:
    faults = []
    bridges = {
        values.get(name, "").lower() for name in ("bridge_contract_address", "rise_bridge_address")
    }
    if len(bridges - {""}) > 1:
        faults.append("RISE_BRIDGE_ADDRESS: expected the same as BRIDGE_CONTRACT_ADDRESS")
    if bool(values.get("media_s3_key_id")) != bool(values.get("media_s3_secret_key")):
        faults.append("MEDIA_S3_SECRET_KEY: expected it with MEDIA_S3_KEY_ID, or neither")
    if values.get("app_env") == "production":
        faults += _production_faults(values)
    return faults + _bridge_faults(values)


def _bridge_faults(values: Mapping[str, str]) -> list[str]:
    if values.get("attestor_keystores") and not values.get("attestor_passphrase_file"):
        return ["ATTESTOR_PASSPHRASE_FILE: expected the file that opens ATTESTOR_KEYSTORES"]
    return []


def _production_faults(values: Mapping[str, str]) -> Sequence[str]:
    faults = [
        f"{name.upper()}: expected a URL: embedded servers are refused in production"
        for name in PRODUCTION_URLS
        if name not in values
    ]
    weakness = jwt_weakness(values.get("jwt_secret", ""))
    old = [one.strip() for one in values.get("jwt_secrets_old", "").split(",") if one.strip()]
    weakness = weakness or next(filter(None, map(jwt_weakness, old)), "")
    if weakness:
        faults.append(f"JWT_SECRET: expected a strong secret in production, it {weakness}")
    for name in ("private_key", "relayer_key", "guardian_key"):
        if _is_devnet_key(values.get(name, "")):
            text_ = "expected a key of your own, it is one of anvil's known keys"
            faults.append(f"{name.upper()}: {text_}")
    return faults


def jwt_weakness(secret: str) -> str:
    """Why this secret is too weak to sign with, or empty."""
    if not secret:
        return "is missing"
    if len(secret.encode()) < JWT_SECRET_BYTES_MIN:
        return f"has fewer than {JWT_SECRET_BYTES_MIN} bytes"
    if len(set(secret)) < JWT_SECRET_VARIETY_MIN or secret in (secret + secret)[1:-1]:
        return "repeats a few characters"
    return "is an example or holds a common word" if _EXAMPLE.search(secret) else ""


def _is_devnet_key(key: str) -> bool:
    if not is_private_key(key):
        return False
    from eth_account import Account  # noqa: PLC0415 (half a second, needed here only)

    return is_devnet_account(str(Account.from_key(key).address))


def is_devnet_account(address: str) -> bool:
    """Whether everybody knows this account's key. `address` in EIP-55."""
    return address in _DEVNET_ACCOUNTS
