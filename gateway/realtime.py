"""Socket.IO on the API's port: `quote`, `subscribe`, `unsubscribe`, `authenticate`, each by
acknowledgement.

An acknowledgement is the REST envelope. A subscription registers first and takes the snapshot
then, so nothing falls between: what comes twice is recognised by `seq` and `asOf.version`.
Pushed messages are `{topic, seq, generation, data}` under the event's name; `gap` has no number
and asks to subscribe again, for the snapshot. With `since` and its `generation` a subscription
gives what was `missed`, as far as that is kept. A wallet's own topic needs its access token, in
the handshake's `auth` or by `authenticate`; when that ends the topic does.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import socketio
from aiohttp import web

from engine import text
from engine.control import Directory
from engine.errors import CallerError, TransientError
from engine.limits import (
    PAGE_LIMIT_DEFAULT,
    SOCKET_MESSAGE_BYTES_MAX,
    SOCKET_STUCK_S,
    SOCKET_TOPICS_MAX,
    SOCKETS_MAX,
)
from gateway import listing, quotes
from gateway.admission import Budget, refuse
from gateway.auth import Identity
from gateway.clients import check_caller, client_address
from gateway.context import Context
from gateway.errors import INTERNAL, failure, public, response_of, success
from gateway.fanout import LIST_TOPIC, USER_TOPIC, Fanout
from gateway.intake import Connects, Intake, too_fast
from gateway.kept import Fresh
from gateway.middleware import SOCKET_PATH
from gateway.models import (
    AuthenticateRequest,
    QuoteBody,
    SubscribeRequest,
    UnsubscribeRequest,
)
from gateway.ports import Ticks
from gateway.quick_quotes import DOOR, QuickQuotes
from gateway.socket_client import Client
from gateway.sockets import WAIT_S, TextPacket, encode_shown, evict, guard
from gateway.topics import Topics, check_own, topic_of

PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
SWEEP_S = 0.5
LOGINS_LOOKED_AT_S = 10.0

Call = Callable[[Client, Any], Awaitable[dict[str, Any]]]


class Realtime:
    """The server's side. `start` begins listening to ticks, `stop` ends every connection."""

    def __init__(
        self,
        context: Context,
        ticks: Ticks,
        origins: frozenset[str],
        *,
        saw: Callable[[bytes, tuple[int, int]], None] | None = None,
    ) -> None:
        self._context = context
        self._origins = origins
        self._clients: dict[str, Client] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._list = Fresh(partial(_first_page, context))
        self._server = socketio.AsyncServer(
            async_mode="aiohttp",
            serializer=TextPacket,
            cors_allowed_origins=self._allows,
            cors_credentials=False,
            max_http_buffer_size=SOCKET_MESSAGE_BYTES_MAX,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            logger=_quiet("socketio"),
            engineio_logger=_quiet("engineio"),
        )
        guard(self._server, self._intake)
        self._quotes = Budget("socket_quote", context.settings.socket_quotes_per_minute, 60)
        self._quick = QuickQuotes(context, self._quotes, self._refused)
        self._connects = Connects(context.settings, time.monotonic)
        self.fanout = Fanout(
            ticks=ticks, encode=encode_shown, metrics=context.metrics, log=context.log, saw=saw
        )
        self._topics = Topics(
            markets=context.markets,
            ticks=ticks,
            limiter=context.limiter,
            heard=self.fanout.last,
            see=self.fanout.see,
            timeout_s=context.settings.quote_timeout_s + 1.0,
            resumes_per_minute=context.settings.reads_per_minute,
        )
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._disconnected)
        for name, call in self._calls().items():
            self._server.on(name, self._handler(name, call))
        self._server.on("*", self._unknown)

    def _calls(self) -> dict[str, Call]:
        return {
            "quote": self._quote,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "authenticate": self._authenticate,
        }

    def install(self, app: web.Application) -> None:
        """The route of the handshake, the polls and the upgrade."""
        for method in ("GET", "POST", "OPTIONS"):
            app.router.add_route(method, SOCKET_PATH, self._handle)

    async def start(self) -> None:
        """Begin to listen and to sweep."""
        self._tasks = [
            asyncio.create_task(self.fanout.run()),
            asyncio.create_task(self._sweep()),
            asyncio.create_task(self._watch_logins()),
        ]

    def route(self, directory: Directory) -> None:
        """Who owns which bucket now."""
        self.fanout.owned((one.bucket, one.incarnation) for one in directory.owners)

    async def stop(self) -> None:
        """End the tasks and every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in list(self._server.eio.sockets.values()):
            with contextlib.suppress(Exception):
                await socket.close(wait=False, abort=False)
                socket.queue.put_nowait(None)
        await self._quick.stop()
        await self._server.shutdown()

    # ------------------------------------------------------------------ connections

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            if (request.content_length or 0) > SOCKET_MESSAGE_BYTES_MAX:
                raise CallerError("too_large", f"Expected {SOCKET_MESSAGE_BYTES_MAX} bytes at most")
            if "sid" not in request.query:
                await self._admit(request)
            response: web.StreamResponse = await self._server.handle_request(request)
            return response
        except Exception as error:
            if public(error) is None:
                self._context.log.warning("socket_failed", error=repr(error))
            return response_of(error)

    async def _admit(self, request: web.Request) -> None:
        check_caller(request)
        if len(self._server.eio.sockets) >= SOCKETS_MAX:
            raise TransientError("overloaded", "Expected fewer connections, try again")
        if request.method == "GET":
            self._let_in(client_address(request))
            budget = Budget("connect", self._context.settings.reads_per_minute, 60)
            allowance = await self._context.limiter.take(budget, client_address(request))
            if not allowance.allowed:
                raise refuse(allowance)

    def _intake(self, environ: dict[str, Any]) -> Intake:
        # Now: a poll's connection may be gone when the handshake comes with another.
        address = client_address(environ["aiohttp.request"])
        return Intake(self._context.settings, time.monotonic, address)

    def _let_in(self, who: str) -> None:
        refused = self._connects.take(who)
        if refused is not None:
            self._context.metrics.connects_refused.inc()
        if refused == "one":
            raise CallerError(
                "rate_limited", "Expected fewer connections a second", {"retryAfterSeconds": 1}
            )
        if refused == "all":
            raise TransientError("overloaded", "Expected fewer connections a second, try again")

    def _allows(self, origin: str | None, environ: dict[str, Any]) -> bool:
        # The page that we serve ourselves, under whatever name it was reached.
        own = f"{environ.get('wsgi.url_scheme')}://{environ.get('HTTP_HOST')}"
        return origin in self._origins or origin == own

    async def _connected(self, sid: str, environ: Any, auth: Any = None) -> None:
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            identity = await self._identity(token) if isinstance(token, str) else None
        except CallerError as error:
            raise socketio.exceptions.ConnectionRefusedError(
                failure(error.code, error.message)
            ) from error
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        socket = self._server.eio.sockets[eio_sid]
        client = self._clients[sid] = Client(sid, socket)
        client.identity = identity
        socket.take = partial(self._quick.take, client)
        self._context.metrics.sockets.set(len(self._clients))

    async def _disconnected(self, sid: str, reason: Any = None) -> None:
        client = self._clients.pop(sid, None)
        if client is not None:
            client.socket.take = None
            for topic in client.topics:
                self.fanout.leave(topic, client)
            # A poll that waits must end too; after the goodbye that may be put next.
            asyncio.get_running_loop().call_soon(client.socket.queue.put_nowait, None)
        self._context.metrics.sockets.set(len(self._clients))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._quick.look()
            for socket in list(self._server.eio.sockets.values()):
                why = _why_evicted(socket)
                if why:
                    self._context.metrics.evicted.inc()
                    self._context.log.info("socket_evicted", why=why, waiting=socket.queue.qsize())
                    with contextlib.suppress(Exception):
                        await evict(socket)
                    self._server.eio.sockets.pop(socket.sid, None)

    # ------------------------------------------------------------------------ calls

    def _handler(self, name: str, call: Call) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def handle(sid: str, *arguments: Any) -> dict[str, Any]:
            client = self._clients.get(sid)
            if client is None:
                return failure("invalid_request", "Expected a connected socket")
            try:
                return success(await self._bounded(client, call, arguments))
            except Exception as error:
                return self._refused(name, error)

        return handle

    async def _bounded(
        self, client: Client, call: Call, arguments: tuple[Any, ...]
    ) -> dict[str, Any]:
        wait_s = WAIT_S.get()
        if wait_s is not None:
            raise too_fast(wait_s)
        if len(arguments) != 1:
            raise CallerError("invalid_request", "Expected one object and an acknowledgement")
        client.begin()
        try:
            with self._context.in_flight.one():
                async with asyncio.timeout(self._context.settings.request_timeout_s):
                    return await call(client, arguments[0])
        finally:
            client.end()

    def _refused(self, name: str, error: Exception) -> dict[str, Any]:
        known = public(error)
        if known is None:
            self._context.log.error("socket_call_failed", call=name, exc_info=error)
            return failure(INTERNAL, "Something went wrong on our side")
        return failure(known.code, known.message, known.details)

    async def _unknown(self, event: str, sid: str, *arguments: Any) -> dict[str, Any]:
        known = ", ".join(self._calls())
        return failure("invalid_request", f"Expected one of {known}")

    async def _quote(self, client: Client, message: Any) -> dict[str, Any]:
        body = QuoteBody.model_validate(message)
        allowance = await self._context.limiter.take(self._quotes, client.who, leased=True)
        if not allowance.allowed:
            raise refuse(allowance)
        return await quotes.quote_data(self._context, body, DOOR)

    async def _subscribe(self, client: Client, message: Any) -> dict[str, Any]:
        asked = SubscribeRequest.model_validate(message)
        topic = topic_of(asked.topic)
        if topic not in client.topics and len(client.topics) >= SOCKET_TOPICS_MAX:
            raise CallerError("invalid_request", f"Expected at most {SOCKET_TOPICS_MAX} topics")
        check_own(topic, client.identity)
        known = topic in client.topics
        client.topics.add(topic)
        self.fanout.join(topic, client)
        try:
            place = await self._topics.place(
                topic, who=client.who, since=asked.since, generation=asked.generation
            )
            snapshot = await self._snapshot(topic)
        except BaseException:
            if not known:
                self._forget(client, topic)
            raise
        data: dict[str, Any] = {"topic": topic, "seq": place.seq, "generation": place.generation}
        data |= {"snapshot": snapshot}
        if place.missed is not None:
            names = ("event", "seq", "generation", "data")
            data["missed"] = [{name: one[name] for name in names} for one in place.missed]
        return data | ({"gap": True} if place.gap else {})

    async def _authenticate(self, client: Client, message: Any) -> dict[str, Any]:
        token = AuthenticateRequest.model_validate(message).token
        identity = await self._identity(token)
        if client.identity is not None and client.identity.address != identity.address:
            self._sign_out(client)
        client.identity = identity
        return {"address": text.address(identity.address), "role": identity.role}

    async def _identity(self, token: str) -> Identity:
        identity = self._context.tokens.read(token)
        await self._context.login.check(identity)
        self._context.blocking.check_wallet(identity.address)
        return identity

    def _sign_out(self, client: Client) -> None:
        client.identity = None
        for topic in [one for one in client.topics if one.startswith(USER_TOPIC)]:
            self._forget(client, topic)
            told = {"topic": topic, "seq": None, "generation": None}
            data = {"data": {"event": "signed_out"}}
            client.push(encode_shown("user", told | data))

    async def _watch_logins(self) -> None:
        # A session that has ended, or a token that has expired, ends what hangs on it.
        while True:
            await asyncio.sleep(LOGINS_LOOKED_AT_S)
            for client in [one for one in self._clients.values() if one.identity is not None]:
                identity = client.identity
                try:
                    expired = identity is None or self._context.clock() >= identity.expires_at
                    if not expired and identity is not None:
                        await self._context.login.check(identity)
                except CallerError:
                    expired = True
                if expired and client.identity is identity:
                    self._sign_out(client)

    async def _unsubscribe(self, client: Client, message: Any) -> dict[str, Any]:
        topic = topic_of(UnsubscribeRequest.model_validate(message).topic)
        self._forget(client, topic)
        seq, generation = await self._topics.last(topic)
        return {"topic": topic, "seq": seq, "generation": generation, "snapshot": None}

    def _forget(self, client: Client, topic: str) -> None:
        client.topics.discard(topic)
        self.fanout.leave(topic, client)

    async def _snapshot(self, topic: str) -> dict[str, Any] | None:
        return await (self._list.get() if topic == LIST_TOPIC else self._topics.snapshot(topic))


async def _first_page(context: Context) -> dict[str, Any]:
    # The newest tokens, as the first page of the list has them.
    page, limit = 1, PAGE_LIMIT_DEFAULT
    records, total = await context.reads.tokens(page=page, limit=limit)
    items = await listing.with_markets(context, records)
    return {"items": items, "page": page, "limit": limit, "total": total}


def _why_evicted(socket: Any) -> str:
    if socket.queue.overflowed:
        return "overflowed"
    if socket.queue.stuck_s > SOCKET_STUCK_S:
        return "stuck"
    return "floods" if getattr(socket, "intake", None) and socket.intake.is_spent else ""


def _quiet(name: str) -> logging.Logger:
    # What strangers send is not our log's business; our own failures are logged by `_refused`.
    logger = logging.getLogger(f"risecurve.{name}")
    logger.setLevel(logging.CRITICAL)
    return logger
