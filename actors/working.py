"""Whether a process of this machine that does not answer is at work, or stands still."""

import os
import time
from collections.abc import Callable
from pathlib import Path

SHARE_MIN = 0.05
"""Of one processor. Ray's own threads take a hundredth of one in a process that does nothing."""


class Working:
    """Remembers how much processor time each had used, and when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: dict[int, tuple[float, float]] = {}

    def is_busy(self, pid: int) -> bool:
        """One of its threads waits for a processor or has it, or they have used one since this
        was asked last. The first time only the former is known.
        """
        states, used_s = _threads(pid), _used_s(pid)
        now = self._clock()
        then, before_s = self._used.get(pid, (now, used_s))
        self._used[pid] = now, used_s
        if not states & {"R", "S", "D"}:
            return False  # stopped, or gone
        return "R" in states or used_s - before_s > SHARE_MIN * (now - then)

    def forget(self, pid: int) -> None:
        """It has ended."""
        self._used.pop(pid, None)


def _threads(pid: int) -> set[str]:
    # The states of its threads.
    return {
        fields[0] for file in Path(f"/proc/{pid}/task").glob("*/stat") if (fields := _stat(file))
    }


def _used_s(pid: int) -> float:
    # Seconds of a processor, threads that have ended included.
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _stat(file: Path) -> list[str]:
    # What comes after the name, which stands in brackets and may hold anything.
    try:
        return file.read_text().rpartition(")")[2].split()
    except OSError:
        return []
