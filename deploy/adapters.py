"""The adapters that roles are built from, made from the settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.host import Context
from chain.failover import Endpoint, FailoverRpc
from deploy import logs
from engine.settings import ChainSettings, Settings
from storage import documents as documents_store
from storage import postgres, valkey
from storage.media_disk import DiskMedia
from storage.states import States
from storage.ticks import Ticks


def log_of(context: Context) -> Any:
    """The logger of a role; it hides what it must."""
    media = context.settings.media
    for secret in (context.settings.gateway.jwt_secret, media.key_id, media.secret_key):
        logs.hide(secret)
    logs.configure(context.settings.logs)
    return logs.get(context.role).bind(slot=context.slot)


async def pool_of(settings: Settings, *, size: int) -> "postgres.Pool":
    """Connections to Postgres."""
    stores = settings.stores
    return await postgres.connect(stores.database_url, size=size, timeout_s=stores.timeout_s)


async def replica_of(settings: Settings) -> "postgres.Pool":
    """Connections to the read replica: the doors open without it, the primary answers then."""
    stores = settings.stores
    return await postgres.connect(
        stores.database_read_url, size=6, timeout_s=stores.timeout_s, lazy=True
    )


def mongo_of(settings: Settings) -> Any:
    """The database of people and points."""
    stores = settings.stores
    client = documents_store.connect(stores.mongodb_url, timeout_s=stores.timeout_s)
    return documents_store.database(client)


def media_of(settings: Settings) -> Any:
    """Where images are kept."""
    media = settings.media
    if not media.bucket:
        return DiskMedia(
            Path(media.directory),
            bytes_max=media.directory_bytes_max,
            timeout_s=settings.stores.timeout_s,
        )
    from storage.media_s3 import S3Media  # noqa: PLC0415 (30 MB that only a bucket needs)

    return S3Media(
        bucket=media.bucket,
        endpoint=media.endpoint,
        region=media.region,
        key_id=media.key_id,
        secret_key=media.secret_key,
        timeout_s=settings.stores.timeout_s,
    )


def nodes_of(settings: Settings, log: Any) -> FailoverRpc:
    """RISE's nodes."""
    return nodes_of_chain(settings.rise, log)


def nodes_of_chain(chain: ChainSettings, log: Any) -> FailoverRpc:
    """A chain's nodes."""
    endpoints = [Endpoint(chain.rpc_url, chain.ws_url)]
    if chain.rpc_url_2:
        endpoints.append(Endpoint(chain.rpc_url_2, chain.ws_url_2))
    return nodes_at(endpoints, chain, log)


def nodes_at(endpoints: Sequence[Endpoint], chain: ChainSettings, log: Any) -> FailoverRpc:
    """Some of a chain's nodes, the preferred first."""
    return FailoverRpc(endpoints, timeout_s=chain.rpc_timeout_s, on_switch=log.warning)


def ticks_of(settings: Settings) -> Ticks:
    """Ticks of this chain, as it began."""
    return Ticks(redis_of(settings), namespace=namespace_of(settings))


def states_of(settings: Settings) -> States:
    """What read replicas are told, on connections of its own: beats wait behind nothing."""
    return States(redis_of(settings), namespace=namespace_of(settings))


def namespace_of(settings: Settings) -> str:
    """What this system's keys in Redis begin with."""
    # Another chain, or the same one begun anew, shares no fence, stream or row with this one.
    rise = settings.rise
    return f"{valkey.NAMESPACE}:{rise.chain_id}:{rise.genesis_hash.hex()[:8]}"


def redis_of(settings: Settings) -> Any:
    """Redis."""
    return valkey.connect(settings.stores.redis_url, timeout_s=settings.stores.timeout_s)
