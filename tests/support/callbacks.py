"""Answers by callback, of whoever answers a quote by a coroutine."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from engine.messages import QuoteReply, QuoteRequest, Refusal

_TASKS: set["asyncio.Task[None]"] = set()


class ByCallback:
    """`begin` as the markets of a door have it, over `quote`."""

    quote: Callable[[QuoteRequest], Coroutine[Any, Any, QuoteReply | Refusal]]

    def begin(self, request: QuoteRequest, done: Callable[[QuoteReply | Refusal], None]) -> None:
        async def tell() -> None:
            done(await self.quote(request))

        task = asyncio.create_task(tell())
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)
