"""The doors of one node: REST and Socket.IO on one port.

`start` returns with the port bound and the loops running; `stop` drains within a few seconds.
Every part is handed in; this file puts them together and nothing else does.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from aiohttp import web

from engine.control import Directory
from engine.errors import RiseCurveError
from engine.limits import BODY_BYTES_MAX
from engine.settings import ChainSettings, GatewaySettings
from gateway import asyncapi, idempotency, middleware, openapi, routes, shaping
from gateway.admission import ClientAddresses, InFlight, Limiter, Networks
from gateway.auth import access_tokens
from gateway.blocking import Blocking
from gateway.bridging import Bridge
from gateway.context import CONTEXT, Context
from gateway.images import Images
from gateway.kept import Kept
from gateway.keys import KeyReader
from gateway.launches import Launches
from gateway.login import Login
from gateway.metrics import Metrics
from gateway.ports import Log, Ports
from gateway.realtime import Realtime
from gateway.rest import docs, system
from gateway.submission import Submission
from gateway.usd import UsdFeed

SHUTDOWN_S = 3.0
CONNECTS_WAITING = 1_024
"""Of a storm of connects; what the kernel allows may be less."""

KEEP_ALIVE_S = 75.0


class ApiGateway:
    """REST and Socket.IO. Ports are those of `gateway.ports`; nothing here owns them."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        chain: ChainSettings,
        sepolia: ChainSettings | None,
        ports: Ports,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._settings = settings
        self._context = _context(settings, chain, ports, sepolia=sepolia, log=log, clock=clock)
        metrics = self._context.metrics
        metrics.in_flight.set_function(lambda: self._context.in_flight.now)
        replicas = ports.replicas
        if replicas is not None:
            metrics.replicas(replicas.tally)
        self._realtime = Realtime(
            self._context,
            ports.ticks,
            origins_of(settings),
            saw=replicas.saw if replicas else None,
        )
        self._runner: web.AppRunner | None = None
        self._started = asyncio.Event()
        self._port = 0

    @property
    def port(self) -> int:
        """The bound port; 0 before the start."""
        return self._port

    async def start(self) -> None:
        """Bind the port, then serve. Raises RiseCurveError("port_in_use") with one sentence."""
        runner = web.AppRunner(
            self._app(),
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
            # A compressed body is refused (`bodies`): no bombs, no broken streams.
            auto_decompress=False,
        )
        await runner.setup()
        site = web.TCPSite(
            runner, self._settings.host, self._settings.api_port, backlog=CONNECTS_WAITING
        )
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise RiseCurveError(
                "port_in_use",
                f"Expected {self._settings.host}:{self._settings.api_port} to be free for the API, "
                f"was not ({error.strerror}); set API_PORT to another port",
            ) from error
        self._runner = runner
        self._port = int(runner.addresses[0][1])
        await self._realtime.start()
        self._started.set()
        self._log.info("gateway_started", host=self._settings.host, port=self._port)

    async def ready(self) -> None:
        """Returns once the port is bound."""
        await self._started.wait()

    def route(self, directory: Directory) -> None:
        """Who owns which bucket now; the markets were told before."""
        self._context.limiter.share_among(max(len(directory.named("gateway")), 1))
        self._realtime.route(directory)
        if self._context.bridge is not None:
            self._context.bridge.route(directory)

    async def stop(self) -> None:
        """Refuse what is new, let what is under way finish for a few seconds, end sockets."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await self._realtime.stop()
        await runner.cleanup()
        self._context.images.stop()
        self._started.clear()
        self._log.info("gateway_stopped", port=self._port)

    def _app(self) -> web.Application:
        app = web.Application(
            client_max_size=BODY_BYTES_MAX,
            middlewares=[
                middleware.identify,
                middleware.cors(origins_of(self._settings)),
                middleware.answer_errors,
                shaping.shape,
                middleware.admit,
                idempotency.once,
            ],
        )
        app[CONTEXT] = self._context
        app[docs.DOCUMENT] = openapi.document
        app[docs.REALTIME] = asyncapi.document
        app[system.READY] = Kept(
            partial(system.readiness, self._context), seconds=system.READY_KEPT_S
        )
        app[system.ROLES] = Kept(self._context.markets.status, seconds=system.ROLES_KEPT_S)
        app[middleware.TABLE] = routes.install(app)
        self._realtime.install(app)
        return app


def origins_of(settings: GatewaySettings) -> frozenset[str]:
    """Whose pages may talk to the doors: CORS_ORIGINS, and our own."""
    own = urlsplit(settings.public_url)
    return frozenset({*settings.cors_origins, f"{own.scheme}://{own.netloc}"})


def _context(
    settings: GatewaySettings,
    chain: ChainSettings,
    ports: Ports,
    *,
    sepolia: ChainSettings | None,
    log: Log,
    clock: Callable[[], float],
) -> Context:
    tokens, launches = access_tokens(settings, clock), Launches(ports.node, chain)
    metrics = Metrics()
    login = Login(
        settings=settings,
        chain=chain,
        nonces=ports.nonces,
        people=ports.people,
        sessions=ports.sessions,
        tokens=tokens,
        verify_message=ports.verify_message,
        log=log,
        clock=clock,
    )
    return Context(
        settings=settings,
        chain=chain,
        sepolia=sepolia,
        markets=ports.markets,
        reads=ports.reads,
        market_reads=ports.market_reads,
        documents=ports.documents,
        media=ports.media,
        images=Images(ports.media, metrics=metrics, log=log),
        people=ports.people,
        sessions=ports.sessions,
        audit=ports.audit,
        referrals=ports.referrals,
        api_keys=ports.api_keys,
        replays=ports.replays,
        keys=KeyReader(ports.api_keys, chain_id=chain.chain_id, clock=clock),
        points=ports.points,
        point_days=ports.point_days,
        uncounted=ports.uncounted,
        limiter=Limiter(ports.rates, log),
        node=ports.node,
        log=log,
        login=login,
        tokens=tokens,
        launches=launches,
        submission=Submission(
            node=ports.node,
            reads=ports.reads,
            chain=chain,
            launches=launches,
            replicas=ports.replicas,
        ),
        usd=UsdFeed(
            ports.node,
            settings.eth_usd_feed_address,
            age_max_s=settings.eth_usd_age_max_s,
            log=log,
            clock=clock,
        ),
        in_flight=InFlight(settings.requests_in_flight_max),
        clients=ClientAddresses(settings.trusted_proxies),
        nearby=Networks(settings.metrics_allowed),
        blocking=Blocking(settings),
        metrics=metrics,
        bridge=None if ports.bridge is None else Bridge(ports.bridge),
        clock=clock,
    )
