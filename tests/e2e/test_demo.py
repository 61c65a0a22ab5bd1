"""The demo from the command line, as a user runs it: real keys, chain, actors and stores."""

import json
import subprocess

import pytest

from tests.support.running import CLI, environment


@pytest.mark.timeout(300)
def test_demo_through_graduation_is_exact_and_complete(tmp_path, data_folder):
    done = subprocess.run(
        [CLI, "demo", "--exit", "--json", "--trades", "300", "--graduate"],
        env=environment(data_folder),
        capture_output=True,
        timeout=240,
        check=False,
    )
    progress = done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1, progress
    result = json.loads(lines[0])
    assert done.returncode == 0, (result, progress)
    assert result["trades"] == result["postgres_trades"] == 300
    assert result["quotes_checked"] >= 1_000
    assert result["quote_mismatches"] == 0
    assert result["mongo_users"] > 0
    assert result["log_to_tick_ms"]["p50"] is not None
    assert result["graduated"] == 2 and result["pool_trades"] > 0
    assert result["pool_quotes_checked"] >= 200
    assert result["foreign_swaps"] >= 6
    assert set(result) == {
        "tokens", "trades", "quotes_checked", "quote_mismatches", "postgres_trades",
        "mongo_users", "log_to_tick_ms", "seconds",
        "graduated", "pool_quotes_checked", "pool_trades", "foreign_swaps",
    }  # fmt: skip


def test_port_in_use_gives_one_sentence(data_folder):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = environment(data_folder) | {"API_PORT": str(taken.getsockname()[1])}
        done = subprocess.run(
            [CLI, "up"], env=settings, capture_output=True, timeout=120, check=False
        )
    assert done.returncode == 1
    last = done.stderr.decode().strip().splitlines()[-1]
    assert "in use" in last
    assert "Traceback" not in done.stderr.decode()


def test_wrong_settings_are_named_all_at_once(data_folder):
    settings = environment(data_folder) | {"LOG_LEVEL": "loud", "SHARDS": "-3", "REDIS_URL": "x"}
    done = subprocess.run([CLI, "up"], env=settings, capture_output=True, timeout=60, check=False)
    message = done.stderr.decode()
    assert done.returncode == 1
    assert all(name in message for name in ("LOG_LEVEL", "SHARDS", "REDIS_URL"))
    assert "Traceback" not in message
