"""Every REST route in one table; `/api/v1/…` is the same as `/api/…`.

`access`: open, or the role that a valid Bearer token must have. `budget`: what a request is
counted as.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from gateway.keys import Scope
from gateway.rest import (
    admin,
    analytics,
    auth,
    bridge,
    bridge_admin,
    docs,
    keys,
    points,
    referral,
    system,
    tokens,
    trading,
    uploads,
    users,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREFIXES = ("/api", "/api/v1")


class Access(Enum):
    """Who may ask."""

    OPEN = "open"
    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"

    def admits(self, role: str) -> bool:
        """Whether somebody of this role may: a higher one may what a lower one may."""
        ranks = [one.value for one in Access]
        return role in ranks and ranks.index(role) >= ranks.index(self.value)


class Spent(Enum):
    """Which budget a request takes from; see `middleware.budget_of`."""

    NOTHING = "nothing"
    READ = "read"  # an IP
    WRITE = "write"  # an IP: anonymous writes and login
    REFRESH = "refresh"  # an IP: sessions that go on, apart from logins
    USER_READ = "user_read"  # a wallet: nothing is changed
    USER_WRITE = "user_write"  # a wallet
    UPLOAD = "upload"  # a wallet, whether by login or by API key
    KEY_READ = "key_read"  # an API key: whatever is no write
    KEY_WRITE = "key_write"  # an API key


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table; `path` without the prefix."""

    method: str
    path: str
    handler: Handler
    access: Access = Access.OPEN
    budget: Spent = Spent.READ
    scope: Scope | None = None
    """What an API key must have for a route that needs somebody; None: no key will do."""
    nearby: bool = False
    """For addresses of METRICS_ALLOWED only."""
    leased: bool = False
    """Asked so often that its budget is taken in blocks; see `leases`."""


API: tuple[Route, ...] = (
    Route("POST", "/auth/nonce", auth.nonce, budget=Spent.WRITE),
    Route("POST", "/auth/connect", auth.connect, budget=Spent.WRITE),
    Route("POST", "/auth/refresh", auth.refresh, budget=Spent.REFRESH),
    Route("POST", "/auth/verify", auth.verify, Access.USER, Spent.USER_READ),
    Route("POST", "/auth/logout", auth.logout, Access.USER, Spent.USER_READ),
    Route("GET", "/auth/sessions", auth.sessions, Access.USER, Spent.USER_READ),
    Route("DELETE", "/auth/sessions/{sid}", auth.end_session, Access.USER, Spent.USER_READ),
    Route("GET", "/users/me", users.me, Access.USER, Spent.USER_READ, "read"),
    Route("PATCH", "/users/me", users.change_me, Access.USER, Spent.USER_WRITE),
    Route("GET", "/users/{address}", users.one),
    Route("POST", "/tokens/create", tokens.create, Access.USER, Spent.USER_WRITE, "trade"),
    Route("PUT", "/tokens/{address}/metadata", tokens.put_metadata, budget=Spent.WRITE),
    Route("POST", "/uploads/image", uploads.image, Access.USER, Spent.UPLOAD, "trade"),
    Route("GET", "/tokens", tokens.list_tokens),
    Route("GET", "/tokens/{address}", tokens.one),
    Route("GET", "/tokens/{address}/chart", tokens.chart),
    Route("GET", "/tokens/{address}/transactions", tokens.transactions),
    Route("GET", "/tokens/{address}/holders", tokens.holders),
    Route("GET", "/creators/{address}/tokens", tokens.of_creator),
    Route("GET", "/trades", analytics.trades),
    Route("GET", "/analytics/overview", analytics.overview),
    Route("GET", "/analytics/trending", analytics.trending),
    Route("GET", "/analytics/top-creators", analytics.top_creators),
    Route("GET", "/analytics/king-of-the-hill", analytics.king_of_the_hill),
    Route("GET", "/analytics/leaderboard", analytics.leaderboard),
    Route("POST", "/bridge/deposit", bridge.deposit, Access.USER, Spent.USER_WRITE, "trade"),
    Route("POST", "/bridge/withdraw", bridge.withdraw, Access.USER, Spent.USER_WRITE, "trade"),
    Route("GET", "/bridge/status/{id}", bridge.status),
    Route("GET", "/bridge/history/{address}", bridge.history),
    Route("POST", "/trading/quote", trading.quote, leased=True),
    Route("POST", "/trading/buy", trading.buy, Access.USER, Spent.USER_READ, "trade"),
    Route("POST", "/trading/sell", trading.sell, Access.USER, Spent.USER_READ, "trade"),
    Route("POST", "/trading/submit", trading.submit, budget=Spent.WRITE),
    Route("GET", "/trading/tx/{hash}", trading.transaction),
    Route("GET", "/trading/portfolio/{address}", trading.portfolio),
    Route("POST", "/keys", keys.make, Access.USER, Spent.USER_WRITE),
    Route("GET", "/keys", keys.mine, Access.USER, Spent.USER_READ),
    Route("DELETE", "/keys/{id}", keys.end, Access.USER, Spent.USER_READ),
    Route("GET", "/referral", referral.mine, Access.USER, Spent.USER_READ, "read"),
    Route("POST", "/referral/code", referral.take_code, Access.USER, Spent.USER_WRITE),
    Route("POST", "/referral/bind", referral.bind, Access.USER, Spent.USER_WRITE),
    Route("GET", "/referral/tree", referral.tree, Access.USER, Spent.USER_READ, "read"),
    Route("GET", "/referral/earnings", referral.earnings, Access.USER, Spent.USER_READ, "read"),
    Route("GET", "/referral/{code}", referral.one),
    Route("GET", "/points/leaderboard", points.leaderboard),
    Route("GET", "/points/ledger", points.ledger),
    Route("GET", "/points/roots", points.roots),
    Route("GET", "/points/rules", points.rule_book),
    Route("GET", "/points/proof/{address}", points.proof),
    Route("GET", "/points/{address}", points.one),
    Route("GET", "/config", system.config),
    Route("PUT", "/admin/users/{address}/role", admin.set_role, Access.ADMIN, Spent.USER_WRITE),
    Route("POST", "/admin/users/{address}/logout", admin.log_out, Access.ADMIN, Spent.USER_WRITE),
    Route("GET", "/admin/audit", admin.audit, Access.ADMIN, Spent.USER_READ),
    Route("GET", "/admin/bridge/stuck", bridge_admin.stuck, Access.ADMIN, Spent.USER_READ),
    Route("POST", "/admin/bridge/pause", bridge_admin.pause, Access.ADMIN, Spent.USER_WRITE),
    Route("POST", "/admin/bridge/{id}/retry", bridge_admin.retry, Access.ADMIN, Spent.USER_WRITE),
)

SYSTEM: tuple[Route, ...] = (
    Route("GET", "/healthz", system.healthz, budget=Spent.NOTHING),
    Route("GET", "/readyz", system.readyz, budget=Spent.NOTHING),
    Route("GET", "/metrics", system.metrics, budget=Spent.NOTHING, nearby=True),
    Route("GET", "/media/{name}", uploads.file),
    Route("GET", "/openapi.json", docs.document),
    Route("GET", "/asyncapi.json", docs.realtime),
    Route("GET", "/docs", docs.page),
    Route("GET", "/docs/{file}", docs.file),
)


@dataclass(frozen=True, slots=True)
class Table:
    """The installed routes, by aiohttp's own."""

    routes: dict[web.AbstractRoute, Route]

    def of(self, request: web.Request) -> Route | None:
        """None for a path that is not in the table."""
        return self.routes.get(request.match_info.route)


def install(app: web.Application) -> Table:
    """Put every route into the application, plain paths before those with a variable."""
    found: dict[web.AbstractRoute, Route] = {}
    for prefix in PREFIXES:
        for route in sorted(API, key=lambda one: "{" in one.path):
            path = prefix + route.path
            found[app.router.add_route(route.method, path, route.handler)] = route
        for path, methods in _plain_paths().items():
            if _methods_beside(path) - methods:
                app.router.add_route("*", prefix + path, _refusal(sorted(methods)))
    for route in SYSTEM:
        found[app.router.add_route(route.method, route.path, route.handler)] = route
    return Table(found)


def _plain_paths() -> dict[str, set[str]]:
    # Path → its methods, of paths without a variable.
    found: dict[str, set[str]] = {}
    for route in API:
        if "{" not in route.path:
            found.setdefault(route.path, set()).add(route.method)
    return found


def _methods_beside(path: str) -> set[str]:
    # Methods of routes whose variable would take this path's last word for a value: a GET of
    # /tokens/create is a wrong method, not a token of that name.
    patterns = {one: re.sub(r"\{[a-z]+\}", "[^/]+", one.path) for one in API if "{" in one.path}
    return {one.method for one, pattern in patterns.items() if re.fullmatch(pattern, path)}


def _refusal(allowed: list[str]) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse
