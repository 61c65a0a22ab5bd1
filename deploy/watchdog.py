"""Ends what a killed command leaves of its local Ray: `python watchdog.py PARENT MARK SESSIONS`.

After kill -9 of the command, which is process PARENT, Ray's agents stay for up to a minute
(measured). Each process of that Ray has the command's MARK (`name=value`) in its environment and a
log open in a session of it (SESSIONS, a regular expression); either names exactly this run, and not
the next one in the same folder, which may begin at once. Both are asked, since an agent that sets
its title writes over its environment, in some orders of it over the mark. Imports the standard
library only, and no module of ours, so that it is small and starts at once.
"""

import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

POLL_S = 0.5
ROUNDS = 6


def main() -> None:
    """Wait for the parent's death, then kill by pid whatever is of its run."""
    # Not asked for here: the parent may have died before this runs.
    parent, mark, sessions = sys.argv[1:]
    while os.getppid() == int(parent):
        time.sleep(POLL_S)
    for _ in range(ROUNDS):
        end(mark, sessions)
        time.sleep(POLL_S)


def end(mark: str, sessions: str) -> None:
    """Kill by pid whatever is of this run, but ourselves."""
    for pid in left(mark, sessions):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def left(mark: str, sessions: str) -> list[int]:
    """Pids of who has this in its environment, or a file open below such a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if _has_mark(process, mark) or _has_open(process, sessions):
                    found.append(int(process.name))
    return found


def _has_mark(process: Path, mark: str) -> bool:
    return mark.encode() in (process / "environ").read_bytes().split(b"\0")


def _has_open(process: Path, sessions: str) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if re.match(f"{sessions}/", str(descriptor.readlink())):
                return True
    return False


if __name__ == "__main__":
    main()
