"""The bridge from the command line: real transfers both ways on two real chains."""

import json
import subprocess
import time

import pytest

from tests.support import running

OPEN_S_MAX = 30.0
SECONDS_MAX = 60.0
"""A loaded machine; finality of the local chains is two blocks of a second."""


@pytest.mark.timeout(420)
def test_demo_of_transfers_pays_each_once_and_loses_none(data_folder):
    done = subprocess.run(
        [running.CLI, "demo", "--scenario", "bridge", "--exit", "--json", "--transfers", "6"],
        env=running.environment(data_folder),
        capture_output=True,
        timeout=400,
        check=False,
    )
    progress = done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1, (lines, progress)
    result = json.loads(lines[0])
    assert done.returncode == 0, (result, progress)
    seconds, after = result.pop("seconds"), result.pop("seconds_after_finality")
    assert result == {"transfers": 6, "completed": 6, "double_released": 0, "lost": 0}
    assert 0 < seconds["p50"] <= seconds["p99"] < SECONDS_MAX
    assert after["p50"] < seconds["p50"] and after["p99"] < seconds["p99"], "finality takes a while"


@pytest.mark.timeout(420)
def test_commands_of_the_bridge_say_who_signs_pause_and_then_see_it(first):
    deadline = time.monotonic() + OPEN_S_MAX
    while (answer := first.cli("bridge", "status"))[0] and time.monotonic() < deadline:
        time.sleep(1)  # nothing goes through before both chains were seen to finalise
    code, status = answer
    assert (code, status["troubles"]) == (0, []), status
    assert len(status["vaults"]) == 2 and status["roles"]["relayer"]["attestors"] == 3
    _, told = first.cli("bridge", "signers")
    for vault in told["vaults"]:
        assert vault["threshold"] == 2
        slots = {one["attestor"] for one in vault["signers"]}
        assert slots == {"attestor-0", "attestor-1", "attestor-2"}
    code, paused = first.cli("bridge", "pause")
    assert code == 0 and all(one["paused"] for one in paused["chains"])
    code, status = first.cli("bridge", "status")
    assert code == 1 and len(status["troubles"]) == 2, status
    assert all(one["paused"] for one in status["vaults"])
