"""The one place of rules about whom we may not serve: sanctions, geography. Off by default.

A rule sees who asks: his address as the trusted proxies tell it, the country as they name
it, and the wallet that is logged in or wants to. What it refuses gets 403 `forbidden` on every
door; health and metrics are not asked about.
"""

import ipaddress
from collections.abc import Mapping
from typing import Protocol

from engine.errors import CallerError
from engine.settings import GatewaySettings

_COUNTRY_CHARACTERS = 2


class Asking(Protocol):
    """A request, of whatever library."""

    @property
    def headers(self) -> Mapping[str, str]: ...


class Blocking:
    """The configured rules. Nothing configured: nobody is refused, and nothing is looked at."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._networks = [ipaddress.ip_network(one) for one in settings.blocked_networks]
        self._countries = {one.upper() for one in settings.blocked_countries}
        self._wallets = frozenset(settings.blocked_wallets)
        self._header = settings.country_header

    def check_caller(self, request: Asking, client: str, *, behind_proxy: bool) -> None:
        """Raises CallerError("forbidden") for an address or a country that is not served. The
        country's header is believed of a trusted proxy only.
        """
        if self._networks and self._in_networks(client):
            raise _refused()
        if self._countries and behind_proxy:
            country = request.headers.get(self._header, "").strip().upper()
            if len(country) == _COUNTRY_CHARACTERS and country in self._countries:
                raise _refused()

    def check_wallet(self, wallet: bytes) -> None:
        """Raises CallerError("forbidden") for a wallet that is not served."""
        if wallet in self._wallets:
            raise _refused()

    def _in_networks(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        if address.version == 4:
            return any(address in network for network in self._networks)
        # One customer has a /64, and that is what is known of him.
        home = ipaddress.ip_network((address, 64), strict=False)
        return any(home.overlaps(one) for one in self._networks if one.version == 6)


def _refused() -> CallerError:
    return CallerError("forbidden", "Expected somebody whom this service may serve")
