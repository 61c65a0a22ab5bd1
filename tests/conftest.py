"""Fixtures of all tests, and the fence round unit tests: no socket, no Ray."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings

from tests.support.servers import (
    anvil,
    make_anvil,
    mongodb_server_url,
    mongodb_url,
    postgres_server_url,
    postgres_url,
    redis_server_url,
    redis_url,
    servers,
)

__all__ = [
    "anvil",
    "make_anvil",
    "mongodb_server_url",
    "mongodb_url",
    "postgres_server_url",
    "postgres_url",
    "redis_server_url",
    "redis_url",
    "servers",
]

# How long an example takes says nothing of the code: the machine has other work too.
settings.register_profile("risecurve", deadline=None)
settings.load_profile("risecurve")

UNIT = Path(__file__).parent / "unit"


@pytest.fixture(autouse=True)
def unit_fence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In tests/unit a socket that connects or binds, and `ray.init`, raise."""
    if not request.node.path.is_relative_to(UNIT):
        yield
        return
    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, _refuse_socket)
    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", _refuse_ray)
    yield
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized(), "A unit test started Ray"


def _refuse_socket(*arguments: Any) -> NoReturn:
    raise AssertionError("A unit test opens no socket; move it to tests/integration")


def _refuse_ray(*arguments: Any, **options: Any) -> NoReturn:
    raise AssertionError("A unit test starts no Ray; build the plain class instead")
