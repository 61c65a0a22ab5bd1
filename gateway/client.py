"""A client of the stream door: typed, asynchronous, on one connection that mends itself.

    async with StreamClient("ws://127.0.0.1:3001/v1") as client:
        quote = await client.quote(QuoteOf(token, "buy", 10**15))
        async for event in await client.subscribe(f"token:{token}"):
            ...

A lost connection is made anew, with pauses that double up to five seconds. A request waits
for its answer over that, up to its timeout, and is asked again on the new connection: all are
safe to repeat. A subscription goes on from its last number; `gateway.client_topic` says how.
"""

import asyncio
import itertools
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import orjson
from picows import (
    WSError,
    WSFrame,
    WSInvalidStatusError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from gateway.client_topic import Subscription
from gateway.client_types import (
    Event,
    Quote,
    QuoteOf,
    StreamClosed,
    StreamError,
    StreamTimeout,
)

__all__ = [
    "Event",
    "Quote",
    "QuoteOf",
    "StreamClient",
    "StreamClosed",
    "StreamError",
    "StreamTimeout",
    "Subscription",
]

TIMEOUT_S = 5.0
PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 5.0
SILENCE_S = 10.0
# Trying again does not help: who asks is refused as he is.
_FINAL = frozenset({"unauthorized", "forbidden"})
_REFUSED = frozenset({400, 401, 403, 404})
ARRAY_MAX = 256
"""Quotes in one frame; the door takes twice as many."""


class _Lost(Exception):
    """The connection went before the answer came."""


class StreamClient:
    """One connection. `token` is an access token, `api_key` an API key; one of them or none."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url
        self._headers: dict[str, str] = {}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        if api_key is not None:
            self._headers["X-API-Key"] = api_key
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._topics: dict[str, Subscription] = {}
        self._transport: WSTransport | None = None
        self._up = asyncio.Event()
        self._refusal: StreamError | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.connects = 0

    async def __aenter__(self) -> Self:
        self._keep(asyncio.create_task(self._run()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection, what waits for answers, and the subscriptions."""
        self._end(None)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.disconnect()

    async def quote(self, wanted: QuoteOf, *, timeout_s: float | None = None) -> Quote:
        """What the trade would give. Raises StreamError with the door's code; StreamTimeout."""
        (answer,) = await self._ask("quote", [wanted.fields()], timeout_s=timeout_s)
        return Quote.of(_data(answer))

    async def quotes(
        self, wanted: Sequence[QuoteOf], *, timeout_s: float | None = None
    ) -> list[Quote | StreamError]:
        """Many at once, in order; what is refused stands as its error. Raises StreamTimeout."""
        fields = [one.fields() for one in wanted]
        parts = [fields[at : at + ARRAY_MAX] for at in range(0, len(fields), ARRAY_MAX)]
        pages = await asyncio.gather(
            *(self._ask("quote", part, timeout_s=timeout_s) for part in parts)
        )
        answers = [answer for page in pages for answer in page]
        return [Quote.of(one["data"]) if one["ok"] else _error_of(one) for one in answers]

    async def subscribe(self, topic: str, *, timeout_s: float | None = None) -> Subscription:
        """The events of `token:<address>`, `tokens`, `trades` or `user:<address>` (one's own).
        Begins with a `snapshot`. Raises StreamError, StreamTimeout.
        """
        made = Subscription(topic.lower(), self._again)
        before = self._topics.pop(made.topic, None)
        if before is not None:
            before.end()
        self._topics[made.topic] = made
        try:
            (answer,) = await self._ask("subscribe", [{"topic": made.topic}], timeout_s=timeout_s)
            _data(answer)
        except BaseException:
            self._topics.pop(made.topic, None)
            raise
        return made

    async def unsubscribe(self, subscription: Subscription) -> None:
        """No more of it."""
        self._topics.pop(subscription.topic, None)
        subscription.end()
        (answer,) = await self._ask("unsubscribe", [{"topic": subscription.topic}])
        _data(answer)

    async def ping(self) -> float:
        """Seconds there and back."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._ask("ping", [{}])
        return loop.time() - began

    # ------------------------------------------------------------------------- requests

    async def _ask(
        self, op: str, fields: Sequence[dict[str, Any]], *, timeout_s: float | None = None
    ) -> list[dict[str, Any]]:
        patience_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    try:
                        return await self._ask_once(op, fields)
                    except _Lost:
                        continue
        except TimeoutError as error:
            raise StreamTimeout(op, patience_s) from error

    async def _ask_once(self, op: str, fields: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        # It may be down again by the time that we are woken.
        while self._transport is None and not self._closed:
            await self._up.wait()
        if self._transport is None:
            raise self._refusal or StreamClosed("closed", "Expected an open client")
        loop = asyncio.get_running_loop()
        futures = {next(self._ids): loop.create_future() for _ in fields}
        messages = [
            {"v": 1, "op": op, "id": id} | one for id, one in zip(futures, fields, strict=True)
        ]
        self._asked |= futures
        try:
            sent = orjson.dumps(messages[0] if len(messages) == 1 else messages)
            self._transport.send(WSMsgType.TEXT, sent)
            return list(await asyncio.gather(*futures.values()))
        finally:
            for id in futures:
                del self._asked[id]

    # ----------------------------------------------------------------------- connection

    async def _run(self) -> None:
        pause_s = PAUSE_MIN_S
        while not self._closed:
            try:
                transport, _ = await ws_connect(
                    lambda: _Listener(self),
                    self._url,
                    extra_headers=self._headers,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=SILENCE_S,
                    auto_ping_reply_timeout=SILENCE_S,
                )
            except WSInvalidStatusError as error:
                if error.response is not None and error.response.status in _REFUSED:
                    status = error.response.status
                    self._end(StreamClosed("refused", f"Expected to be let in, was {status}"))
                    return
                await asyncio.sleep(PAUSE_MAX_S)
                continue
            except (OSError, WSError, TimeoutError):
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
                continue
            began = asyncio.get_running_loop().time()
            self._begin(transport)
            await _gone(transport)
            self._down()
            if asyncio.get_running_loop().time() - began > PAUSE_MAX_S:
                pause_s = PAUSE_MIN_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _begin(self, transport: WSTransport) -> None:
        self._transport = transport
        self.connects += 1
        self._up.set()
        # One that was never answered is still being asked for.
        for subscription in [one for one in self._topics.values() if one.begun]:
            subscription.pending = True
            self._again(subscription)

    def _down(self) -> None:
        self._transport = None
        if not self._closed:
            self._up.clear()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_Lost())

    def _end(self, error: StreamError | None) -> None:
        self._closed, self._refusal = True, error
        self._down()
        self._up.set()
        for subscription in self._topics.values():
            subscription.end(error)

    def _again(self, subscription: Subscription) -> None:
        self._keep(asyncio.create_task(self._subscribe_again(subscription)))

    async def _subscribe_again(self, subscription: Subscription) -> None:
        # One that was lost with its connection is begun by the next one.
        connects, pause_s = self.connects, PAUSE_MIN_S
        while connects == self.connects and not self._closed:
            try:
                (answer,) = await self._ask_once("subscribe", [subscription.place()])
            except (_Lost, StreamError):
                return
            if answer["ok"]:
                return
            error = _error_of(answer)
            if error.code in _FINAL:
                self._topics.pop(subscription.topic, None)
                subscription.end(error)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def hear(self, payload: bytes) -> None:
        """One frame of the door, for the listener."""
        found = orjson.loads(payload)
        for message in found if isinstance(found, list) else (found,):
            if message["op"] == "event":
                subscription = self._topics.get(message["topic"])
                if subscription is not None:
                    subscription.hear(message)
                continue
            if message["op"] == "subscribe" and message["ok"]:
                # At once: what is pushed next may stand in the same buffer.
                subscription = self._topics.get(message["data"]["topic"])
                if subscription is not None:
                    subscription.subscribed(message["data"])
            future = self._asked.get(message["id"])
            if future is not None and not future.done():
                future.set_result(message)
            elif message["op"] == "error" and message["error"]["code"] in _FINAL:
                self._end(_error_of(message))

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Listener(WSListener):
    def __init__(self, client: StreamClient) -> None:
        self._client = client

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self._client.hear(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


async def _gone(transport: WSTransport) -> None:
    try:
        await transport.wait_disconnected()
    except (OSError, WSError):
        return


def _error_of(answer: dict[str, Any]) -> StreamError:
    error = answer["error"]
    return StreamError(error["code"], error["message"], error.get("details"))


def _data(answer: dict[str, Any]) -> Any:
    if answer["ok"]:
        return answer["data"]
    raise _error_of(answer)
