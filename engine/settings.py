"""Frozen settings, one class a room. `deploy/settings.py` reads them from the environment.

Fields that hold a secret, or a URL that may, are kept out of `repr`.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One launchpad of the registry (`deployments/<chainId>.json`)."""

    address: bytes
    lens: bytes
    first_block: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """One chain: where its nodes are, what is deployed there, how it keeps time."""

    chain_id: int
    rpc_url: str = field(repr=False)
    ws_url: str = field(repr=False)
    genesis_hash: bytes
    launchpads: tuple[Deployment, ...]
    weth: bytes
    factory: bytes
    router: bytes
    block_time_s: float = 1.0
    finality_mode: str = "tag"
    finality_depth: int = 64
    reorg_depth_max: int = 1024
    head_age_max_s: float = 0.0
    """A head whose timestamp is older is no fresh one; 0: not looked at (a local chain)."""
    rpc_timeout_s: float = 2.0
    explorer_url: str = ""
    faucet_url: str = ""
    rpc_url_2: str = field(default="", repr=False)
    ws_url_2: str = field(default="", repr=False)

    @property
    def first_block(self) -> int:
        """Where following the chain begins."""
        return min(launchpad.first_block for launchpad in self.launchpads)

    @property
    def launchpad(self) -> Deployment:
        """The newest version, where launches go."""
        return max(self.launchpads, key=lambda launchpad: launchpad.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The three stores. `database_read_url` is a read replica, or the same."""

    database_url: str = field(repr=False)
    database_read_url: str = field(repr=False)
    mongodb_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorSettings:
    """How many of each, and how they watch each other."""

    shards: int = 2
    ray_address: str = ""
    ray_namespace: str = "risecurve"
    ping_interval_s: float = 1.0
    ping_timeout_s: float = 2.0
    drain_timeout_s: float = 10.0
    snapshot_every_blocks: int = 60
    audit_looks_per_s: float = 2.0
    reconcile_pause_s: float = 10.0
    analytics_interval_s: float = 30.0
    candle_minutes_days: int = 35
    candle_hours_days: int = 365
    kill_stopped: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The doors."""

    host: str = "127.0.0.1"
    api_port: int = 3000
    stream_port: int = 3001
    public_url: str = "http://localhost:3000"
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    blocked_networks: tuple[str, ...] = ()
    blocked_countries: tuple[str, ...] = ()
    country_header: str = "CF-IPCountry"
    blocked_wallets: tuple[bytes, ...] = ()
    jwt_secret: str = field(repr=False)
    jwt_secrets_old: tuple[str, ...] = field(default=(), repr=False)
    jwt_issuer: str = "risecurve"
    jwt_audience: str = "risecurve-api"
    access_token_s: int = 900
    session_s: int = 30 * 86_400
    refresh_grace_s: float = 10.0
    admin_addresses: tuple[bytes, ...] = ()
    nonce_s: int = 300
    writes_per_window: int = 100
    write_window_s: int = 900
    reads_per_minute: int = 600
    key_reads_per_minute: int = 6_000
    key_writes_per_minute: int = 600
    requests_in_flight_max: int = 2_000
    quote_timeout_s: float = 2.0
    request_timeout_s: float = 15.0
    eth_usd_feed_address: bytes = b""
    eth_usd_age_max_s: int = 3_600


KEY_HOLDERS = frozenset({"supervisor", "keeper"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """Who pays for the system's own transactions; empty: nobody."""

    private_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`console` for humans, `json` else; with `directory` also `error.log`, `combined.log`."""

    level: str = "info"
    format: str = "json"
    directory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a role may need; pickled to each actor at its start."""

    app_env: str
    data_dir: str
    rise: ChainSettings
    sepolia: ChainSettings | None
    stores: StoreSettings
    actors: ActorSettings
    gateway: GatewaySettings
    logs: LogSettings
    keeper: KeeperSettings = KeeperSettings()

    def seen_by(self, role: str) -> "Settings":
        """Without keys that are not this role's; the supervisor hands all of them on."""
        if role in KEY_HOLDERS:
            return self
        return replace(self, keeper=KeeperSettings())
