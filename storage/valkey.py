"""Redis or Valkey: the client, its errors, and scripts. Redis 6.2 commands and Lua only.

One server (or one with replicas), not a Redis cluster: scripts build keys from arguments.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer

from engine.errors import TransientError
from storage import queries

NAMESPACE = "risecurve"
WHOLE_S_MAX = 1.0

_PASSING = (
    exceptions.ConnectionError,  # also loading, and no free connection in time
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,  # a replica, after a failover
    exceptions.OutOfMemoryError,
    OSError,
    TimeoutError,
)


class _Connection(Connection):
    # hiredis writes the commands, as in redis-py's own blocking client; its asyncio one does it in
    # Python, which took a twelfth of a shard's time in calls of hundreds of ticks.
    _serializer = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        packed: list[bytes] = self._serializer.pack(*args)
        return packed


def connect(url: str, *, size: int = 32, timeout_s: float = 5.0) -> "Redis":
    """A client of up to `size` connections. Nothing is sent until the first call.

    Calls are not repeated: a publication that may have happened must not happen twice.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        connection_class=_Connection,  # over TLS the URL's own stands
        max_connections=size,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


def unavailable(error: BaseException) -> bool:
    """Whether the store is to blame and the same call may succeed later."""
    return isinstance(error, _PASSING)


@contextmanager
def cancellable() -> Iterator[None]:
    """A cancellation that comes inside it is not lost: the client swallows some, or says instead
    that the connection failed (redis 8.1 on Python 3.11, about one in fifty while it connects);
    a task that was told to end would go on.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except Exception as error:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


async def whole(work: Awaitable[Any]) -> Any:
    """What `work` returns; where this is cancelled it goes on to its end for a second, since the
    client neither closes nor gives back a connection that it is cancelled in making.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=WHOLE_S_MAX)
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()  # seen: nobody waits for it any more
        raise


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Turns trouble with the server inside it into TransientError (store_unavailable)."""
    try:
        with cancellable():
            yield
    except _PASSING as error:
        raise TransientError(
            "store_unavailable", f"Expected Redis to answer, was {type(error).__name__}"
        ) from error


async def ping(client: "Redis") -> None:
    """Returns when Redis answers. Raises TransientError (store_unavailable)."""
    async with guarded():
        await client.time()


class Script:
    """A Lua script of `storage/lua`, sent by its hash; `shared` is put before it. Raises
    TransientError.
    """

    def __init__(self, client: "Redis", name: str, *, shared: str = "") -> None:
        before = queries.lua(shared) if shared else ""
        self._script = client.register_script(before + queries.lua(name))

    async def run(self, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        """What the script returns."""
        async with guarded():
            return await self._script(keys=keys, args=arguments)
