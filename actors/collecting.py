"""When a process looks for cyclic garbage: seldom, and not among what has been there for long.

Python's collector stops the process while it walks all objects that it knows: measured, 130 to
390 ms at a door, and it grows with the markets of a shard. So what is alive after a collection is
set aside (`gc.freeze`) and not walked again; reference counts still free it. What dies there in a
cycle waits for the next whole walk.
"""

import asyncio
import gc
import itertools

YOUNG_MAX = 10_000
"""New objects between two walks over the new ones (Python's own: 700)."""

SETTLED_AFTER_S = (5.0, 30.0)
"""Once a role has started it loads: markets, documents, connections."""

SETTLED_EVERY_S = 300.0
WHOLE_EVERY = 12
"""Of those, every so manieth walks everything, at a pause."""


def seldom() -> None:
    """Look for garbage among the new ones as often as an actor's process does."""
    gc.set_threshold(YOUNG_MAX, 10, 10)


def settle(*, whole: bool = False) -> int:
    """Sets aside what is alive; how many objects are. `whole` looks at those of before again."""
    if whole:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    return gc.get_freeze_count()


async def keep_settling() -> None:
    """For the life of the process."""
    seldom()
    settle()
    for seconds in SETTLED_AFTER_S:
        await asyncio.sleep(seconds)
        settle()
    for turn in itertools.count(1):
        await asyncio.sleep(SETTLED_EVERY_S)
        settle(whole=turn % WHOLE_EVERY == 0)
