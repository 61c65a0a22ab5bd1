"""A thread that wants Python's lock has it soon, in each role's process."""

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from actors import host, switching

LOOKS = 60


@pytest.fixture(autouse=True)
def interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def _waits_ms() -> float:
    """Median of how long this thread waits for the lock while another one works."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            sum(range(200))

    working = threading.Thread(target=work)
    working.start()
    waits = []
    for _ in range(LOOKS):
        time.sleep(0.002)
        began = time.perf_counter()
        time.sleep(0)
        waits.append((time.perf_counter() - began) * 1e3)
    ended.set()
    working.join()
    return statistics.median(waits)


def test_thread_waits_a_fraction_of_what_it_waited_before() -> None:
    sys.setswitchinterval(0.05)
    before = _waits_ms()
    switching.switch_quickly()
    assert _waits_ms() < before / 5


def test_process_of_a_role_switches_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(was_current_actor_reconstructed=False)
    monkeypatch.setattr(host.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(host, "_end_with_parent", lambda: None)
    unused: Any = None
    host.Host(
        slot="shard-0", role="shard", name="n", factory="f", settings=unused, host="h", build="b"
    )
    assert sys.getswitchinterval() == pytest.approx(switching.SWITCH_S)
