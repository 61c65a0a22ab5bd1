"""The stream door: plain WebSocket with JSON for programs, one process of several on a port.

`stream_protocol` says what is sent, `stream_connection` what one connection does. Here: the
port, who is let in, subscriptions, logins, slow readers, the end. The processes share nothing
but the port (SO_REUSEPORT) and Redis.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from picows import (
    WSCloseCode,
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from engine import limits, text
from engine.control import Directory
from engine.errors import CallerError, ConsistencyError, RiseCurveError, TransientError
from engine.settings import GatewaySettings
from gateway import stream_protocol as protocol
from gateway import stream_upgrade as upgrade
from gateway.admission import Budget, refuse
from gateway.auth import Identity
from gateway.errors import INTERNAL
from gateway.fanout import USER_TOPIC, Fanout
from gateway.stream_connection import Connection, Slow
from gateway.stream_events import exact, push_of
from gateway.stream_parts import StreamParts
from gateway.topics import Topics, check_own, topic_of
from gateway.turns import Turns

PING_AFTER_S = 20
SWEEP_S = 1.0
LOGINS_LOOKED_AT_S = 10.0
DRAIN_S = 2.0
GOODBYE_S = 1.0
LOOK_S = 0.02
READ = "read"


class StreamGateway:
    """`start` returns with the port bound; `stop` lets what is under way finish, then ends."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        parts: StreamParts,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.markets = parts.markets
        self.clock = clock
        self.draining = False
        self.parts = parts
        self._wall = wall
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._served = self._evicted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.turns = Turns()
        self.fanout = Fanout(
            ticks=parts.ticks,
            encode=push_of,
            metrics=parts.metrics,
            log=parts.log,
            saw=parts.replicas.saw if parts.replicas else None,
        )
        self._topics = Topics(
            markets=parts.markets,
            ticks=parts.ticks,
            limiter=parts.limiter,
            heard=self.fanout.last,
            see=self.fanout.see,
            timeout_s=settings.quote_timeout_s,
            resumes_per_minute=settings.reads_per_minute,
        )

    @property
    def port(self) -> int:
        """The bound port; 0 before the start."""
        return self._port

    async def start(self) -> None:
        """Bind, then serve. Raises RiseCurveError("port_in_use") with one sentence."""
        listening = upgrade.listening_socket(self.settings.host, self.settings.stream_port)
        self._port = int(listening.getsockname()[1])
        self._server = await ws_create_server(
            self._accept,
            sock=listening,
            logger_name=_quiet(),
            max_frame_size=limits.STREAM_FRAME_BYTES_CUT,
            enable_auto_ping=True,
            auto_ping_idle_timeout=PING_AFTER_S,
            auto_ping_reply_timeout=PING_AFTER_S,
        )
        for work in (self.fanout.run(), self._sweep(), self._watch_logins()):
            self._keep(asyncio.create_task(work))
        self.parts.log.info("stream_started", host=self.settings.host, port=self._port)

    def route(self, directory: Directory) -> None:
        """Who owns which bucket now; the markets were told before."""
        self.fanout.owned((one.bucket, one.incarnation) for one in directory.owners)

    def status(self) -> dict[str, Any]:
        """Counters, flat: connections, slow readers, quotes by outcome."""
        quotes = {f"quotes_{code}": count for code, count in self._counts.items()}
        slow = sum(one.paused_at is not None for one in self._connections)
        return {
            "port": self._port,
            "connections": len(self._connections),
            "served": self._served,
            "subscriptions": sum(len(one.topics) for one in self._connections),
            "slow": slow,
            "evicted": self._evicted,
            **quotes,
        }

    async def stop(self) -> None:
        """Refuse what is new, wait for quotes under way up to two seconds, say goodbye."""
        if self._server is None:
            return
        self.draining = True
        self._server.close()
        await _until(self._is_idle, DRAIN_S)
        for one in list(self._connections):
            one.close(WSCloseCode.GOING_AWAY, "draining")
        await _until(lambda: not self._connections, GOODBYE_S)
        for one in list(self._connections):
            one.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None
        self.parts.log.info("stream_stopped", port=self._port)

    def _is_idle(self) -> bool:
        return not self.turns and not any(one.in_flight for one in self._connections)

    def time_ms(self) -> int:
        """Wall time, milliseconds."""
        return int(self._wall() * 1000)

    def count(self, outcome: str, count: int) -> None:
        """Quotes were answered with `ok` or a code."""
        self._counts[outcome] += count

    # -------------------------------------------------------------------------- admission

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        if upgrade.path_of(request) == upgrade.HEALTH:
            answer: WSUpgradeResponse = WSUpgradeResponse.create_ok_response(b"ok")
            return WSUpgradeResponseWithListener(answer, None)
        try:
            upgrade.check(
                request,
                origins=self.parts.origins,
                connections=len(self._connections),
                draining=self.draining,
            )
        except RiseCurveError as error:
            return WSUpgradeResponseWithListener(upgrade.response_of(error), None)
        return Connection(self, request)

    def connected(self, connection: Connection, peer: str | None) -> None:
        """The upgrade was answered: who is it?"""
        clients, headers = self.parts.clients, connection.request.headers
        connection.address = clients.of(peer, headers.getall("X-Forwarded-For", []))
        self._connections.add(connection)
        self._served += 1
        self._addresses[connection.address] += 1
        behind_proxy = clients.trusts(peer)
        try:
            if self._addresses[connection.address] > self.settings.stream_connections_per_address:
                raise TransientError("overloaded", "Expected fewer connections of one address")
            self.parts.blocking.check_caller(
                connection.request, connection.address, behind_proxy=behind_proxy
            )
        except RiseCurveError as error:
            connection.refuse(error)
            return
        self._keep(asyncio.create_task(self._admit(connection)))

    def disconnected(self, connection: Connection) -> None:
        """It is gone; nothing of it stays."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]
        for topic in connection.topics:
            self.fanout.leave(topic, connection)

    async def _admit(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                budget = Budget("connect", self.settings.reads_per_minute, 60)
                allowance = await self.parts.limiter.take(budget, connection.address)
                if not allowance.allowed:
                    raise refuse(allowance)
                given = upgrade.credentials_of(connection.request)
                if given.token or given.api_key:
                    await self._identify(connection, given.token, given.api_key)
        except RiseCurveError as error:
            connection.refuse(error)
        except TimeoutError:
            connection.refuse(TransientError("overloaded", "Expected to be admitted in time"))
        except Exception as error:
            self.parts.log.error("stream_admission_failed", exc_info=error)
            connection.refuse(ConsistencyError(INTERNAL, ""))
        else:
            connection.admitted()

    async def _identify(
        self, connection: Connection, token: str | None, api_key: str | None
    ) -> Identity:
        identity = await self._identity(token, api_key)
        before = connection.identity
        if before is not None and before.address != identity.address:
            self._sign_out(connection)
        connection.known(identity, api_key)
        return identity

    async def _identity(self, token: str | None, api_key: str | None) -> Identity:
        if api_key is not None:
            identity, scopes = await self.parts.keys.read(api_key)
            if READ not in scopes:
                raise CallerError("forbidden", f"apiKey: Expected the scope {READ}")
        else:
            identity = self.parts.tokens.read(token or "")
            await self.parts.login.check(identity)
        self.parts.blocking.check_wallet(identity.address)
        return identity

    # -------------------------------------------------------------------------------- ops

    async def serve(self, connection: Connection, op: Slow) -> None:
        """One op other than a quote, answered. Raises RiseCurveError."""
        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                if isinstance(op, protocol.Subscribe):
                    await self._subscribe(connection, op)
                elif isinstance(op, protocol.Unsubscribe):
                    self._unsubscribe(connection, op)
                else:
                    identity = await self._identify(connection, op.token, op.api_key)
                    shown = {"address": text.address(identity.address), "role": identity.role}
                    connection.answer("authenticate", op.id, shown)
        except TimeoutError as error:
            raise TransientError("overloaded", "Expected an answer in time, try again") from error
        except RiseCurveError:
            raise
        except Exception as error:
            self.parts.log.error("stream_op_failed", op=type(op).__name__, exc_info=error)
            raise ConsistencyError(INTERNAL, "Expected no bug") from error

    async def _subscribe(self, connection: Connection, op: protocol.Subscribe) -> None:
        topic = topic_of(op.topic)
        known = topic in connection.topics
        if not known and len(connection.topics) >= limits.SOCKET_TOPICS_MAX:
            expected = f"Expected at most {limits.SOCKET_TOPICS_MAX} topics"
            raise CallerError("invalid_request", expected)
        check_own(topic, connection.identity)
        connection.topics.add(topic)
        connection.hold(topic)
        self.fanout.join(topic, connection)
        try:
            place = await self._topics.place(
                topic, who=connection.who, since=op.since, generation=op.generation
            )
            snapshot = await self._topics.snapshot(topic)
        except BaseException:
            if known:
                connection.release(topic, generation=None, seq=None)
            else:
                self._leave(connection, topic)
            raise
        data: dict[str, Any] = {"topic": topic, "seq": place.seq, "generation": place.generation}
        data |= {"snapshot": exact(snapshot)}
        if place.missed is not None:
            data["missed"] = [_missed(one) for one in place.missed]
        if place.gap:
            data["gap"] = True
        connection.answer("subscribe", op.id, data)
        connection.release(topic, generation=place.generation, seq=place.seq)

    def _unsubscribe(self, connection: Connection, op: protocol.Unsubscribe) -> None:
        topic = topic_of(op.topic)
        self._leave(connection, topic)
        connection.answer("unsubscribe", op.id, {"topic": topic})

    def _leave(self, connection: Connection, topic: str) -> None:
        self.fanout.leave(topic, connection)
        connection.left(topic)

    # ----------------------------------------------------------------------------- upkeep

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            since = self.clock() - limits.STREAM_STALLED_S
            for one in list(self._connections):
                if one.paused_at is not None and one.paused_at < since:
                    self._evicted += 1
                    self.parts.log.info("stream_evicted", address=one.address)
                    one.cut()

    async def _watch_logins(self) -> None:
        # A session that has ended, a token that has expired, a key that was taken back.
        while True:
            await asyncio.sleep(LOGINS_LOOKED_AT_S)
            for one in [one for one in self._connections if one.identity is not None]:
                await self._look_at(one)

    async def _look_at(self, connection: Connection) -> None:
        identity = connection.identity
        if identity is None:
            return
        try:
            if self._wall() >= identity.expires_at:
                raise CallerError("unauthorized", "Expected a login that has not expired")
            if connection.api_key is not None:
                await self.parts.keys.read(connection.api_key)
            else:
                await self.parts.login.check(identity)
        except TransientError:
            return
        except CallerError:
            if connection.identity is identity:
                self._sign_out(connection)

    def _sign_out(self, connection: Connection) -> None:
        connection.known(None)
        for topic in [one for one in connection.topics if one.startswith(USER_TOPIC)]:
            self._leave(connection, topic)
            told = {"topic": topic, "seq": None, "generation": None}
            connection.push(push_of("user", told | {"data": {"event": "signed_out"}}))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _until(done: Callable[[], bool], seconds: float) -> None:
    for _ in range(int(seconds / LOOK_S)):
        if done():
            return
        await asyncio.sleep(LOOK_S)


def _missed(message: dict[str, Any]) -> dict[str, Any]:
    head = {name: message[name] for name in ("event", "seq", "generation")}
    return head | {"data": exact(message["data"])}


def _quiet() -> logging.Logger:
    # What strangers send is not our log's business.
    logger = logging.getLogger("risecurve.picows")
    logger.setLevel(logging.CRITICAL)
    return logger
