"""The fence of tests/conftest.py holds."""

import socket
import sys
import types

import pytest


def test_unit_fence_socket_connects_refused() -> None:
    with (
        socket.socket() as probe,
        pytest.raises(AssertionError, match="opens no socket"),
    ):
        probe.connect(("127.0.0.1", 1))


def test_unit_fence_loaded_ray_is_guarded(request: pytest.FixtureRequest) -> None:
    fake = types.SimpleNamespace(init=lambda: None, is_initialized=lambda: True)
    conftest = str(request.config.rootpath / "tests" / "conftest.py")
    plugin = request.config.pluginmanager.get_plugin(conftest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", fake)
        guarded = plugin.unit_fence.__wrapped__(request, patch)
        next(guarded)
        with pytest.raises(AssertionError, match="starts no Ray"):
            fake.init()
        with pytest.raises(AssertionError, match="started Ray"):
            next(guarded)
