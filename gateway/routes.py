"""Every REST route in one table; `/api/v1/…` is the same as `/api/…`.

`access`: open, or user (a valid Bearer token). `budget`: what a request is counted as.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from gateway.rest import auth, system, tokens, trading

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREFIXES = ("/api", "/api/v1")


class Access(Enum):
    """Who may ask."""

    OPEN = "open"
    USER = "user"


class Spent(Enum):
    """Which budget a request takes from; see `middleware.budget_of`."""

    NOTHING = "nothing"
    READ = "read"  # an IP
    WRITE = "write"  # an IP: anonymous writes and login
    USER_READ = "user_read"  # a wallet: nothing is changed
    USER_WRITE = "user_write"  # a wallet


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table; `path` without the prefix."""

    method: str
    path: str
    handler: Handler
    access: Access = Access.OPEN
    budget: Spent = Spent.READ


API: tuple[Route, ...] = (
    Route("POST", "/auth/nonce", auth.nonce, budget=Spent.WRITE),
    Route("POST", "/auth/connect", auth.connect, budget=Spent.WRITE),
    Route("POST", "/auth/verify", auth.verify, Access.USER, Spent.USER_READ),
    Route("POST", "/tokens/create", tokens.create, Access.USER, Spent.USER_WRITE),
    Route("GET", "/tokens", tokens.list_tokens),
    Route("GET", "/tokens/{address}", tokens.one),
    Route("GET", "/tokens/{address}/chart", tokens.chart),
    Route("GET", "/tokens/{address}/transactions", tokens.transactions),
    Route("POST", "/trading/quote", trading.quote),
    Route("POST", "/trading/buy", trading.buy, Access.USER, Spent.USER_READ),
    Route("POST", "/trading/sell", trading.sell, Access.USER, Spent.USER_READ),
    Route("POST", "/trading/submit", trading.submit, budget=Spent.WRITE),
    Route("GET", "/trading/tx/{hash}", trading.transaction),
    Route("GET", "/trading/portfolio/{address}", trading.portfolio),
    Route("GET", "/config", system.config),
)

SYSTEM: tuple[Route, ...] = (
    Route("GET", "/healthz", system.healthz, budget=Spent.NOTHING),
    Route("GET", "/readyz", system.readyz, budget=Spent.NOTHING),
    Route("GET", "/metrics", system.metrics, budget=Spent.NOTHING),
)


@dataclass(frozen=True, slots=True)
class Table:
    """The installed routes, by aiohttp's own."""

    routes: dict[web.AbstractRoute, Route]

    def of(self, request: web.Request) -> Route | None:
        """None for a path that is not in the table."""
        return self.routes.get(request.match_info.route)


def install(app: web.Application) -> Table:
    """Put every route into the application."""
    found: dict[web.AbstractRoute, Route] = {}
    for prefix in PREFIXES:
        for route in API:
            path = prefix + route.path
            found[app.router.add_route(route.method, path, route.handler)] = route
    for route in SYSTEM:
        found[app.router.add_route(route.method, route.path, route.handler)] = route
    return Table(found)
