"""A Ray that does not start in time is started once more, on clean ground."""

import subprocess
import sys

import pytest

from actors import starting
from engine.errors import TransientError
from tests.support.fake_roles import Log


def slow_start(failures: int, order: list[str]):
    def start() -> None:
        order.append("start")
        if order.count("start") <= failures:
            raise Exception("The current node timed out during startup.\nMore of it")

    return start


@pytest.mark.parametrize(("failures", "done"), [(0, ["start"]), (1, ["start", "clean", "start"])])
def test_start_that_fails_once_is_repeated_after_a_clean_up(failures, done):
    order, log = [], Log()
    starting.twice(slow_start(failures, order), clean=lambda: order.append("clean"), log=log)
    assert order == done
    assert log.events() == ["ray_starts_again", "ray_started_again"][: 2 * failures]


def test_start_that_fails_again_is_a_transient_error_in_one_line_and_leaves_nothing():
    order = []
    with pytest.raises(TransientError) as raised:
        starting.twice(slow_start(9, order), clean=lambda: order.append("clean"), log=Log())
    assert order == ["start", "clean", "start", "clean"]
    assert str(raised.value).endswith("Ray to start: The current node timed out during startup.")


def test_clean_up_ends_who_names_a_session_in_the_folder_and_nobody_else(tmp_path):
    mine, other = tmp_path / "ray", tmp_path / "ray2"
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    left = subprocess.Popen([*wait, f"--session-dir={mine}/session_1"])
    stays = subprocess.Popen([*wait, f"--session-dir={other}/session_1"])
    try:
        starting.end_all_of(mine)
        assert left.wait(timeout=10) == -9
        assert stays.poll() is None
    finally:
        stays.kill()
        stays.wait()
