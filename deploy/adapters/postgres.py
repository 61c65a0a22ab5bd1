"""Postgres, from the settings."""

from engine.settings import Settings
from storage import postgres


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
