"""Where images are kept, from the settings."""

from pathlib import Path
from typing import Any

from engine.settings import Settings
from storage.media_disk import DiskMedia


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
