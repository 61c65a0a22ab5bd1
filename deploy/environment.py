"""The environment's variables, their types, bounds and defaults. `.env.example` lists them.

A field's name in capitals is the variable. An empty variable is as good as none.
"""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from engine.errors import CallerError
from engine.limits import GATEWAYS_MAX, MAX_REORG_DEPTH, SHARDS_MAX
from engine.settings import NEARBY
from gateway.addresses import parse_address

ENDPOINTS_MAX = 8
"""Of one role on one chain: every attestation asks all of them."""

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

SECRETS = frozenset(
    {
        "database_url",
        "database_read_url",
        "mongodb_url",
        "redis_url",
        "rise_chain_rpc",
        "rise_chain_rpc_2",
        "rise_chain_ws",
        "sepolia_rpc",
        "sepolia_rpc_2",
        "sepolia_ws",
        "attestor_rise_rpcs",
        "attestor_sepolia_rpcs",
        "checker_rise_rpcs",
        "checker_sepolia_rpcs",
        "private_key",
        "relayer_key",
        "guardian_key",
        "jwt_secret",
        "jwt_secrets_old",
        "infura_project_id",
        "media_s3_key_id",
        "media_s3_secret_key",
    }
)
"""Variables whose values no message may show: secrets, and URLs that may carry one."""


def is_private_key(value: str) -> bool:
    """Whether this is a key of secp256k1: 64 hex digits, with or without 0x."""
    digits = re.fullmatch(r"(0x)?([0-9a-fA-F]{64})", value)
    return digits is not None and 0 < int(digits[2], 16) < SECP256K1_ORDER


def _list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(one.strip() for one in value.split(",") if one.strip())


def _lists(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(_list(one) for one in value.split(";")) if value else ()


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.netloc:
            raise ValueError(f"expected a URL that begins with {' or '.join(schemes)}")
        if "YOUR_" in value:
            raise ValueError("expected a real value in the place of the example's YOUR_…")
        return value

    return AfterValidator(lambda value: check(value) if value else value)


def _address(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_address(value) if value else b""
    except CallerError as error:
        raise ValueError(error.message) from error


def _private_key(value: str) -> str:
    if value and not is_private_key(value):
        raise ValueError("expected 64 hex digits of a secp256k1 key, with or without 0x")
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise ValueError(f"expected an origin such as https://app.example, was {value!r}")
    return f"{parts.scheme}://{parts.netloc}"


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(f"expected an IP address or network, was {value!r}") from error


Key = Annotated[str, AfterValidator(_private_key)]
Postgres = Annotated[str, _url("postgresql", "postgres")]
Mongo = Annotated[str, _url("mongodb", "mongodb+srv")]
Redis = Annotated[str, _url("redis", "rediss")]
Rpc = Annotated[str, _url("http", "https")]
Rpcs = Annotated[tuple[Rpc, ...], BeforeValidator(_list), Field(max_length=ENDPOINTS_MAX)]
RpcLists = Annotated[
    tuple[Annotated[tuple[Rpc, ...], Field(max_length=ENDPOINTS_MAX)], ...], BeforeValidator(_lists)
]
WebSocket = Annotated[str, _url("ws", "wss")]
Web = Annotated[str, _url("http", "https")]
Address = Annotated[bytes, BeforeValidator(_address)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
WholeSeconds = Annotated[int, Field(ge=1, le=366 * 86_400)]
Days = Annotated[int, Field(ge=31, le=36_500)]  # charts reach back 30 days
Names = BeforeValidator(_list)
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], Names]
Countries = Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")], ...], Names]
Addresses = Annotated[tuple[Address, ...], Names]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Names]


class Environment(BaseModel):
    """Checked values of the environment, frozen; secrets stay out of `repr`.

    An empty store or RISE URL means an embedded server; 0 shards one per core, at least two;
    0 as MAX_REORG_DEPTH 1,024, on the devnet 64. `deploy/settings.py` composes the program's
    settings from this and from what was started.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    app_env: Literal["development", "test", "production"] = "development"
    data_dir: str = ""

    database_url: Postgres = Field("", repr=False)
    database_read_url: Postgres = Field("", repr=False)
    mongodb_url: Mongo = Field("", repr=False)
    redis_url: Redis = Field("", repr=False)
    store_timeout_s: Seconds = 5.0

    rise_chain_id: Count = 11155931
    rise_chain_rpc: Rpc = Field("", repr=False)
    rise_chain_rpc_2: Rpc = Field("", repr=False)
    rise_chain_ws: WebSocket = Field("", repr=False)
    rise_block_time_s: Seconds = 1.0
    rise_explorer_url: Web = "https://explorer.testnet.riselabs.xyz"
    rise_faucet_url: Web = "https://faucet.testnet.riselabs.xyz"
    sepolia_chain_id: Count = 11155111
    sepolia_rpc: Rpc = Field("", repr=False)
    sepolia_rpc_2: Rpc = Field("", repr=False)
    sepolia_ws: WebSocket = Field("", repr=False)
    sepolia_block_time_s: Seconds = 12.0
    sepolia_explorer_url: Web = "https://sepolia.etherscan.io"
    infura_project_id: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = Field("", repr=False)
    finality_mode: Literal["tag", "depth"] = "tag"
    finality_depth: Count = 64
    max_reorg_depth: Annotated[int, Field(ge=0, le=MAX_REORG_DEPTH)] = 0
    rpc_timeout_s: Seconds = 2.0
    private_key: Key = Field("", repr=False)
    bridge: bool = True
    relayer_key: Key = Field("", repr=False)
    guardian_key: Key = Field("", repr=False)
    attestor_keystores: Annotated[tuple[str, ...], Names] = ()
    attestor_passphrase_file: str = ""
    attestor_rise_rpcs: RpcLists = Field((), repr=False)
    attestor_sepolia_rpcs: RpcLists = Field((), repr=False)
    checker_rise_rpcs: Rpcs = Field((), repr=False)
    checker_sepolia_rpcs: Rpcs = Field((), repr=False)
    bridge_attest_quorum: Annotated[int, Field(ge=0, le=ENDPOINTS_MAX)] = 0
    bridge_fee_cap_gwei: Count = 500
    bridge_finality_patience_s: Seconds = 3_600.0
    bridge_minimum_wei: Annotated[int, Field(ge=1, le=10**24)] = 10**15
    bridge_retry_s_max: Seconds = 120.0

    deployments_file: str = ""
    token_factory_address: Address = b""
    bridge_contract_address: Address = b""
    rise_bridge_address: Address = b""
    sepolia_bridge_address: Address = b""

    api_host: str = "127.0.0.1"
    api_port: Port = 3000
    stream_port: Port = 3001
    stream_gateways: Annotated[int, Field(ge=0, le=256)] = 1
    public_url: Annotated[str, AfterValidator(_origin)] = "http://localhost:3000"
    cors_origins: Origins = ()
    trusted_proxies: Networks = ()
    metrics_allowed: Networks = NEARBY
    blocked_networks: Networks = ()
    blocked_countries: Countries = ()
    country_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,60}$")] = "CF-IPCountry"
    blocked_wallets: Addresses = ()
    jwt_secret: str = Field("", repr=False)
    jwt_secrets_old: Annotated[tuple[str, ...], Names] = Field((), repr=False)
    jwt_issuer: str = "risecurve"
    jwt_audience: str = "risecurve-api"
    access_token_s: WholeSeconds = 900
    session_s: WholeSeconds = 30 * 86_400
    refresh_grace_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    admin_addresses: Addresses = ()
    nonce_s: WholeSeconds = 300
    writes_per_window: Count = 100
    write_window_s: WholeSeconds = 900
    reads_per_minute: Count = 600
    user_reads_per_minute: Count = 1_200
    user_writes_per_window: Count = 300
    key_reads_per_minute: Count = 6_000
    key_writes_per_minute: Count = 600
    uploads_per_hour: Count = 20
    upload_timeout_s: Seconds = 30.0
    socket_quotes_per_minute: Count = 60_000
    socket_messages_per_s: Count = 1_000
    socket_bytes_per_s: Count = 512 * 1024
    connects_per_s: Count = 50
    connects_per_s_all: Count = 1_000
    stream_ops_per_s: Count = 1_000
    stream_key_ops_per_s: Count = 20_000
    stream_bytes_per_s: Count = 1_000_000
    stream_connections_per_address: Count = 256
    requests_in_flight_max: Count = 2_000
    quote_timeout_s: Seconds = 2.0
    quote_path: Literal["actor", "replica"] = "replica"
    request_timeout_s: Seconds = 15.0
    eth_usd_feed_address: Address = b""
    eth_usd_age_max_s: WholeSeconds = 3_600

    media_directory_bytes_max: Annotated[int, Field(ge=1, le=2**50)] = 2 * 1024**3
    media_s3_bucket: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")] = ""
    media_s3_endpoint: Web = ""
    media_s3_region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "us-east-1"
    media_s3_key_id: str = Field("", repr=False)
    media_s3_secret_key: str = Field("", repr=False)
    document_kept_s: Annotated[int, Field(ge=3_600, le=366 * 86_400)] = 86_400
    image_kept_s: Annotated[int, Field(ge=3_600, le=366 * 86_400)] = 7 * 86_400

    shards: Annotated[int, Field(ge=0, le=SHARDS_MAX)] = 0
    gateways: Annotated[int, Field(ge=1, le=GATEWAYS_MAX)] = 1
    ray_address: str = ""
    ray_namespace: str = "risecurve"
    ping_interval_s: Seconds = 1.0
    ping_timeout_s: Seconds = 2.0
    drain_timeout_s: Seconds = 10.0
    snapshot_every_blocks: Count = 60
    audit_looks_per_s: Annotated[float, Field(gt=0, le=100)] = 2.0
    reconcile_pause_s: Seconds = 10.0
    analytics_interval_s: Seconds = 30.0
    candle_minutes_days: Days = 35
    candle_hours_days: Days = 365
    kill_stopped: bool = True

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "json"
    log_dir: str = ""
