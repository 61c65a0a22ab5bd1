"""What Ray is told by the environment before it is imported."""

import stat
from pathlib import Path

from deploy import ray_environment


def test_local_ray_does_nothing_for_a_dashboard_unless_the_operator_has_asked_for_it(
    tmp_path: Path,
) -> None:
    environ = {"RAY_event_stats": "1"}
    ray_environment.prepare(tmp_path, environ)
    assert environ["RAY_event_stats"] == "1"
    assert environ.items() >= (ray_environment.QUIET | {"RAY_event_stats": "1"}).items()
    token = ray_environment.token_file(tmp_path)
    assert environ["RAY_AUTH_TOKEN_PATH"] == str(token)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_of_a_shared_cluster_only_its_operator_decides(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    ray_environment.prepare(tmp_path, environ, shared=True)
    assert not environ.keys() & ray_environment.QUIET.keys() and not list(tmp_path.iterdir())


def test_token_that_a_crash_left_empty_is_made_anew(tmp_path: Path) -> None:
    token = ray_environment.token_file(tmp_path)
    token.touch(mode=0o600)
    ray_environment.prepare(tmp_path, {})
    made = token.read_text()
    assert len(made) == 64 and stat.S_IMODE(token.stat().st_mode) == 0o600
    ray_environment.prepare(tmp_path, {})
    assert token.read_text() == made
