"""Ends what a killed command leaves of its local Ray: `python watchdog.py TOKEN_FILE RAY_FOLDER`.

After kill -9 of the command Ray's agents stay for up to a minute (measured). Each process of
that Ray has our token's path in its environment and a log open in its folder; either names
exactly this system. Both are asked, since an agent that sets its title writes over its
environment, in some orders of it over the token's path. Imports the standard library only,
and no module of ours, so that it is small and starts at once.
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
    parent, (token_file, folder) = os.getppid(), sys.argv[1:]
    while os.getppid() == parent:
        time.sleep(POLL_S)
    for _ in range(ROUNDS):
        for pid in _left(token_file, folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def _left(token_file: str, folder: str) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if _has_token(process, token_file) or _has_open(process, folder):
                    found.append(int(process.name))
    return found


def _has_token(process: Path, token_file: str) -> bool:
    mark = f"RAY_AUTH_TOKEN_PATH={token_file}".encode()
    return mark in (process / "environ").read_bytes().split(b"\0")


def _has_open(process: Path, folder: str) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith(f"{folder}/session_"):
                return True
    return False


if __name__ == "__main__":
    main()
