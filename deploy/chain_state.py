"""The state of a local chain: the file that anvil writes in place each second, and a whole copy.

A kill -9 of anvil amid a write leaves the beginning of a file, and the chain would be lost.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from deploy.files import write_atomic
from deploy.process import StartError

COPY_S = 2.0
COST_SHARE_MAX = 0.02
"""Of the time goes to copying: a long chain, of which each second makes more, is copied seldom."""


def file(folder: Path) -> Path:
    """Where anvil keeps its state."""
    return folder / "state.json"


def copy(folder: Path) -> Path:
    """The last of its states that was seen whole."""
    return folder / "state.whole.json"


def prepare(folder: Path, say: Callable[[str], None]) -> Path:
    """The state to start from, if there is one: the copy where anvil's own is damaged.

    Raises StartError when both are.
    """
    state, whole = file(folder), copy(folder)
    if not state.exists():
        return state
    if _is_json(state):
        write_atomic(whole, state.read_bytes())
    elif whole.exists() and _is_json(whole):
        age_s = max(0.0, state.stat().st_mtime - whole.stat().st_mtime)
        say(f"{state} is damaged (killed while writing); its copy, {age_s:.0f} s older, is taken")
        write_atomic(state, whole.read_bytes())
    else:
        raise StartError(
            f"The chain's state {state} is damaged (killed while writing);"
            " run `risecurve devnet --reset` to start afresh."
        )
    return state


async def keep_copies(folders: Sequence[Path]) -> None:
    """Copy what anvil writes there, until cancelled. A full disk is no reason to end."""
    while True:
        began = time.monotonic()
        for folder in folders:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(take_copy, folder)
        took_s = time.monotonic() - began
        await asyncio.sleep(max(COPY_S, took_s / COST_SHARE_MAX))


def take_copy(folder: Path) -> bool:
    """Copy the state if it is whole now, which it is but for the moments of a write."""
    state = file(folder)
    before = state.stat()
    content = state.read_bytes()
    after = state.stat()
    written = (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)
    if written or len(content) != after.st_size or not _is_closed(content):
        return False
    write_atomic(copy(folder), content)
    return True


def _is_closed(content: bytes) -> bool:
    # Whether all of an object is there, of which we may have the beginning alone: its last brace
    # is the one that closes the first. To parse it would take five times its size in memory.
    return content.startswith(b"{") and content.count(b"{") == content.count(b"}")


def _is_json(path: Path) -> bool:
    try:
        orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return False
    return True
