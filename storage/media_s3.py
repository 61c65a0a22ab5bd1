"""Images in a bucket of S3 or of what speaks like it, for any number of nodes.

boto3 blocks, so its calls run on threads of their own, each ended by its timeouts. Keys are
handed in and are in no message; how much a bucket may hold is the bucket's own setting.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from engine.errors import TransientError
from storage.media_disk import NAME, check_name

THREADS = 8
PREFIX = "media/"
ATTEMPTS = 2
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_FULL = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}

T = TypeVar("T")


class S3Media:
    """All methods raise TransientError: store_unavailable, or storage_full when the bucket says
    that it is. All are repeatable.
    """

    def __init__(
        self,
        *,
        bucket: str,
        region: str,
        key_id: str,
        secret_key: str,
        endpoint: str = "",
        timeout_s: float = 5.0,
    ) -> None:
        self._bucket = bucket
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        # Without keys the node's own role is asked (instance, container), as boto3 does.
        self._client: Any = boto3.client(
            "s3",
            region_name=region,
            endpoint_url=endpoint or None,
            aws_access_key_id=key_id or None,
            aws_secret_access_key=secret_key or None,
            config=Config(
                connect_timeout=timeout_s / 2,
                read_timeout=timeout_s / 2,
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                max_pool_connections=THREADS,
                s3={"addressing_style": "path" if endpoint else "auto"},
                # Older servers that speak S3 do not know the newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    async def put(self, name: str, content: bytes) -> None:
        """Keeps a file; one that is there is put again, the same, and is young."""
        await self._call(
            lambda: self._client.put_object(
                Bucket=self._bucket,
                Key=PREFIX + check_name(name),
                Body=content,
                ContentType=_TYPES.get(name.rpartition(".")[2], "application/octet-stream"),
                CacheControl="public, max-age=31536000, immutable",
            )
        )

    async def get(self, name: str) -> bytes | None:
        """The file; None: there is none."""

        def read() -> bytes:
            found = self._client.get_object(Bucket=self._bucket, Key=PREFIX + check_name(name))
            return bytes(found["Body"].read())

        return await self._call(read)

    async def names(self, after: str, limit: int) -> Sequence[tuple[str, float]]:
        """(name, unix seconds when it was last put) of the next files by name."""
        while True:
            place = {"Bucket": self._bucket, "Prefix": PREFIX, "StartAfter": PREFIX + after}
            found = await self._call(partial(self._client.list_objects_v2, **place, MaxKeys=limit))
            rows = [] if found is None else found.get("Contents", [])
            named = [(one["Key"].removeprefix(PREFIX), one["LastModified"]) for one in rows]
            # What others have put there is not ours to remove.
            ours = [(name, at.timestamp()) for name, at in named if NAME.fullmatch(name)]
            if ours or not named:
                return ours
            after = named[-1][0]

    async def remove(self, name: str, *, before: float) -> bool:
        """Removes a file that was last put before this time; False: it stays, or is gone."""
        place = {"Bucket": self._bucket, "Key": PREFIX + check_name(name)}
        found = await self._call(lambda: self._client.head_object(**place))
        if found is None or found["LastModified"].timestamp() >= before:
            return False
        await self._call(lambda: self._client.delete_object(**place))
        return True

    async def close(self) -> None:
        """Ends the threads and the connections."""
        self._threads.shutdown(wait=False)
        self._client.close()

    async def _call(self, work: Callable[[], T]) -> T | None:
        loop = asyncio.get_running_loop()
        try:
            waiting = loop.run_in_executor(self._threads, work)
            return await asyncio.wait_for(waiting, self._timeout_s * ATTEMPTS)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT:
                return None
            if code in _FULL:
                raise TransientError("storage_full", "Expected room in the bucket") from error
            # From here on without the error: it may name the key that was refused.
            raise _away(f"refused ({code[:40]})") from None
        except (BotoCoreError, OSError) as error:  # a timeout is an OSError as well
            raise _away(type(error).__name__) from None


def _away(how: str) -> TransientError:
    return TransientError("store_unavailable", f"Expected the bucket to answer, was {how}")
