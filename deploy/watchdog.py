"""Ends what a killed command leaves of its local Ray: `python watchdog.py TOKEN_FILE`.

After kill -9 of the command Ray's agents stay for up to a minute (measured); each process of
that Ray has our token's path in its environment, which names exactly this system. Imports
the standard library only, and no module of ours, so that it is small and starts at once.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

POLL_S = 0.5
ROUNDS = 6


def main() -> None:
    """Wait for the parent's death, then kill by pid whatever carries the token's path."""
    parent, mark = os.getppid(), f"RAY_AUTH_TOKEN_PATH={sys.argv[1]}".encode()
    while os.getppid() == parent:
        time.sleep(POLL_S)
    for _ in range(ROUNDS):
        for pid in _marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def _marked(mark: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


if __name__ == "__main__":
    main()
