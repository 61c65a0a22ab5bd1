"""MongoDB, from the settings."""

from typing import Any

from engine.settings import Settings
from storage import documents as documents_store


def mongo_of(settings: Settings) -> Any:
    """The database of people and points."""
    stores = settings.stores
    client = documents_store.connect(stores.mongodb_url, timeout_s=stores.timeout_s)
    return documents_store.database(client)
