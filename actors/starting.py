"""The start of a local Ray, twice if need be, and what a start that failed left.

Ray gives its node 30 s, which a busy machine may need for something else. What did not start
in time is still there, and no object of Ray's knows of it.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from actors.ports import Log
from engine.errors import TransientError


def twice(start: Callable[[], None], *, clean: Callable[[], None], log: Log) -> None:
    """`start`, and once more after `clean`. Raises TransientError with what the second said."""
    try:
        start()
    except Exception as error:  # Ray's own class for it is the bare one
        log.warning("ray_starts_again", error=str(error))
        clean()
    else:
        return
    try:
        start()
    except Exception as error:
        clean()
        text = f"Expected Ray to start: {error}".splitlines()[0]
        raise TransientError("shard_unavailable", text) from error
    log.info("ray_started_again")


def end_all_of(folder: Path) -> None:
    """kill -9 of every process whose command line names a session of Ray in `folder`."""
    mark = f"{folder}/session_".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
