"""The end of a system that was scaled meanwhile: nothing is left of it. The files after it do not
use that one.
"""

import signal
import time
import urllib.request

import psutil
import pytest

from tests.support import running


def scaled(system: running.Running) -> list[psutil.Process]:
    """A shard and a door more; what was started for it."""
    before = system.pids()
    code, told = system.cli("scale", "--shards", "3", "--gateways", "2", timeout_s=120)
    assert (code, told["shards"], told["gateways"]) == (0, 3, 2), told
    _, status = system.cli("status")
    after = {one["slot"]: one for one in status["instances"]}
    assert before.items() <= {slot: one["pid"] for slot, one in after.items()}.items()
    assert after.keys() - before.keys() == {"shard-2", "gateway-1"}
    # The next one, or one behind it where somebody else has that.
    assert 0 < after["gateway-1"]["port"] - after["gateway-0"]["port"] < 10
    with urllib.request.urlopen(f"http://127.0.0.1:{after['gateway-1']['port']}/readyz") as answer:
        assert answer.status == 200
    owned = [status["roles"][slot]["buckets"] for slot in after if slot.startswith("shard")]
    assert sum(owned) == 1024 and min(owned) > 200
    print(f"scaled to {len(owned)} shards of {owned} buckets in {told['seconds']} s")
    return [psutil.Process(after[slot]["pid"]) for slot in after.keys() - before.keys()]


@pytest.mark.timeout(300)
def test_up_scaled_ends_on_sigterm_and_leaves_nothing(again):
    family = running.descendants(again.process.pid) + scaled(again)
    began = time.monotonic()
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(timeout=20) == 0
    print(f"\nSIGTERM: ended in {time.monotonic() - began:.1f} s")
    running.gone(family)
