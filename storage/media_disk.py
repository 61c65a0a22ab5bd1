"""Images in a folder: for one node, whose gateways share it. Names are of `gateway.images`.

A file is whole or not there: it is written beside its place, flushed and renamed. A name holds
64 hex digits and an extension, so no name leads out of the folder.
"""

import asyncio
import contextlib
import errno
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.errors import TransientError

NAME = re.compile(r"[0-9a-f]{64}(-[0-9]{1,4})?\.[a-z]{3,4}")
THREADS = 4
TIMEOUT_S = 5.0
COUNTED_S = 30.0
"""How long a count of the folder is good for; other gateways write into it as well."""

_TEMPORARY = ".new-"
_TEMPORARY_KEPT_S = 3_600
_FULL = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    changed: float


def check_name(name: str) -> str:
    """The name, if it is one. Raises ValueError."""
    if NAME.fullmatch(name) is None:
        raise ValueError(f"Expected a name of content, was {name!r}")
    return name


class DiskMedia:
    """All methods raise TransientError: store_unavailable, or storage_full when the disk is, or
    the folder holds `bytes_max` already. All are repeatable.
    """

    def __init__(self, folder: Path, *, bytes_max: int, timeout_s: float = TIMEOUT_S) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="media")
        self._total = 0
        self._counted_at = -COUNTED_S

    async def put(self, name: str, content: bytes) -> None:
        """Keeps a file. One that is there stays as it is, and is as young as a new one."""
        await self._run(lambda: self._put(self._place(name), content))

    async def get(self, name: str) -> bytes | None:
        """The file; None: there is none."""
        return await self._run(lambda: _read(self._place(name)))

    async def names(self, after: str, limit: int) -> Sequence[tuple[str, float]]:
        """(name, unix seconds when it was last put) of the next files by name."""
        return await self._run(lambda: self._names(after, limit))

    async def remove(self, name: str, *, before: float) -> bool:
        """Removes a file that was last put before this time; False: it stays, or is gone."""
        return await self._run(lambda: _remove(self._place(name), before))

    async def close(self) -> None:
        """Ends the threads; what they do is done."""
        self._threads.shutdown(wait=False)

    def _place(self, name: str) -> Path:
        return self._folder / check_name(name)[:2] / name

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(
                loop.run_in_executor(self._threads, work), self._timeout_s
            )
        except OSError as error:  # a timeout is one as well
            if error.errno in _FULL:
                raise TransientError("storage_full", "Expected room on the disk") from error
            raise TransientError(
                "store_unavailable", f"Expected the disk to answer, was {type(error).__name__}"
            ) from error

    def _put(self, place: Path, content: bytes) -> None:
        if place.exists():
            os.utime(place)
            return
        self._check_room(len(content))
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=_TEMPORARY)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as output:
                output.write(content)
                output.flush()
                os.fsync(output.fileno())
            temporary.replace(place)
            _flush(place.parent)
        finally:
            temporary.unlink(missing_ok=True)
        self._total += len(content)

    def _check_room(self, size: int) -> None:
        now = time.monotonic()
        if now - self._counted_at >= COUNTED_S:
            self._total = sum(file.size for file in self._files(""))
            self._counted_at = now
        if self._total + size > self._bytes_max:
            raise TransientError(
                "storage_full", f"Expected at most {self._bytes_max} bytes of images"
            )

    def _files(self, after: str) -> Iterator["_File"]:
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            if folder.name < after[:2]:
                continue
            with os.scandir(folder) as entries:
                named = sorted(entries, key=lambda entry: entry.name)
            for entry in named:
                with contextlib.suppress(FileNotFoundError):  # it was renamed, or removed
                    found = entry.stat()
                    yield _File(Path(entry.path), found.st_size, found.st_mtime)

    def _names(self, after: str, limit: int) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for file in self._files(after):
            name = file.path.name
            if name.startswith(_TEMPORARY):
                _forget_temporary(file)
            elif name > after and NAME.fullmatch(name):
                found.append((name, file.changed))
                if len(found) == limit:
                    break
        return found


def _read(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None


def _remove(place: Path, before: float) -> bool:
    try:
        if place.stat().st_mtime >= before:
            return False
        place.unlink()
    except FileNotFoundError:
        return False
    return True


def _forget_temporary(file: _File) -> None:
    # Of a process that died over it.
    if time.time() - file.changed > _TEMPORARY_KEPT_S:
        file.path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
