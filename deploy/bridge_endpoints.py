"""Which endpoints each of the bridge's roles asks, and whether they are enough. Light.

An endpoint is a host and its port: two URLs of one host are one provider, who lies at both.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from deploy.bridge_slots import SLOTS
from engine.bridge.agreement import trusted_alone
from engine.settings import ChainSettings, Settings

_PORTS = {"http": 80, "https": 443}


def shared(chain: ChainSettings) -> tuple[str, ...]:
    """What everybody asks who has none of his own."""
    return tuple(one for one in (chain.rpc_url, chain.rpc_url_2) if one)


def of_attestor(settings: Settings, name: str, number: int) -> tuple[str, ...]:
    """URLs of the attestor with this number on the chain `name`, rise or sepolia."""
    lists: Sequence[tuple[str, ...]] = getattr(settings.bridge, f"attestor_{name}_rpcs")
    own = lists[number] if number < len(lists) else ()
    return own or shared(getattr(settings, name))


def of_checker(settings: Settings, name: str) -> tuple[str, ...]:
    """URLs of the checker on the chain `name`, the preferred first."""
    own: tuple[str, ...] = getattr(settings.bridge, f"checker_{name}_rpcs")
    return own or shared(getattr(settings, name))


def by_place(urls: Sequence[str]) -> dict[str, list[str]]:
    """The URLs of each host and port, in their order."""
    found: dict[str, list[str]] = {}
    for url in urls:
        found.setdefault(_place(url), []).append(url)
    return found


def fault(settings: Settings) -> str:
    """What is wrong with the endpoints as they are given, empty if nothing is."""
    bridge = settings.bridge
    for name in SLOTS.values():
        lists = getattr(bridge, f"attestor_{name}_rpcs")
        if lists and len(lists) != bridge.attestors:
            variable = f"ATTESTOR_{name.upper()}_RPCS"
            return f"{variable}: expected {bridge.attestors} lists, was {len(lists)}"
        for number in range(bridge.attestors):
            there = len(by_place(of_attestor(settings, name, number)))
            if bridge.attest_quorum > there:
                text = f"endpoints that attestor-{number} has on {name}"
                return f"BRIDGE_ATTEST_QUORUM: expected at most the {there} {text}"
    return ""


def alone(settings: Settings) -> str:
    """Whom most attestors believe alone, so that who has this endpoint has their keys; empty if
    nobody is."""
    bridge = settings.bridge
    for name in SLOTS.values():
        places = [
            by_place(of_attestor(settings, name, number)) for number in range(bridge.attestors)
        ]
        most = max(trusted_alone(places, bridge.attest_quorum).values(), default=0)
        if most > bridge.attestors // 2:
            variables = f"{_SECOND[name]} or ATTESTOR_{name.upper()}_RPCS"
            return (
                f"{variables}: expected a second endpoint, was one alone on whose word {most} of"
                f" {bridge.attestors} attestors would sign"
            )
    return ""


_SECOND = {"rise": "RISE_CHAIN_RPC_2", "sepolia": "SEPOLIA_RPC_2"}


def _place(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname}:{port or _PORTS.get(parts.scheme, 0)}"
