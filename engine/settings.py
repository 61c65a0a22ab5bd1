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
class VaultDeployment:
    """The chain's end of the bridge, where there is one."""

    address: bytes
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
    vault: VaultDeployment | None = None
    follow_from: int | None = None
    """Where following begins, if not at the first launchpad."""

    @property
    def first_block(self) -> int:
        """Where following the chain begins."""
        if self.follow_from is not None:
            return self.follow_from
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
    gateways: int = 1
    stream_gateways: int = 1
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


NEARBY = (
    *("127.0.0.0/8", "::1/128"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
)
"""This machine and private networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The doors."""

    host: str = "127.0.0.1"
    api_port: int = 3000
    stream_port: int = 3001
    public_url: str = "http://localhost:3000"
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    metrics_allowed: tuple[str, ...] = NEARBY
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
    user_reads_per_minute: int = 1_200
    user_writes_per_window: int = 300
    key_reads_per_minute: int = 6_000
    key_writes_per_minute: int = 600
    uploads_per_hour: int = 20
    upload_timeout_s: float = 30.0
    socket_quotes_per_minute: int = 60_000
    socket_messages_per_s: int = 1_000
    socket_bytes_per_s: int = 512 * 1024
    connects_per_s: int = 50
    connects_per_s_all: int = 1_000
    stream_ops_per_s: int = 1_000
    stream_key_ops_per_s: int = 20_000
    stream_bytes_per_s: int = 1_000_000
    stream_connections_per_address: int = 256
    requests_in_flight_max: int = 2_000
    quote_timeout_s: float = 2.0
    quote_path: str = "replica"
    request_timeout_s: float = 15.0
    eth_usd_feed_address: bytes = b""
    eth_usd_age_max_s: int = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """The bridge's roles. `attestor_keys` are the devnet's own, known to everybody; elsewhere
    `attestor_keystores` name encrypted files. An attestor sees its own entry only."""

    runs: bool = True
    attestor_keys: tuple[str, ...] = field(default=(), repr=False)
    attestor_keystores: tuple[str, ...] = ()
    attestor_passphrase_file: str = field(default="", repr=False)
    relayer_key: str = field(default="", repr=False)
    guardian_key: str = field(default="", repr=False)
    attestor_rise_rpcs: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """Of each attestor, in the order of the keys, its own endpoints; none: the chain's."""
    attestor_sepolia_rpcs: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    checker_rise_rpcs: tuple[str, ...] = field(default=(), repr=False)
    checker_sepolia_rpcs: tuple[str, ...] = field(default=(), repr=False)
    attest_quorum: int = 0
    """Endpoints that must agree before an attestor signs; 0: two where it has two, else one."""
    fee_cap_gwei: int = 500
    """The most a gas may cost; above it the last offer stands."""
    patience_blocks: float = 3.0
    """An offer that no block took for so long is raised."""
    finality_patience_s: float = 3_600.0
    """Without the finalized tag moving for so long nothing is sent."""
    retry_s_min: float = 1.0
    retry_s_max: float = 120.0
    look_again_s: float = 30.0
    """What waits is looked at this often even where nothing was heard of it."""
    idle_s: float = 0.2
    minimum_wei: int = 10**15
    """The doors take no less, nor less than the vaults do: a release costs gas that the fee is to
    be worth. What is deposited below it all the same is paid too, after what is not."""
    breaker_failures_max: int = 5
    breaker_window_s: float = 30.0
    breaker_cool_down_s_max: float = 30.0

    @property
    def attestors(self) -> int:
        """How many."""
        return len(self.attestor_keystores) or len(self.attestor_keys)

    def seen_by(self, role: str, slot: str) -> "BridgeSettings":
        """Without keys, and names of their files, that are not this role's."""
        number = int(slot.rpartition("-")[2]) if role == "attestor" else -1
        one = slice(number, number + 1) if number >= 0 else slice(0)
        checks = role == "bridge_checker"
        return replace(
            self,
            attestor_keys=self.attestor_keys[one],
            attestor_keystores=self.attestor_keystores[one],
            attestor_passphrase_file=self.attestor_passphrase_file if number >= 0 else "",
            relayer_key=self.relayer_key if role == "relayer" else "",
            guardian_key=self.guardian_key if checks else "",
            attestor_rise_rpcs=self.attestor_rise_rpcs[one],
            attestor_sepolia_rpcs=self.attestor_sepolia_rpcs[one],
            checker_rise_rpcs=self.checker_rise_rpcs if checks else (),
            checker_sepolia_rpcs=self.checker_sepolia_rpcs if checks else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """Who pays for the system's own transactions; empty: nobody."""

    private_key: str = field(default="", repr=False)


MEDIA_KEEPERS = frozenset({"supervisor", "gateway", "analytics"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """Where images are kept: in `bucket` of S3 or of `endpoint`; without one in `directory`,
    `directory_bytes_max` at most. What no launched token names is kept for so long.
    """

    directory: str = ""
    directory_bytes_max: int = 2 * 1024**3
    bucket: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    key_id: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    document_kept_s: int = 86_400
    image_kept_s: int = 7 * 86_400


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
    media: MediaSettings = MediaSettings()
    bridge: BridgeSettings = BridgeSettings()

    def seen_by(self, role: str, slot: str = "") -> "Settings":
        """Without keys that are not this role's; the supervisor hands all of them on. An
        attestor's slot says which one is its own.
        """
        if role == "supervisor":
            return self
        keeper = self.keeper if role == "keeper" else KeeperSettings()
        media = self.media if role in MEDIA_KEEPERS else MediaSettings()
        return replace(self, keeper=keeper, media=media, bridge=self.bridge.seen_by(role, slot))
