"""Which process: its number, and when it began, since numbers are used again."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process. `began` is in ticks since the machine's start, ENDED of one that was gone."""

    pid: int
    began: str

    def __str__(self) -> str:
        return f"{self.pid} {self.began}"

    @property
    def alive(self) -> bool:
        """Whether this very process runs; a zombie has ended."""
        return self.began != ENDED and _began(self.pid) == self.began

    def send(self, number: int) -> None:
        """Give it this signal; nothing happens to a later process of its number."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def of(pid: int) -> Identity:
    """Who has this number now."""
    return Identity(pid, _began(pid))


def parsed(text: str) -> Identity | None:
    """What `str` of one made; None of anything else, as of what a crash left, or of one that had
    ended already.
    """
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    return Identity(int(words[0]), words[1])


def children(*names: str) -> dict[str, Identity]:
    """This process's own children of these names, which the kernel cuts at 15 characters."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                before, _, after = (process / "stat").read_text().rpartition(")")
                name = before.partition("(")[2]
                if name in names and int(after.split()[1]) == os.getpid():
                    found[name] = of(int(process.name))
    return found


def _began(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ENDED
    return ENDED if fields[0] in "ZX" else fields[19]
