"""Takes away what no token came of: documents that were never mined, images that none names.

A document is asked for before its launch is signed, so most of what is stored at first is hope.
1. Mined by now: it is kept for ever.
2. Not mined, and the recorder has passed the time it is kept for: it goes. The recorder's time
   counts, not the clock's, so that a launch which waits to be recorded loses nothing.
3. Asked for again meanwhile: it stays; the store looks once more as it removes it.
An image goes when it is older than its time and neither a document nor a profile names it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from actors.ports import Log
from actors.turns import Turns
from engine.control import Directory, Drain, StatusWanted

INTERVAL_S = 600.0
BATCH = 500


class Launched(Protocol):
    """`storage.launched`."""

    async def time(self) -> int | None: ...
    async def hashes(self, hashes: Sequence[bytes]) -> set[bytes]: ...


class Documents(Protocol):
    """`storage.documents`."""

    async def unmined(self, before: float, limit: int) -> list[bytes]: ...
    async def settle(
        self, mined: Sequence[bytes], gone: Sequence[bytes], *, before: float, now: float
    ) -> int: ...
    async def named_images(self, images: Sequence[str]) -> set[str]: ...


class Media(Protocol):
    """`storage.media_disk` or `storage.media_s3`."""

    async def names(self, after: str, limit: int) -> Sequence[tuple[str, float]]: ...
    async def remove(self, name: str, *, before: float) -> bool: ...


class Cleaner:
    """Plain class; `handlers` is its whole behaviour, `run` its work. Times are unix seconds."""

    def __init__(
        self,
        *,
        launched: Launched,
        documents: Documents,
        media: Media,
        document_kept_s: float,
        image_kept_s: float,
        log: Log,
        clock: Callable[[], float] = time.time,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._launched = launched
        self._documents = documents
        self._media = media
        self._document_kept_s = document_kept_s
        self._image_kept_s = image_kept_s
        self._clock = clock
        self._turns = Turns(
            self.turn, interval_s=interval_s, waits="cleaner_waits_for_a_store", log=log
        )
        self._status = {"documents_removed": 0, "images_removed": 0}
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: lambda _: None,
            StatusWanted: lambda _: dict(self._status),
            Drain: lambda _: self._turns.stop(),
        }

    async def run(self) -> None:
        """A turn each interval until cancelled or drained; what fails is done by the next."""
        await self._turns.run()

    async def turn(self) -> None:
        """Looks at everything that is old enough. Repeatable, also from several places at once."""
        recorded = await self._launched.time()
        if recorded is None:
            return
        now = min(float(recorded), self._clock())
        await self._clean_documents(now)
        await self._clean_images(now)

    async def _clean_documents(self, now: float) -> None:
        before = now - self._document_kept_s
        while hashes := await self._documents.unmined(before, BATCH):
            mined = await self._launched.hashes(hashes)
            gone = [hash for hash in hashes if hash not in mined]
            removed = await self._documents.settle(
                sorted(mined), gone, before=before, now=self._clock()
            )
            self._status["documents_removed"] += removed
            if len(hashes) < BATCH:
                return

    async def _clean_images(self, now: float) -> None:
        before, after = now - self._image_kept_s, ""
        while batch := await self._media.names(after, BATCH):
            after = batch[-1][0]
            old = [name for name, put_at in batch if put_at < before]
            named = await self._documents.named_images([_image_of(name) for name in old])
            for name in old:
                if _image_of(name) not in named and await self._media.remove(name, before=before):
                    self._status["images_removed"] += 1


def _image_of(name: str) -> str:
    return name[:64]
