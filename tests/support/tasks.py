"""Work beside a test, which ends with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(
    work: Iterable[Coroutine[Any, Any, None]],
) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Tasks inside, cancelled and gone afterwards; what they raised stays with them."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def passed(seconds: float, *, step_s: float = 0.01) -> None:
    """So long, and that many turns of the loop for the tasks beside: on a busy machine a sleep may
    end without any of them having had its turn.
    """
    for _ in range(max(round(seconds / step_s), 1)):
        await asyncio.sleep(step_s)
