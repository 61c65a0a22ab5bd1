"""Uploaded images: told by their first bytes, written anew by a process of their own, kept.

What is kept is never what was sent: only its pixels are. Its name is the SHA-256 of its bytes,
so that a name stands for one image for ever and the same upload twice is kept once. The small
size is made of the large one and has its name with `-256`.
"""

import asyncio
import hashlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from engine import limits
from engine.errors import CallerError, TransientError
from gateway.admission import InFlight
from gateway.metrics import Metrics
from gateway.ports import Log, Media

WORKER = Path(__file__).with_name("image_worker.py")
WORK_S = 10.0
"""Of the whole process on a busy machine."""
WORK_PROCESSOR_S = 8
WORK_MEMORY_BYTES = 768 * 1024 * 1024
"""The interpreter, the largest image at four bytes a pixel, and copies of it."""

EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
CONTENT_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image as it is kept, in both sizes; `width` and `height` in pixels of the large one."""

    extension: str
    large: bytes
    small: bytes
    width: int
    height: int

    @property
    def names(self) -> tuple[str, str]:
        """Under which it is kept: large, small."""
        digest = hashlib.sha256(self.large).hexdigest()
        small = f"-{limits.IMAGE_SMALL_SIDE}"
        return f"{digest}.{self.extension}", f"{digest}{small}.{self.extension}"


def format_of(raw: bytes) -> str:
    """PNG, JPEG, WEBP or GIF, by the first bytes. Raises CallerError("invalid_image")."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if raw.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return "WEBP"
    raise CallerError("invalid_image", "Expected a PNG, JPEG, WebP or GIF image")


class Images:
    """Takes images in. Few are worked on at once; the loop only waits."""

    def __init__(
        self,
        media: Media,
        *,
        metrics: Metrics,
        log: Log,
        command: Sequence[str] = (sys.executable, "-I", str(WORKER)),
    ) -> None:
        self._media = media
        self._metrics = metrics
        self._log = log
        self._command = tuple(command)
        self._threads = ThreadPoolExecutor(limits.IMAGE_WORKERS, thread_name_prefix="image")
        self._places = InFlight(limits.IMAGE_WAITING_MAX)
        self._places_of: Counter[bytes] = Counter()

    @contextmanager
    def place(self, wallet: bytes) -> Iterator[None]:
        """A place for one upload of `wallet`, from its first byte on. Raises
        TransientError("overloaded") when there is none.
        """
        if self._places_of[wallet] >= limits.IMAGE_WAITING_OF_ONE_MAX:
            raise TransientError("overloaded", "Expected fewer uploads of one wallet at once")
        with self._places.one():
            self._places_of[wallet] += 1
            try:
                yield
            finally:
                self._places_of[wallet] -= 1
                if not self._places_of[wallet]:
                    del self._places_of[wallet]

    async def keep(self, raw: bytes) -> Encoded:
        """Writes it anew and keeps both sizes. Repeatable. Raises CallerError("invalid_image"),
        TransientError: overloaded, store_unavailable, storage_full.
        """
        encoded = await self._encode(raw)
        large, small = encoded.names
        # The large one last: where it is, the small one is.
        await self._media.put(small, encoded.small)
        await self._media.put(large, encoded.large)
        return encoded

    def stop(self) -> None:
        """Takes nothing more; what is being worked on ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _encode(self, raw: bytes) -> Encoded:
        format, began = format_of(raw), time.perf_counter()
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(self._threads, self._work, format, raw)
        self._metrics.image_seconds.observe(time.perf_counter() - began)
        head, _, rest = done.stdout.partition(b"\n")
        if done.returncode != 0 or not head:
            # Ended by its bounds, or by a fault of a decoder: in either case by this image.
            self._log.warning("image_worker_ended", status=done.returncode, format=format)
            raise CallerError("invalid_image", "Expected an image that can be read within bounds")
        said = orjson.loads(head)
        if "refused" in said:
            raise CallerError("invalid_image", said["refused"])
        (large, small), (width, height) = said["sizes"], said["side"]
        if max(large, small) > limits.IMAGE_KEPT_BYTES_MAX or len(rest) != large + small:
            raise CallerError("invalid_image", "Expected an image that compresses")
        return Encoded(EXTENSIONS[said["format"]], rest[:large], rest[large:], width, height)

    def _work(self, format: str, raw: bytes) -> "subprocess.CompletedProcess[bytes]":
        numbers = (
            *(limits.IMAGE_PIXELS_MAX, limits.IMAGE_SIDE_MIN, limits.IMAGE_SIDE_MAX),
            *(limits.IMAGE_KEPT_SIDE, limits.IMAGE_SMALL_SIDE),
            *(WORK_MEMORY_BYTES, WORK_PROCESSOR_S),
        )
        try:
            return subprocess.run(  # noqa: S603 (our own file, numbers of ours)
                [*self._command, format, *map(str, numbers)],
                input=raw,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                timeout=WORK_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError("overloaded", "Expected the image to be done in time") from error
