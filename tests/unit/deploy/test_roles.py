"""The composition root imports, and names every role that the cluster can start."""

import importlib

from actors.handles import ROLES
from deploy.roles import supervisor
from engine.control import Wanted
from engine.settings import BridgeSettings
from tests.support.chain_settings import settings


def test_every_role_has_a_factory_that_can_be_imported():
    for path in ROLES.values():
        module, name = path.rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), name))


def test_slots_are_of_known_roles():
    class Given:
        rise = settings()
        sepolia = None
        bridge = BridgeSettings()

    found = supervisor.slots(Given(), Wanted(shards=3, gateways=2, stream_gateways=1))
    assert set(found.values()) <= ROLES.keys()
    assert sum(role == "shard" for role in found.values()) == 3
    assert sum(role == "gateway" for role in found.values()) == 2


def test_every_command_can_be_imported():
    for name in ("cli", "commands", "session", "replay", "verify", "demo.session"):
        assert importlib.import_module(f"deploy.{name}")
