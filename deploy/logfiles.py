"""A log file that many processes append to and that stays bounded.

Every role is a process of its own and all write to one `combined.log`. A line is one
`write` to a descriptor opened for appending, so lines never mix. Whoever finds the file too
large moves it aside under a lock; the others see another inode and open the new one.
"""

import fcntl
import logging
import os
from pathlib import Path

BYTES_MAX = 10_000_000
KEEP = 5


class SharedRotatingFile(logging.Handler):
    """Appends to `path`; at `bytes_max` it becomes `path.1`, up to `path.<keep>`."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX, keep: int = KEEP) -> None:
        super().__init__()
        self._path = path
        self._bytes_max = bytes_max
        self._keep = keep
        self._descriptor = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. A full disk or a lost folder never reaches the caller."""
        try:
            line = (self.format(record) + "\n").encode(errors="replace")
            self._follow()
            os.write(self._descriptor, line)
        except (OSError, ValueError, TypeError):
            self.handleError(record)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _follow(self) -> None:
        mine = os.fstat(self._descriptor)
        if mine.st_nlink and mine.st_size < self._bytes_max and self._is_current(mine):
            return
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._path.exists() and self._path.stat().st_size >= self._bytes_max:
                self._shift()
        os.close(self._descriptor)
        self._descriptor = self._open()

    def _is_current(self, mine: os.stat_result) -> bool:
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return False
        return (mine.st_ino, mine.st_dev) == (current.st_ino, current.st_dev)

    def _shift(self) -> None:
        for index in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{index}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{index + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
