"""A listener as a role: who follows it, and how its batches reach them."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from actors.host import Role
from actors.listener import ChainListener
from actors.ports import Calls, Log
from engine.control import Directory, Drain, Feed, Follow, StatusWanted, Unfollow
from engine.messages import FeedBatch, FeedPosition

FEED_TIMEOUT_S = 10.0


def feeding(
    listener: ChainListener[Any],
    calls: Calls,
    log: Log,
    *,
    status: Callable[[], Mapping[str, Any]],
    close: Callable[[], Awaitable[None]],
) -> Role:
    """`status` is added to the listener's own; `close` ends its node's connections."""

    async def send(consumer: str, group: str, batch: FeedBatch) -> FeedPosition:
        answer = await calls.ask(consumer, Feed(group, batch), timeout_s=FEED_TIMEOUT_S)
        assert isinstance(answer, FeedPosition)
        return answer

    async def follow(message: Follow) -> None:
        listener.subscribe(
            f"{message.consumer}:{message.group}",
            partial(send, message.consumer, message.group),
            message.buckets,
            position=message.position,
            trail=message.trail,
        )

    async def drain(_message: Drain) -> None:
        await listener.stop()
        await close()

    async def unfollow(message: Unfollow) -> None:
        listener.unsubscribe(f"{message.consumer}:{message.group}")

    handlers: dict[type, Callable[[Any], Any]] = {
        Follow: follow,
        Unfollow: unfollow,
        Directory: lambda _: None,
        StatusWanted: lambda _: {**listener.status(), **status()},
        Drain: drain,
    }
    return Role(handlers=handlers, run=listener.run, log=log)
